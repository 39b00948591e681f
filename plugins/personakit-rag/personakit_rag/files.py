"""Which files a folder has, and their text."""

import logging
import os
import stat
import time
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

log = logging.getLogger("personakit.rag")

LARGEST = 10_000_000
"""Bytes; a file that is larger is no text that anyone wrote."""
_TICK = 2_000_000_000  # nanoseconds: the coarsest clock of a common file system


class File(NamedTuple):
    """A file with the stamp that tells whether it has changed; `name` is relative, with "/"."""

    name: str
    path: Path
    stamp: str
    modified: int


def scan(root: Path, patterns: Sequence[str]) -> dict[str, File]:
    """Return the files below `root` that fit a pattern, without hidden ones and symbolic links.

    Raises:
        NotADirectoryError: `root` is no folder (any more).
    """
    if not root.is_dir():
        raise NotADirectoryError(f"{root} is no folder any more; make it again or take out `rag`")
    return {file.name: file for file in _walk(root, patterns)}


def _walk(root: Path, patterns: Sequence[str]) -> Iterator[File]:
    for folder, folders, names in os.walk(root, onerror=_unreadable):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = Path(folder, name)
            relative = PurePosixPath(path.relative_to(root).as_posix())
            if name.startswith(".") or not any(relative.match(p) for p in patterns):
                continue
            try:
                status = path.lstat()
            except OSError:  # gone since the folder was listed
                continue
            if stat.S_ISREG(status.st_mode):
                stamp = f"{status.st_mtime_ns} {status.st_ctime_ns} {status.st_size}"
                # A name need not be UTF-8; the text of a request must be.
                shown = str(relative).encode("utf-8", "backslashreplace").decode()
                yield File(shown, path, stamp, max(status.st_mtime_ns, status.st_ctime_ns))


def _unreadable(error: OSError) -> None:
    log.warning("rag: skipped the folder %s: %s", error.filename, error.strerror)


def read(file: File) -> str | None:
    """Return the text of `file` with Unix line ends; None, and a line in the log, if it is none."""
    try:
        # The name may have become a link since the scan.
        handle = os.open(file.path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
        with os.fdopen(handle, "rb") as opened:
            data = opened.read(LARGEST + 1)
        if len(data) > LARGEST:
            raise ValueError(f"it is larger than {LARGEST:,} bytes")
        if b"\0" in data:
            raise ValueError("it is binary")
        return data.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        log.warning("rag: skipped %s: byte %d is not UTF-8", file.path, error.start)
    except (OSError, ValueError) as error:
        log.warning("rag: skipped %s: %s", file.path, error)
    return None


def settled(file: File) -> bool:
    """Tell whether a later change of `file` must show in its stamp: the clock has gone on since."""
    return time.time_ns() - file.modified > _TICK
