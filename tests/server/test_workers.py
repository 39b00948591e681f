"""Several workers: one that dies, one that is replaced, and one whose supervisor dies."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import psutil
from helpers.server_process import Running, children, serving, until
from prometheus_client.parser import text_string_to_metric_families


def test_a_killed_worker_is_restarted_while_others_answer(tmp_path: Path) -> None:
    with serving(tmp_path, "--workers", "3") as server:
        before = server.workers(3)
        killed = before[0]
        os.kill(killed, signal.SIGKILL)
        line = server.line()
        assert line == f"worker {killed} was ended by SIGKILL; another one starts"
        for _ in range(20):
            assert server.get("/health")[0] == 200
        after = server.workers(3)
        assert len({*after} & {*before}) == 2
        assert killed not in after
        server.signal()
        assert server.end() == 0


def test_sighup_replaces_the_workers_without_a_refused_request(tmp_path: Path) -> None:
    with serving(tmp_path, "--workers", "2") as server:
        before = server.workers(2)
        statuses: list[int] = []
        done = threading.Event()

        def ask() -> None:
            while not done.is_set():
                statuses.append(server.get("/ready")[0])

        asking = threading.Thread(target=ask)
        stream = server.stream(20)
        asking.start()
        server.signal(signal.SIGHUP)
        until(lambda: not {*before} & set(children(server.process.pid)), "the workers are new")
        done.set()
        asking.join()
        assert set(statuses) == {200}
        assert stream.read().endswith(b"data: [DONE]\n\n")
        assert len(server.workers(2)) == 2
        server.signal()
        assert server.end() == 0


def test_workers_end_when_their_supervisor_is_killed(tmp_path: Path) -> None:
    with serving(tmp_path, "--workers", "2") as server:
        workers = server.workers(2)
        server.signal(signal.SIGKILL)
        server.process.wait()
        until(lambda: not any(map(psutil.pid_exists, workers)), "the workers have ended")


def test_metrics_are_summed_over_the_workers(tmp_path: Path) -> None:
    (tmp_path / "counts").mkdir()
    with serving(tmp_path, "--workers", "2", TMPDIR=str(tmp_path / "counts")) as server:
        server.workers(2)
        streams = [server.stream(2) for _ in range(12)]
        for stream in streams:
            stream.read()
        left = server.stream(1000)
        until(lambda: values(server)["personakit_requests_total"] == 12, "all are counted")
        found = values(server)
        assert found["personakit_request_seconds_count"] == 12
        assert b'{key="-",persona="slow",status="ok"} 12.0' in server.get("/metrics")[1]
        assert found["personakit_in_flight"] == 1
        files = {file.name for file in (tmp_path / "counts").rglob("*.db")}
        assert len(files) == 6
        for pid in server.workers(2):
            os.kill(pid, signal.SIGKILL)
        server.line(), server.line()
        server.workers(2)
        # What the dead counted stays; what they were doing does not.
        until(lambda: values(server)["personakit_in_flight"] == 0, "nothing runs")
        assert values(server)["personakit_requests_total"] == 12
        server.stream(1).read()
        until(lambda: values(server)["personakit_requests_total"] == 13, "another one is counted")
        assert {file.name for file in (tmp_path / "counts").rglob("*.db")} == files
        left.close()
        server.signal()
        assert server.end() == 0
    assert not any((tmp_path / "counts").iterdir())


def values(server: Running) -> dict[str, float]:
    """Return the sum of the samples of each name."""
    status, body = server.get("/metrics")
    assert status == 200
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(body.decode()):
        for sample in family.samples:
            found[sample.name] = found.get(sample.name, 0) + sample.value
    return found
