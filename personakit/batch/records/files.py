"""Append-only files of lines, of which a crash can leave the last one torn."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path

_PIECE = 1 << 16
_TRIES, _BETWEEN = 5, 0.02
"""Who only looks whether a file is locked has it locked for a moment."""


class Appender:
    """A file to which whole lines are appended.

    Args:
        path: The file; it is created.

    Attributes:
        path: The file.
        size: Its bytes.

    Raises:
        OSError: It cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
        self._handle = os.open(path, flags, 0o666)
        self._torn = False
        self.size = os.fstat(self._handle).st_size

    def lock(self) -> bool:
        """Lock the file for this process; return whether no other one has it locked.

        The lock ends with the process, however that ends.
        """
        for _ in range(_TRIES - 1):
            if self._lock():
                return True
            time.sleep(_BETWEEN)
        return self._lock()

    def _lock(self) -> bool:
        if os.name != "posix":
            import msvcrt  # noqa: PLC0415

            try:
                # Bytes far beyond the end: others can still read the file.
                os.lseek(self._handle, 1 << 40, os.SEEK_SET)
                msvcrt.locking(self._handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
            except OSError:
                return False
            return True
        import fcntl  # noqa: PLC0415

        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            # Some network file systems have no locks.
            return error.errno not in (errno.EWOULDBLOCK, errno.EAGAIN)
        return True

    def cut(self) -> None:
        """Cut a last line that has no end: it was not written whole."""
        end = self.size
        with self.path.open("rb") as file:
            while end:
                start = max(0, end - _PIECE)
                file.seek(start)
                at = file.read(end - start).rfind(b"\n")
                if at >= 0:
                    end = start + at + 1
                    break
                end = start
        if end != self.size:
            os.ftruncate(self._handle, end)
            self.size = end

    def append(self, line: bytes) -> None:
        """Append a line with its newline.

        Raises:
            OSError: It cannot be written; the file is unchanged.
        """
        if self._torn:
            self._mend()
        left = line
        try:
            while left:
                left = left[os.write(self._handle, left) :]
        except BaseException:
            self.shorten(self.size)
            raise
        self.size += len(line)

    def shorten(self, size: int) -> None:
        """Remove what follows the first `size` bytes, before the next line at the latest."""
        self.size, self._torn = size, True
        with contextlib.suppress(OSError):
            self._mend()

    def _mend(self) -> None:
        os.ftruncate(self._handle, self.size)
        self._torn = False

    def sync(self) -> None:
        """Wait until the lines are on the disk."""
        getattr(os, "fdatasync", os.fsync)(self._handle)

    def close(self) -> None:
        """Close the file, and unlock it."""
        os.close(self._handle)


def is_locked(path: Path) -> bool:
    """Return whether a process has a file locked; False if that cannot be known."""
    try:
        file = Appender(path)
    except OSError:
        return False
    try:
        return not file.lock()
    finally:
        file.close()


def lines_from(path: Path, offset: int = 0) -> Iterator[tuple[int, bytes]]:
    """Yield the whole lines of a file, each with its offset; a torn one at the end is left out.

    Args:
        path: The file; one that does not exist has no lines.
        offset: Where the first line begins.
    """
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        file.seek(offset)
        for line in file:
            if not line.endswith(b"\n"):
                return
            yield offset, line
            offset += len(line)


def tail_lines(path: Path, count: int) -> list[bytes]:
    """Return the last whole lines of a file; none if it does not exist.

    Args:
        path: The file.
        count: The most lines.
    """
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return []
    with file:
        end = file.seek(0, os.SEEK_END)
        data = b""
        while end and data.count(b"\n") <= count:
            start = max(0, end - _PIECE)
            file.seek(start)
            data, end = file.read(end - start) + data, start
    lines = data[: data.rfind(b"\n") + 1].splitlines(keepends=True)
    return lines[-count:] if not end else lines[1:][-count:]
