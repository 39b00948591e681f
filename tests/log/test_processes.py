"""A run log that many processes write, or that cannot be written."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from helpers.run_log import folder, in_modes, made, running

from personakit import (
    Config,
    Runner,
)
from personakit.database.places import networked
from personakit.errors import UsageError
from personakit.log import LogError
from personakit.log.recorder import Recorder
from personakit.log.run_log import RunLog
from personakit.testing import in_mode, persona

# --- many processes, and none of them ends well ------------------------------------------------


WRITER = """
import os, sys, time
from personakit import Message, Request
from personakit.base import run_id
from personakit.log.row import Row
from personakit.log import RunLog

log = RunLog(sys.argv[1])
for number in range(int(sys.argv[2])):
    asked = Request("test/model", (Message("user", f"{number} " + "word " * 100),))
    row = Row(run_id(time.time()), asked, persona="ann", text="An answer. " * 50)
    log.write(row)
    os.write(1, (row.id + "\\n").encode())
"""


def writer(log: RunLog, rows: int, out: Any) -> subprocess.Popen[bytes]:
    code = [sys.executable, "-W", "error", "-c", WRITER, str(log.path), str(rows)]
    return subprocess.Popen(code, stdout=out)


def intact(path: Path) -> set[str]:
    """Check a log as a whole; return its ids."""
    with contextlib.closing(RunLog(path)) as log:
        log.search("word")  # adds to the index what it lacks
    connection = sqlite3.connect(path)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        connection.execute("INSERT INTO texts(texts, rank) VALUES ('integrity-check', 1)")
        return {row[0] for row in connection.execute("SELECT id FROM runs")}
    finally:
        connection.close()


def test_processes_that_all_begin_at_once_lose_no_row(log: RunLog, tmp_path: Path) -> None:
    outputs = [(tmp_path / f"{number}").open("wb+") for number in range(8)]
    processes = [writer(log, 25, output) for output in outputs]
    assert [process.wait(60) for process in processes] == [0] * 8
    assert len(intact(log.path)) == 8 * 25
    for output in outputs:
        output.close()


def test_a_log_that_many_threads_create_at_once_loses_no_row(tmp_path: Path) -> None:
    for number in range(40):
        path, begin = tmp_path / f"{number}.db", threading.Barrier(8)

        def write(path: Path = path, begin: threading.Barrier = begin) -> None:
            log = RunLog(path)
            begin.wait(60)
            log.write(made("one"))

        with ThreadPoolExecutor(8) as pool:
            for written in [pool.submit(write) for _ in range(8)]:
                written.result()
        assert len(intact(path)) == 8


def test_no_row_that_was_taken_is_lost_when_processes_are_killed(
    log: RunLog, tmp_path: Path
) -> None:
    chance = random.Random(7)
    outputs = [tmp_path / f"{number}" for number in range(12)]
    for batch in (outputs[:4], outputs[4:8], outputs[8:]):
        files = [output.open("wb") for output in batch]
        processes = [writer(log, 100_000, file) for file in files]
        for process, output in zip(processes, batch, strict=True):
            wanted, until = chance.randrange(1, 500), time.monotonic() + 30
            while output.stat().st_size < wanted and time.monotonic() < until:
                time.sleep(0.001)
            process.send_signal(signal.SIGKILL)
            process.wait(60)
        for file in files:
            file.close()
    # A line that was cut by the end of its process was not said.
    said = [line for output in outputs for line in output.read_text().split("\n")[:-1]]
    assert len(said) > 12
    assert set(said) <= intact(log.path)


def test_a_process_that_was_forked_opens_it_anew(log: RunLog) -> None:
    log.write(made("parent"))
    child = os.fork()
    if child == 0:
        code = 1
        try:
            log.write(made("child"))
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    log.write(made("parent again"))
    assert {row.text for row in log.find()} == {"parent", "child", "parent again"}
    assert len(intact(log.path)) == 3


def test_a_runner_that_was_forked_goes_on_logging(log: RunLog) -> None:
    runner = running(log)
    runner.run(persona(), "parent")
    child = os.fork()
    if child == 0:
        code = 1
        try:
            runner.run(persona(), "child")
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    runner.close()
    assert [row.asked for row in log.find()] == ["child", "parent"]


def test_a_log_that_is_replaced_is_opened_anew(log: RunLog) -> None:
    log.write(made("before"))
    log.path.rename(log.path.with_name("moved.db"))
    log.write(made("after"))
    assert [row.text for row in log.find()] == ["after"]


# --- a log that cannot be written ----------------------------------------------------------------


def garbage(path: Path) -> None:
    path.write_bytes(b"no database\n" * 1000)


def below_a_file(path: Path) -> None:
    path.parent.rmdir()
    path.parent.write_text("a file")


def newer(path: Path) -> None:
    log = RunLog(path)
    log.write(made())
    log.close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()


def somebody_elses(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE bookmarks (url TEXT)")
    connection.close()


def device(path: Path) -> None:
    path.symlink_to("/dev/full")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (garbage, "is damaged (file is not a database); `personakit log repair` recovers"),
        (folder, "is a folder; expected a file; set PERSONAKIT_LOG to another file"),
        (below_a_file, "set PERSONAKIT_LOG to another file, or turn the log off with `log: off`"),
        (newer, "written by a newer personakit (its version is 99, the newest supported one is"),
        (somebody_elses, "is another program's database; set PERSONAKIT_LOG to another file"),
        (device, "PERSONAKIT_LOG"),
    ],
)
@in_modes
def test_a_log_that_cannot_be_written_costs_one_warning(
    mode: str,
    spoil: Callable[[Path], None],
    message: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    path = tmp_path / "data" / "runs.db"
    path.parent.mkdir()
    spoil(path)
    before = path.read_bytes() if path.is_file() and spoil is not device else b""
    runner = running(RunLog(path))
    with caplog.at_level(logging.WARNING, "personakit"):
        for _ in range(3):
            assert in_mode(mode, runner, persona(), "Hi!").text == "Hello!"
        runner.close()
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.startswith("personakit: the run was not logged: ")
    if spoil is not device:
        assert message in said
        assert not path.is_file() or path.read_bytes() == before


def test_a_full_disk_costs_no_row_that_is_there(tmp_path: Path) -> None:
    code = """
