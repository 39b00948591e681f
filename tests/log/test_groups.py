"""Rows that wait together are written together, and one that fails takes no other with it."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Iterator

import pytest
from helpers.run_log import made, running

from personakit.log.faults import LogError
from personakit.log.recorder import Recorder
from personakit.log.run_log import RunLog
from personakit.testing import persona

REFUSES = (
    "CREATE TRIGGER refuses BEFORE INSERT ON runs WHEN new.asked = 'bad' "
    "BEGIN SELECT RAISE(ABORT, 'no bad rows'); END"
)


@pytest.fixture(params=["in a thread", "in the event loop"])
def recorder(log: RunLog, request: pytest.FixtureRequest) -> Iterator[Recorder]:
    """A recorder whose log is open, and has a row."""
    if request.param == "in a thread":
        yield Recorder(log, patience=0.1)
        return
    apart = RunLog(log.path, apart=True)
    yield Recorder(apart, patience=0.1, prompt=True)
    apart.close()


def busy(log: RunLog) -> sqlite3.Connection:
    """Return another connection that holds the lock of writers."""
    other = sqlite3.connect(log.path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    return other


def test_what_waits_for_a_lock_is_written_in_order(log: RunLog, recorder: Recorder) -> None:
    recorder.log.write(made("before"))
    other = busy(log)
    runner = running(recorder)

    async def run() -> None:
        for number in range(20):
            await runner.arun(persona(), f"{number}")
        other.execute("COMMIT")
        await runner.aclose()

    asyncio.run(run())
    other.close()
    rows = [row.asked for row in log.find(oldest_first=True)]
    assert rows == ["Hi!", *map(str, range(20))]


def test_all_rows_of_a_group_or_none_are_added(log: RunLog) -> None:
    row = made("a").values()
    with pytest.raises(LogError, match="UNIQUE"):
        log.add([(made("b").values(), False), (row, False), (row, False)])
    assert list(log.find()) == []
    log.add([(row, False), (row, True)])
    assert [found.text for found in log.find()] == ["a"]


def test_a_row_that_fails_takes_no_other_of_its_group_with_it(
    log: RunLog, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    recorder.log.write(made("before"))
    other = busy(log)
    other.execute(REFUSES)
    other.execute("COMMIT")
    other.close()
    runner = running(recorder)

    async def run() -> None:
        prompts = ("good", "bad", "good", "good")
        await asyncio.gather(*(runner.arun(persona(), prompt) for prompt in prompts))
        await runner.aclose()

    asyncio.run(run())
    assert [row.asked for row in log.find()] == ["good"] * 3 + ["Hi!"]
    (record,) = caplog.records
    assert "no bad rows" in record.getMessage()


def test_each_run_waits_for_its_row(log: RunLog, recorder: Recorder) -> None:
    runner = running(recorder)
    recorder.patience = 5

    async def one(number: int) -> None:
        await runner.arun(persona(), f"{number}")
        assert any(row.asked == f"{number}" for row in log.find())

    async def run() -> None:
        for first in range(0, 150, 10):
            await asyncio.gather(*map(one, range(first, first + 10)))
        await runner.aclose()

    asyncio.run(run())
    assert len(list(log.find())) == 150
    assert recorder.behind == 0


def test_an_event_loop_that_writes_removes_old_rows_now_and_then(log: RunLog) -> None:
    old = made("old", at=time.time() - 3600)
    log.write(old)
    apart = RunLog(log.path, max_age=60, apart=True)
    runner = running(Recorder(apart, prompt=True))

    async def run() -> None:
        await runner.arun(persona(), "first")
        log.write(old.__class__(f"{old.id[:-1]}x", old.rendered))
        for _ in range(120):
            await runner.arun(persona(), "again")
        await runner.aclose()

    asyncio.run(run())
    apart.close()
    assert {row.asked for row in log.find()} == {"first", "again"}


def test_the_thread_ends_when_nothing_comes(log: RunLog) -> None:
    before = set(threading.enumerate())
    runner = running(Recorder(log))
    for _ in range(2):
        runner.run(persona(), "Hi!")
        until = time.monotonic() + 5
        while set(threading.enumerate()) - before and time.monotonic() < until:
            time.sleep(0.02)
        assert set(threading.enumerate()) - before == set()
    runner.close()
    assert len(list(log.find())) == 2
