"""The space on a disk for answers that are to come."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

_EVERY = 0.2
_RESERVE = 1 << 20


class Space:
    """Checks that the answers under way will fit on the disk.

    The free space is asked for a few times a second; what is written in between is subtracted.

    Args:
        path: A file on it.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._largest = path, 1 << 12
        self._checked = 0.0
        self._free = 1 << 62

    def saw(self, size: int) -> None:
        """Note the bytes of an answer that was written."""
        self._free -= size
        self._largest = max(self._largest, size)

    def check(self, answers: int) -> None:
        """Check the space for some answers as large as the largest so far, and a little more.

        Raises:
            OSError: There is not enough.
        """
        now = time.monotonic()
        if now - self._checked >= _EVERY:
            self._checked = now
            if hasattr(os, "statvfs"):
                status = os.statvfs(self._path)
                self._free = status.f_bavail * status.f_frsize
        if self._free < answers * self._largest + _RESERVE:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))
