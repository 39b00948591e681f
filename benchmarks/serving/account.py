"""What a process and its children have used: CPU time, memory, threads and files.

The kernel's accounts are read from outside, so that nothing runs in the process that is measured.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


def available() -> bool:
    """Return whether the accounts can be read, which needs Linux."""
    return sys.platform == "linux"


def family(pid: int) -> list[int]:
    """Return a process and all of its descendants."""
    every = [pid]
    for parent in every:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{parent}/task").iterdir():
                every += map(int, (task / "children").read_text("ascii").split())
    return every


def cpu(pid: int) -> float:
    """Return the seconds of CPU of a process, its descendants and those that have ended."""
    return sum(map(_own, family(pid)))


def _own(pid: int) -> float:
    try:
        # The clock of another process is the scheduler's account of it in nanoseconds, ended
        # threads included; /proc/PID/stat counts in ticks. See clock_getcpuclockid(3).
        used = time.clock_gettime((~pid << 3) | 2)
        return used + sum(map(int, _stat(pid)[13:15])) / _TICK
    except OSError:
        return 0.0


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the third, the state."""
    text = Path(f"/proc/{pid}/stat").read_text("ascii", "replace")
    return text.rpartition(")")[2].split()


def resident(pid: int) -> int:
    """Return the bytes of memory that a process alone holds; 0 for one that has ended."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1]) * _PAGE
    except OSError:
        return 0


def threads(pid: int) -> int:
    """Return the number of threads of a process."""
    return int(_stat(pid)[17])


def files(pid: int) -> int:
    """Return the number of open files of a process."""
    return len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208
