"""Commands in a process of their own, in a folder of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Result:
    """How a process ended."""

    code: int
    out: str
    err: str


class Folder:
    """A folder in which commands run, away from the user's own set-up."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        kept = ("COVERAGE", "PYTHON", "COV_")
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "XDG_CONFIG_HOME": str(folder / "config"),
            "PERSONAKIT_PLUGINS": "",
            **{key: value for key, value in os.environ.items() if key.startswith(kept)},
        }

    def write(self, name: str, text: str) -> Path:
        """Write a file; return its path."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        return path

    def run(self, args: list[str], stdin: bytes, env: Mapping[str, str]) -> Result:
        """Run a command that shows no traceback."""
        done = subprocess.run(
            args, input=stdin, capture_output=True, cwd=self.folder,
            env={**self.env, **env}, timeout=60, check=False,
        )  # fmt: skip
        result = Result(done.returncode, done.stdout.decode(), done.stderr.decode())
        assert "Traceback" not in result.err + result.out
        return result


def command(*args: str) -> list[str]:
    """Return the command line of personakit, with warnings as errors."""
    return [sys.executable, "-W", "error", "-m", "personakit", *args]
