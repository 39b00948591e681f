"""Runs a whole process and says what it took."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_UNIT = 1 if sys.platform == "darwin" else 1024


@dataclass(frozen=True, slots=True)
class Ended:
    """A process that has ended.

    Attributes:
        code: Its exit code.
        out: What it printed, both streams.
        cpu: Seconds of CPU, with its children.
        wall: Seconds.
        memory: The most bytes that it held.
    """

    code: int
    out: str
    cpu: float
    wall: float
    memory: int


def run(
    command: Sequence[str], environ: Mapping[str, str], folder: str, *, limit: float = 60.0
) -> Ended:
    """Run a command to its end, or until `limit` seconds have passed: its code is then -9."""
    start = time.perf_counter()
    process = subprocess.Popen(
        command,
        env=environ,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    timer = threading.Timer(limit, process.kill)
    timer.start()
    assert process.stdout
    out = process.stdout.read().decode("utf-8", "replace")
    process.stdout.close()
    # Not Popen.wait, which does not say what the process took.
    _, status, used = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    timer.cancel()
    return Ended(
        process.returncode, out, used.ru_utime + used.ru_stime, wall, used.ru_maxrss * _UNIT
    )


def limit_reached(ended: Ended) -> bool:
    """Tell whether a process was stopped."""
    return ended.code == -9
