"""Starts the upstream that fails, and asks it for what it has counted."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.harness.traffic import Server

_SCRIPT = Path(__file__).with_name("faults.py")


class Upstream(Server):
    """The upstream that runs; see `benchmarks.serving.faults`."""

    def count(self) -> dict[str, Any]:
        """Return what it has received and sent so far."""
        found: dict[str, Any] = json.loads(self._get("/count"))
        return found


@contextlib.contextmanager
def failing() -> Iterator[Upstream]:
    """Run the upstream in a process of its own."""
    command = [sys.executable, "-P", str(_SCRIPT)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdin
        try:
            yield Upstream(int(process.stdout.readline()))
        finally:
            process.stdin.close()
            process.wait(10)
