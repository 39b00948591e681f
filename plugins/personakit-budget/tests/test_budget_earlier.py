"""The file of earlier versions, which had a row for each call."""

import json
import os
import sqlite3
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from personakit_budget import Budget
from personakit_budget.ledger import Ledger, LedgerError

from personakit import Blocked, Total
from personakit.testing import persona, runner

# As the last of these versions had it.
SCHEMA = """
CREATE TABLE IF NOT EXISTS calls (
    id TEXT PRIMARY KEY, time REAL NOT NULL, run TEXT NOT NULL, persona TEXT NOT NULL,
    tokens INTEGER NOT NULL, nanos INTEGER, expires REAL
);
CREATE INDEX IF NOT EXISTS by_time ON calls (time);
CREATE INDEX IF NOT EXISTS by_run ON calls (run);
"""


def midnight(now: float) -> float:
    return now - now % 86_400


def earlier(folder: Path, now: float, calls: int = 400) -> None:
    """Write a file as an earlier version did: calls of two days, one running, one of a dead one."""
    folder.mkdir(mode=0o700)
    connection = sqlite3.connect(folder / "budget.sqlite3", isolation_level=None)
    (folder / "budget.sqlite3").chmod(0o600)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.executescript(SCHEMA)
    today = midnight(now)
    rows: list[tuple[Any, ...]] = [
        (
            f"call-{number}",
            # The first half yesterday, the rest today.
            today - 86_400 + number * 100 if number < calls // 2 else today,
            f"run-{number // 4}",
            "chef" if number % 2 else "clerk",
            10 + number % 3,
            None if number % 5 == 0 else 1000 + number,
            None,
        )
        for number in range(calls)
    ]
    rows.append(("running", now, "run-x", "chef", 500, 7, now + 3000))
    rows.append(("dead", now - 7200, "run-y", "chef", 900, 7, now - 3600))
    connection.executemany("INSERT INTO calls VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
    connection.close()


def sums(path: Path, since: float, now: float) -> dict[str, Total]:
    """Return what the earlier version would say about each persona."""
    connection = sqlite3.connect(path)
    found = {
        name: Total(*rest)
        for name, *rest in connection.execute(
            "SELECT persona, count(*), coalesce(sum(tokens), 0), coalesce(sum(nanos), 0), "
            "count(*) - count(nanos) FROM calls WHERE time >= ? "
            "AND (expires IS NULL OR expires > ?) GROUP BY persona ORDER BY persona",
            (since, now),
        )
    }
    connection.close()
    return found


@pytest.mark.parametrize("later", [0, 4000])
def test_what_was_counted_counts_on(later: float, tmp_path: Path) -> None:
    folder, now = tmp_path / "ledger", time.time()
    earlier(folder, now)
    today = midnight(now)
    wanted = [sums(folder / "budget.sqlite3", since, now + later) for since in (0, today)]
    assert wanted[0] != wanted[1]
    ledger = Ledger(folder)
    assert [ledger.by_persona(since, now + later) for since in (0, today)] == wanted
    assert ledger.spent("run:run-0") == Total(4, 43, 3006, 1)
    assert ledger.spent("day", today, now=now + later).tokens == sum(
        total.tokens for total in wanted[1].values()
    )


def test_the_earlier_file_stays_as_a_copy(tmp_path: Path) -> None:
    folder, now = tmp_path / "ledger", time.time()
    earlier(folder, now)
    before = sums(folder / "budget.sqlite3", 0, now)
    Ledger(folder).by_persona(0, now)
    copy = folder / "budget.sqlite3.earlier"
    assert sums(copy, 0, now) == before
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    names = {file.name for file in folder.iterdir()}
    assert names <= {copy.name, *(f"budget.sqlite3{suffix}" for suffix in ("", "-wal", "-shm"))}


def test_a_limit_sees_what_was_used(tmp_path: Path) -> None:
    folder, now = tmp_path / "ledger", time.time()
    earlier(folder, now)
    used = sum(
        total.tokens for total in sums(folder / "budget.sqlite3", midnight(now), now).values()
    )
    running, upstream = runner(["Hi"], plugins=[Budget(day_tokens=used + 5, folder=str(folder))])
    with pytest.raises(Blocked, match=f"{used:,} tokens are used or reserved"):
        running.run(persona(), "Hi")
    assert upstream.requests == []


STARTS = """
import sys, time
from pathlib import Path
from personakit_budget import Budget
from personakit.testing import persona, runner

running, _ = runner(["sixsix"], plugins=[Budget(folder=sys.argv[1])])
print("ready", flush=True)
sys.stdin.readline()
for _ in range(5):
    running.run(persona(), "Hi", parameters={"max_tokens": 6})
"""


def test_eight_processes_take_it_over_once(tmp_path: Path) -> None:
    folder, now = tmp_path / "ledger", time.time()
    earlier(folder, now, calls=4000)
    wanted = sums(folder / "budget.sqlite3", 0, now)
    workers = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", STARTS, str(folder)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for _ in range(8)
    ]  # fmt: skip
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("\n")
        worker.stdin.flush()
    assert [worker.communicate(timeout=60)[1] for worker in workers] == [""] * 8
    assert Ledger(folder).by_persona(0, now) == {**wanted, "test": Total(40, 320, 0, 40)}
    assert sums(folder / "budget.sqlite3.earlier", 0, now) == wanted


DIES = """
import os, sys
from pathlib import Path
from personakit import Ledger
from personakit_budget.earlier import read_earlier

def read(connection):
    for number, entry in enumerate(read_earlier(connection)):
        if number == 50:
            os._exit(9)
        yield entry

Ledger(Path(sys.argv[1]) / "budget.sqlite3", earlier=read).totals()
"""


def test_a_process_that_dies_meanwhile_changes_nothing(tmp_path: Path) -> None:
    folder, now = tmp_path / "ledger", time.time()
    earlier(folder, now)
    wanted = sums(folder / "budget.sqlite3", 0, now)
    done = subprocess.run([sys.executable, "-c", DIES, str(folder)], check=False)
    assert done.returncode == 9
    assert sums(folder / "budget.sqlite3", 0, now) == wanted
    assert Ledger(folder).by_persona(0, now) == wanted


def test_a_process_of_an_earlier_version_refuses(tmp_path: Path) -> None:
    """What it counted would not be seen."""
    folder, now = tmp_path / "ledger", time.time()
    earlier(folder, now)
    Ledger(folder).by_persona(0, now)
    connection = sqlite3.connect(folder / "budget.sqlite3")
    with pytest.raises(sqlite3.OperationalError, match="views may not be indexed"):
        connection.executescript(SCHEMA)
    connection.close()


def test_a_file_of_another_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "budget.sqlite3"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE calls (number TEXT)")
    connection.close()
    with pytest.raises(LedgerError, match="it is another program's database"):
        Ledger(tmp_path).by_persona(0, 0)
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("calls",)]
    connection.close()


def test_the_command_shows_an_earlier_file(tmp_path: Path) -> None:
    folder, now = tmp_path / "ledger", time.time()
    earlier(folder, now)
    wanted = sums(folder / "budget.sqlite3", midnight(now), now)
    command = [sys.executable, "-m", "personakit", "budget", "--json", "--folder", str(folder)]
    environ = {**os.environ, "HOME": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, env=environ, check=True)
    shown = {name: (row["calls"], row["tokens"]) for name, row in json.loads(done.stdout).items()}
    assert shown == {name: (total.calls, total.tokens) for name, total in wanted.items()}
