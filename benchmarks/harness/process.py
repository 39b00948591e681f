"""Runs a whole process and says what it took."""

from __future__ import annotations

import json
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
    """Run a command to its end, or until `limit` seconds have passed: its code is then -9.

    A small process of its own runs and measures it: a process is said to have held at least what
    the one held that it was made from.
    """
    launcher = [sys.executable, "-S", "-E", __file__, str(limit), *command]
    done = subprocess.run(
        launcher, env=environ, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, check=True
    )
    code, cpu, wall, memory = json.loads(done.stderr)
    return Ended(code, done.stdout.decode("utf-8", "replace"), cpu, wall, memory)


def _measure(limit: str, *command: str) -> None:
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    timer = threading.Timer(float(limit), process.kill)
    timer.start()
    assert process.stdout
    out = process.stdout.read()
    # Not Popen.wait, which does not say what the process took.
    _, status, used = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    timer.cancel()
    sys.stdout.buffer.write(out)
    code, cpu = os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime
    print(json.dumps([code, cpu, wall, used.ru_maxrss * _UNIT]), file=sys.stderr)


def limit_reached(ended: Ended) -> bool:
    """Tell whether a process was stopped."""
    return ended.code == -9


if __name__ == "__main__":
    _measure(*sys.argv[1:])
