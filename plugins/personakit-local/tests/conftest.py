"""Fixtures of the tests with a real model; they skip, saying why, where it is not installed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from personakit_local import connect
from personakit_local.models import check_runtime, embedded

from personakit import ConfigError, Endpoint

Start = Callable[..., "subprocess.Popen[str]"]
Gone = Callable[[int], bool]
Children = Callable[[int], list[int]]


@pytest.fixture(scope="session")
def weights() -> Path:
    """The file with the embedded weights."""
    try:
        check_runtime()
        return embedded()
    except ConfigError as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def endpoint(weights: Path) -> Iterator[Endpoint]:
    """The embedded model, served for this process with one thread."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PERSONAKIT_LOCAL_THREADS", "1")
        patch.delenv("PERSONAKIT_LOCAL_GGUF", raising=False)
        yield connect("")


@pytest.fixture
def start(weights: Path) -> Iterator[Start]:
    """Run Python code in a session of its own; what it left running is killed in the end."""
    started: list[subprocess.Popen[str]] = []

    def run(code: str, **environ: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env=os.environ
            | {"PERSONAKIT_LOCAL_THREADS": "1", "PERSONAKIT_LOCAL_GGUF": ""}
            | environ,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture(scope="session")
def gone() -> Gone:
    """Wait until a process has ended; false if it has not within a minute."""

    def wait(pid: int) -> bool:
        end = time.monotonic() + 60
        while pid in {found for found, _ in _processes()}:
            if time.monotonic() > end:
                return False
            time.sleep(0.02)
        return True

    return wait


@pytest.fixture(scope="session")
def children() -> Children:
    """Return the processes that a process has started, but for the `ps` that looks."""
    return lambda pid: [found for found, parent in _processes() if parent == pid]


def _processes() -> list[tuple[int, int]]:
    """Return all processes that run, and their parents.

    A zombie (Z) has ended, once its last thread has (no l).
    """
    ps = subprocess.Popen(["ps", "-A", "-o", "pid=,ppid=,stat="], stdout=subprocess.PIPE, text=True)
    lines = [line.split() for line in ps.communicate()[0].splitlines()]
    return [
        (int(pid), int(parent))
        for pid, parent, state in lines
        if int(pid) != ps.pid and ("Z" not in state or "l" in state)
    ]
