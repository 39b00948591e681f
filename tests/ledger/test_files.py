"""The file of the ledger: damaged, locked, read-only, foreign, replaced; and kept values."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from personakit import Account, Amount, Ledger, LedgerError
from personakit.testing import in_mode, persona, runner

CALLS: dict[str, Callable[[Ledger], object]] = {
    "new_key": lambda ledger: ledger.new_key("bob"),
    "key": lambda ledger: ledger.key("pk-x"),
    "keys": lambda ledger: ledger.keys(),
    "revoke": lambda ledger: ledger.revoke("anna"),
    "version": lambda ledger: ledger.version(),
    "reserve": lambda ledger: ledger.reserve([Account("a", 0, 0)], lambda _: Amount(1, 1)),
    "spent": lambda ledger: ledger.spent("a"),
    "totals": lambda ledger: ledger.totals(),
    "hold": lambda ledger: ledger.hold("anna", "1", "x", 10),
    "held": lambda ledger: ledger.held("anna", "1"),
    "forget": lambda ledger: ledger.forget("1"),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_damaged_file_is_an_error_that_says_what_to_do(call: str, tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    path.write_bytes(b"this is no database" * 100)
    with pytest.raises(LedgerError) as caught:
        CALLS[call](Ledger(path))
    assert str(caught.value) == (
        f"the ledger {path} cannot be used: file is not a database; restore it from a backup, or "
        f"move it away to start a new one without keys"
    )
    assert caught.value.damaged
    assert path.read_bytes() == b"this is no database" * 100


def other_program(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    connection.close()


def newer(path: Path) -> None:
    ledger = Ledger(path)
    ledger.new_key("anna")
    ledger.close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (other_program, "its mark is unknown; it is another program's database: use another file"),
        (newer, "its version is 99, the newest supported one is 1; .*upgrade personakit"),
        (Path.mkdir, "it is a folder; expected a file; make sure that it is a file"),
        (os.mkfifo, r"it is a FIFO \(named pipe\); expected a file"),
    ],
)
def test_files_that_are_no_ledger(
    spoil: Callable[[Path], object], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "ledger.db"
    spoil(path)
    with pytest.raises(LedgerError, match=f"the ledger {path} cannot be used: {message}"):
        Ledger(path).new_key("anna")


def test_the_default_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert Ledger().path == tmp_path / "personakit" / "ledger.db"
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not hasattr(os, "geteuid") or not os.geteuid(), reason="root may write")
def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(LedgerError, match="Permission denied; make sure that it is a file"):
        Ledger(tmp_path / "ledger.db").new_key("anna")
    tmp_path.chmod(0o700)


def test_a_full_disk_refuses_and_loses_nothing(ledger: Ledger) -> None:
    code = """
import resource, sys, time
from personakit import Account, Amount, Ledger, LedgerError

ledger, settled = Ledger(sys.argv[1]), 0
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
try:
    while True:
        account = Account(f"account {settled} " + "x" * 500, int(time.time()), 0)
        ledger.settle(ledger.reserve([account], lambda _: Amount(1, 1)), Amount(1, 1))
        settled += 1
except LedgerError as error:
    print(settled, error)
