"""Rows that wait together are written together, and one that fails takes no other with it."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time

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


def busy(log: RunLog) -> sqlite3.Connection:
    """Return another connection that holds the lock of writers."""
    other = sqlite3.connect(log.path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    return other


def test_what_waits_for_a_lock_is_written_in_order(log: RunLog) -> None:
    log.write(made("before"))
    other = busy(log)
    runner = running(Recorder(log, patience=0))

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
    log: RunLog, caplog: pytest.LogCaptureFixture
) -> None:
    log.write(made("before"))
    other = busy(log)
    other.execute(REFUSES)
    runner = running(Recorder(log, patience=0.1))

    async def run() -> None:
        prompts = ("good", "bad", "good", "good")
        await asyncio.gather(*(runner.arun(persona(), prompt) for prompt in prompts))
        other.execute("COMMIT")
        await runner.aclose()

    asyncio.run(run())
    other.close()
    assert [row.asked for row in log.find()] == ["good"] * 3 + ["Hi!"]
    (record,) = caplog.records
    assert "no bad rows" in record.getMessage()


def test_each_run_waits_for_its_row(log: RunLog) -> None:
    runner = running(Recorder(log))

    async def one(number: int) -> None:
        await runner.arun(persona(), f"{number}")
        assert any(row.asked == f"{number}" for row in log.find())

    async def run() -> None:
        await asyncio.gather(*map(one, range(30)))
        await runner.aclose()

    asyncio.run(run())
    assert len(list(log.find())) == 30


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
