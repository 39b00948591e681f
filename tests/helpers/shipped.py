"""The personas that ship, without those that a reader of the README saved beside them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from personakit.library.folders import shipped


def shipped_files() -> list[Path]:
    """Return the files that git tracks; every file where there is no repository."""
    files = sorted(shipped().glob("**/*.yaml"))
    git = shutil.which("git")
    if git is None:
        return files
    done = subprocess.run(
        [git, "ls-files", "--full-name", "."], cwd=shipped(), capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    tracked = {Path(line).name for line in done.stdout.splitlines()}
    return [file for file in files if file.name in tracked] or files