"""
    command = [sys.executable, "-W", "error", "-c", code, str(ledger.path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    settled, _, said = done.stdout.partition(" ")
    assert f"the ledger {ledger.path} cannot be used: " in said
    totals = ledger.totals(now=time.time() + 86_400)
    assert len(totals) == int(settled) > 5
    assert sum(total.tokens for total in totals.values()) == int(settled)


def test_a_file_that_is_replaced_is_used(ledger: Ledger, tmp_path: Path) -> None:
    _, token = ledger.new_key("anna")
    other = Ledger(tmp_path / "other.db")
    _, second = other.new_key("bob")
    other.close()
    for suffix in ("", "-wal", "-shm"):
        Path(f"{ledger.path}{suffix}").unlink(missing_ok=True)
    other.path.rename(ledger.path)
    assert ledger.key(token) is None
    assert ledger.key(second) is not None


# --- locks -------------------------------------------------------------------------------------


def locked(ledger: Ledger) -> sqlite3.Connection:
    connection = sqlite3.connect(ledger.path, isolation_level=None, check_same_thread=False)
    connection.execute("BEGIN IMMEDIATE")
    return connection


def test_a_locked_file_is_waited_for(ledger: Ledger) -> None:
    ledger.new_key("anna")
    ledger.patience = 0.05
    other = locked(ledger)
    with pytest.raises(LedgerError, match="database is locked; make sure that no other") as caught:
        ledger.revoke("anna")
    assert caught.value.locked
    # Reading goes on.
    assert [key.revoked for key in CALLS["keys"](ledger)] == [None]  # type: ignore[attr-defined]
    ledger.patience = 30.0
    threading.Timer(0.3, other.execute, ["ROLLBACK"]).start()
    ledger.revoke("anna")
    time.sleep(0.1)
    other.close()


def test_the_event_loop_does_not_wait_for_a_locked_file(ledger: Ledger) -> None:
    key, _ = ledger.new_key("anna", rpm=1000)
    other = locked(ledger)
    longest = 0.0

    async def tick() -> None:
        nonlocal longest
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.005)
            longest = max(longest, time.monotonic() - before)

    async def main() -> None:
        ticking = asyncio.create_task(tick())
        admitting = [
            asyncio.create_task(ledger.soon(ledger.admit, key, f"{number}")) for number in range(5)
        ]
        done, _ = await asyncio.wait(admitting, timeout=0.5)
        assert done == set()
        other.execute("ROLLBACK")
        await asyncio.gather(*admitting)
        ticking.cancel()

    asyncio.run(main())
    other.close()
    assert longest < 0.2


def test_a_free_file_is_used_without_a_thread(ledger: Ledger) -> None:
    ledger.new_key("anna")
    threads: list[threading.Thread] = []

    def version() -> int:
        threads.append(threading.current_thread())
        return ledger.version()

    async def main() -> int:
        return await ledger.soon(version)

    assert asyncio.run(main()) == ledger.version()
    assert threads == [threading.main_thread()]


def test_soon_is_for_both_apis(ledger: Ledger) -> None:
    from personakit import Request, hookimpl

    class Counts:
        @hookimpl
        async def chat(self, request: Request) -> None:
            await ledger.soon(ledger.hold, "anna", "1", "value", 10)

    running, _ = runner(["Hi"], plugins=[Counts()])
    for mode in ("run", "arun", "stream", "astream"):
        ledger.forget("1")
        in_mode(mode, running, persona(), "?")
        assert ledger.held("anna", "1") == "value"


def test_errors_of_a_call_are_not_retried(ledger: Ledger) -> None:
    ledger.new_key("anna")
    calls = []

    def fails() -> None:
        calls.append(1)
        raise LedgerError("damaged", damaged=True)

    async def main() -> None:
        await ledger.soon(fails)

    with pytest.raises(LedgerError, match="damaged"):
        asyncio.run(main())
    assert calls == [1]


def test_the_write_ahead_log_stays_small(ledger: Ledger) -> None:
    accounts = [Account("a" * 1000, int(time.time()), 0)]
    for number in range(4000):
        ledger.settle(ledger.reserve(accounts, lambda _: Amount(1, 1)), Amount(1, 1), sums=False)
        if number % 500 == 0:  # a busy machine may not run the thread for a long time
            for thread in threading.enumerate():
                if thread.name == "personakit-checkpoint":
                    thread.join(30)
    assert Path(f"{ledger.path}-wal").stat().st_size < 60_000_000
    assert ledger.spent(accounts[0].name).calls == 4000


# --- kept values -------------------------------------------------------------------------------


def test_a_kept_value_belongs_to_its_owner(ledger: Ledger) -> None:
    ledger.hold("anna", "call_1", "first", 60)
    ledger.hold("anna", "call_1", "state 😀", 60)
    ledger.hold("bob", "call_1", "his", 60)
    assert ledger.held("anna", "call_1") == "state 😀"
    assert ledger.held("bob", "call_1") == "his"
    assert ledger.held("eve", "call_1") is None
    assert ledger.held("anna", "call_2") is None
    ledger.forget("call_1")
    ledger.forget("call_1")
    assert ledger.held("anna", "call_1") is None


def test_a_kept_value_expires(ledger: Ledger) -> None:
    ledger.hold("anna", "call_1", "state", 0.2)
    ledger.hold("anna", "call_2", "state", 60)
    assert ledger.held("anna", "call_1") == "state"
    time.sleep(0.25)
    assert ledger.held("anna", "call_1") is None
    ledger.hold("anna", "call_3", "state", 60)
    connection = sqlite3.connect(ledger.path)
    rows = connection.execute("SELECT id FROM held ORDER BY id").fetchall()
    connection.close()
    assert rows == [("call_2",), ("call_3",)]
