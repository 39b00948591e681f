"""What the tests of index share."""

from __future__ import annotations

import time
from pathlib import Path

from personakit.errors import PersonaError
from personakit.library import Library

Said = list[tuple[object, ...]]


VARIANTS = {
    "one": "description: One.\nsystem: x\n",
    "two": "description: Two.\nsystem: x\n",
    "tagged": 'description: "É\\t\\"\\n"\nversion: "1"\ntags: [a, b]\nsystem: x\n',
    "wrong": "description: Wrong.\nsistem: x\n",
    "named": "name: other\nsystem: x\n",
    "child": "extends: base\nsystem: x\n",
    "grandchild": "extends: [partials/base, d]\ntags: own\n",
}


def write(folder: Path, **texts: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / f"{name}.yaml").write_text(text, "utf-8")
    return folder


def wait_until_settled(*folders: Path) -> None:
    """Wait until no file is so young that it could change without getting another time."""
    files = [file for folder in folders for file in folder.rglob("*")]
    newest = max(file.lstat().st_ctime for file in files)
    while time.time() - newest < 2.1:
        time.sleep(0.05)


def said(library: Library, reads: list[int] | None = None) -> Said:
    """Return everything that a list shows; note how many files were read for it."""
    totals = []

    def progress(done: int, total: int) -> None:
        if done == total:
            totals.append(total)

    found: Said = [
        (str(item),) if isinstance(item, PersonaError) else (*item[:3], *item.tags, item.path)
        for item in library.summaries(progress)
    ]
    if reads is not None:
        reads.append(sum(totals))
    return found


def _empty(pool: Path) -> tuple[Path, Path]:
    for link in [*pool.glob("*/*.yaml"), *pool.glob("*/partials/*.yaml")]:
        link.unlink()
    return pool / "one", pool / "two"


def _link(file: Path, variant: str) -> None:
    """Put a link to an old file, by a path within the library, in the place of a file."""
    file.unlink(missing_ok=True)
    root = next(parent for parent in file.parents if (parent / "old").is_dir())
    file.symlink_to(root / "old" / f"{variant}.yaml")
