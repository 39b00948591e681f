"""Folders and files of this machine as sources."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from personakit.formats.sources.tree import MAX_FILE, Tree

_HIDDEN = (".claude", ".github", ".cursor", ".cursorrules")
_SKIPPED = ("node_modules", "__pycache__")
MAX_FILES = 100_000
_ABOVE = 4


def folder_tree(folder: Path, *, url: str = "", revision: str = "") -> Tree:
    """Return the files of a folder and of those below it, without links and hidden ones."""
    paths = tuple(_walk(folder, PurePosixPath()))

    def read(path: PurePosixPath) -> bytes:
        return _read(folder / path)

    return Tree(paths, read, _above(folder), url=url, revision=revision)


def file_tree(file: Path) -> Tree:
    """Return one file; those beside it can be referred to."""
    folder = file.parent
    path = PurePosixPath(file.name)

    def read(each: PurePosixPath) -> bytes:
        return _read(folder / each)

    near = tuple(one for one in _walk(folder, PurePosixPath(), deepest=2) if one != path)
    return Tree((path,), read, _above(folder), file=True, beside=near)


def _above(folder: Path) -> tuple[str, ...]:
    return folder.resolve().parts[1:][-_ABOVE:]


def _walk(root: Path, below: PurePosixPath, deepest: int = 32) -> Iterator[PurePosixPath]:
    """Yield the files in sorted order."""
    with os.scandir(root / below) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        if entry.is_symlink() or not _is_text(entry.name):
            continue
        if entry.name.startswith(".") and entry.name not in _HIDDEN:
            continue
        path = below / entry.name
        if entry.is_dir(follow_symlinks=False):
            if deepest > 1 and entry.name not in _SKIPPED:
                yield from _walk(root, path, deepest - 1)
        elif entry.is_file(follow_symlinks=False):
            yield path


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _read(path: Path) -> bytes:
    """Return the content of a regular file.

    Raises:
        OSError: It cannot be read, is larger than `MAX_FILE`, or is something else.
    """
    # A link that took the file's place since the walk is not followed; a pipe would block.
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    handle = os.open(path, flags | getattr(os, "O_BINARY", 0))
    with open(handle, "rb") as opened:  # noqa: PTH123 - Path.open takes no handle
        status = os.fstat(opened.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError("it is not a file")
        data = opened.read(MAX_FILE + 1)
    if len(data) > MAX_FILE:
        raise OSError(f"it is larger than {MAX_FILE:,} bytes")
    return data
