"""How the server starts and stops: signals, and the requests that run meanwhile."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest
from helpers.process import Folder, command
from helpers.server_process import Running, asked, serving

WORKERS = pytest.mark.parametrize("workers", ["1", "2"])


@WORKERS
def test_the_first_line_has_the_address(tmp_path: Path, workers: str) -> None:
    with serving(tmp_path, "--workers", workers) as server:
        assert server.lines == [
            f"serving http://127.0.0.1:{server.port}/v1 (no key is needed); Ctrl-C ends it"
        ]
        assert server.get("/health")[0] == server.get("/ready")[0] == 200
        server.signal()
        assert server.end() == 0
        assert server.process.stdout is not None
        assert server.process.stdout.read() == ""
        assert len(server.lines) == 1


@WORKERS
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_running_stream_ends_before_the_server(
    tmp_path: Path, workers: str, number: signal.Signals
) -> None:
    with serving(tmp_path, "--workers", workers) as server:
        stream = server.stream(30)
        server.signal(number)
        assert refuses(server)
        assert server.get("/health")[0] == 200
        assert stream.read().endswith(b"data: [DONE]\n\n")
        assert server.end() == 0


def test_a_connection_that_is_open_is_refused_as_well(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        connection = server.connect()
        assert asked(connection, "/ready")[0] == 200
        stream = server.stream(30)
        server.signal()
        assert refuses(server)
        assert asked(connection, "/ready")[0] == 503
        assert stream.read().endswith(b"data: [DONE]\n\n")
        assert server.end() == 0


@WORKERS
def test_after_the_grace_a_stream_ends_with_an_error(tmp_path: Path, workers: str) -> None:
    with serving(tmp_path, "--workers", workers, "--grace", "0.5") as server:
        stream = server.stream(1000)
        server.signal()
        begun = time.monotonic()
        rest = stream.read()
        assert 0.4 < time.monotonic() - begun < 10
        assert b"[DONE]" not in rest
        assert b'"error"' in rest
        assert server.end() == 0


@WORKERS
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_it_at_once(
    tmp_path: Path, workers: str, number: signal.Signals
) -> None:
    with serving(tmp_path, "--workers", workers) as server:
        stream = server.stream(1000)
        server.signal()
        assert refuses(server)
        server.signal(number)
        begun = time.monotonic()
        assert b"[DONE]" not in stream.read()
        assert server.end() == 128 + number
        assert time.monotonic() - begun < 10


def test_a_signal_for_all_processes_is_one_signal(tmp_path: Path) -> None:
    """systemd sends SIGTERM to all processes of a service, and a terminal sends Ctrl-C to all."""
    with serving(tmp_path, "--workers", "2") as server:
        stream = server.stream(20)
        os.killpg(server.process.pid, signal.SIGTERM)
        os.killpg(server.process.pid, 0)
        assert stream.read().endswith(b"data: [DONE]\n\n")
        assert server.end() == 0


@pytest.mark.parametrize("seconds", [0, 0.3, 0.6])
def test_a_signal_while_a_worker_starts(tmp_path: Path, seconds: float) -> None:
    with serving(tmp_path, "--workers", "2") as server:
        time.sleep(seconds)  # the second worker starts when the first one is ready
        server.signal()
        begun = time.monotonic()
        assert server.end() == 0
        assert time.monotonic() - begun < 30  # else it was killed
        assert len(server.lines) == 1


@WORKERS
@pytest.mark.parametrize("number", [0, signal.SIGTERM])
def test_each_run_has_its_row_in_the_log(tmp_path: Path, workers: str, number: int) -> None:
    """Whether it ended in time, was ended after the grace, or by a second signal."""
    with serving(tmp_path, "--workers", workers, "--grace", "1") as server:
        short, long = server.stream(3), server.stream(1000)
        assert short.read().endswith(b"data: [DONE]\n\n")
        server.signal()
        assert refuses(server)
        if number:
            server.signal(number)
        assert b"[DONE]" not in long.read()
        server.end()
    rows = json.loads(Folder(tmp_path).run(command("log", "list", "--json"), b"", {}).out)
    errors = [row["error"] and row["error"]["type"] for row in rows]
    assert sorted(errors, key=str) == ["Abandoned", None]


def refuses(server: Running) -> bool:
    """Wait until the server says that it is not ready."""
    until = time.monotonic() + 10
    while server.get("/ready")[0] != 503:
        assert time.monotonic() < until
    return True