import resource, sys, time
from personakit import Message, Request
from personakit.base import run_id
from personakit.log.row import Row
from personakit.log import RunLog

log, written = RunLog(sys.argv[1]), 0
asked = Request("test/model", (Message("user", "word " * 1000),))
try:
    for number in range(500):
        log.write(Row(run_id(time.time()), asked))
        written += 1
        resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000))
except Exception as error:
    print(written, error)
"""
    path = tmp_path / "runs.db"
    args = [sys.executable, "-W", "error", "-c", code, str(path)]
    done = subprocess.run(args, capture_output=True, text=True, timeout=60, check=True)
    written, _, said = done.stdout.partition(" ")
    assert str(path) in said
    assert len(intact(path)) == int(written) > 0


def test_without_shared_memory_it_does_without_the_write_ahead_log(log: RunLog) -> None:
    log.path.parent.mkdir()
    Path(f"{log.path}-shm").mkdir()
    for text in ("a", "b"):
        log.write(made(text))
        log.close()
    assert [row.text for row in log.find()] == ["b", "a"]
    log.close()
    # So it stays, for those who could as well.
    Path(f"{log.path}-shm").rmdir()
    log.write(made("c"))
    assert sorted(file.name for file in log.path.parent.iterdir()) == ["runs.db"]


@pytest.mark.parametrize(
    ("mounts", "remote"),
    [
        ("/dev/sda / ext4 rw 0 0\n", False),
        ("/dev/sda / ext4 rw 0 0\nserver:/home /home nfs4 rw 0 0\n", True),
        ("server:/ / nfs rw 0 0\n/dev/sda /home/ann ext4 rw 0 0\n", False),
        ("/dev/sda / ext4 rw 0 0\n//pc/my\\040home /home/ann cifs rw 0 0\nx\n", True),
        ("", False),
    ],
)
def test_a_network_file_system_is_known_by_its_mount(mounts: str, remote: bool) -> None:
    assert networked(Path("/home/ann/.local/share/runs.db"), mounts) is remote


@in_modes
def test_a_log_that_is_locked_holds_nobody_up(
    mode: str, log: RunLog, caplog: pytest.LogCaptureFixture
) -> None:
    log.write(made("before"))
    other = sqlite3.connect(log.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    recorder = Recorder(log, patience=0.05)
    runner = running(recorder)
    for _ in range(3):
        assert in_mode(mode, runner, persona(), "Hi!").text == "Hello!"
    other.execute("COMMIT")
    other.close()
    runner.close()
    # Once it is free, what had to wait is written.
    assert [row.text for row in log.find()] == ["Hello!"] * 3 + ["before"]
    assert caplog.records == []


def test_many_runs_get_their_answers_while_the_log_is_locked(log: RunLog) -> None:
    log.write(made("before"))
    other = sqlite3.connect(log.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    runner = running(Recorder(log, patience=0.2))

    async def run() -> None:
        answers = await asyncio.gather(*(runner.arun(persona(), f"{n}") for n in range(50)))
        assert [answer.text for answer in answers] == ["Hello!"] * 50
        other.execute("COMMIT")
        await runner.aclose()

    asyncio.run(run())
    other.close()
    assert len(list(log.find())) == 51


def test_a_log_that_stays_locked_is_an_error_that_says_so(log: RunLog) -> None:
    log.write(made("before"))
    other = sqlite3.connect(log.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(LogError, match="is locked by another process") as caught:
        log.write(made("not now"), wait=0.1)
    assert caught.value.locked
    other.close()
    assert [row.text for row in log.find()] == ["before"]


@pytest.mark.parametrize("log", ["runs.db", Path("runs.db"), 1])
def test_a_log_that_is_none_is_not_taken_for_the_user_s(log: Any) -> None:
    with pytest.raises(UsageError, match=r"log: expected True, False or a RunLog\(path\), found"):
        Runner(Config(), log=log)
