"""Find the files of a folder and read their text."""

import logging
import os
import stat
import time
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from personakit import read_file

log = logging.getLogger("personakit.rag")

LARGEST = 10_000_000
"""The most bytes of a file; larger ones are skipped."""
_TICK = 2_000_000_000  # nanoseconds: the coarsest time stamp of a common file system


class File(NamedTuple):
    """A file and the stamp that reveals changes; `name` is relative to the root, with "/"."""

    name: str
    path: Path
    stamp: str
    modified: int


def scan(root: Path, patterns: Sequence[str]) -> dict[str, File]:
    """Return the files below `root` that match a pattern, except hidden ones and symbolic links.

    Raises:
        NotADirectoryError: `root` is not an existing folder.
    """
    if not root.is_dir():
        raise NotADirectoryError(f"{root} is no longer a folder; create it again or remove `rag`")
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
                # A file name may contain bytes that are not UTF-8; the text of a request must not.
                shown = str(relative).encode("utf-8", "backslashreplace").decode()
                yield File(shown, path, stamp, max(status.st_mtime_ns, status.st_ctime_ns))


def _unreadable(error: OSError) -> None:
    log.warning("rag: skipped the folder %s: %s", error.filename, error.strerror)


def read(file: File) -> str | None:
    """Return the text of `file` with Unix line ends; log a warning and return None if it fails."""
    try:
        # The file may have been replaced by a link since the scan.
        data = read_file(file.path, LARGEST, follow=False)
        if b"\0" in data:
            raise ValueError("it is binary")
        return data.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        log.warning("rag: skipped %s: byte %d is not UTF-8", file.path, error.start)
    except (OSError, ValueError) as error:
        log.warning("rag: skipped %s: %s", file.path, getattr(error, "strerror", None) or error)
    return None


def settled(file: File) -> bool:
    """Return whether `file` is so old that a later change will change its stamp."""
    return time.time_ns() - file.modified > _TICK
