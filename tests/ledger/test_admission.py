"""Requests a minute and requests at the same time, in one process and in several."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from personakit import Key, Ledger, TooMany

ADMITS = """
import sys, time
from personakit import Ledger, TooMany

ledger = Ledger(sys.argv[1])
key = ledger.key(sys.argv[2])
seconds = float(sys.argv[3])
print("ready", flush=True)
sys.stdin.readline()
until, accepted, number = time.time() + seconds, 0, 0
while time.time() < until:
    number += 1
    try:
        ledger.admit(key, f"{sys.argv[4]}-{number}")
        accepted += 1
    except TooMany as error:
        time.sleep(min(error.retry_after, 0.05))
print(accepted)
"""

HOLDS = """
import sys, time
from personakit import Ledger

ledger = Ledger(sys.argv[1])
key = ledger.key(sys.argv[2])
for number in range(int(sys.argv[3])):
    ledger.admit(key, f"held-{number}")
print("ready", flush=True)
sys.stdin.readline()
"""


def started(code: str, *args: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "error", "-c", code, *map(str, args)]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def ready(worker: subprocess.Popen[str]) -> None:
    assert worker.stdout is not None
    assert worker.stdout.readline() == "ready\n"


def refused(ledger: Ledger, key: Key, request: str = "other") -> TooMany:
    with pytest.raises(TooMany) as caught:
        ledger.admit(key, request)
    return caught.value


def test_a_key_without_limits_is_admitted_without_the_file(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.db")
    ledger.admit(Key("anna"), "a")
    ledger.leave("a")
    assert not ledger.path.exists()


# --- requests a minute -------------------------------------------------------------------------


@pytest.mark.parametrize("rpm", [1, 7, 60, 61])
def test_as_many_at_once_as_in_a_minute(ledger: Ledger, rpm: int) -> None:
    key, _ = ledger.new_key("anna", rpm=rpm)
    before = time.time()
    for number in range(rpm):
        ledger.admit(key, f"{number}")
    error = refused(ledger, key)
    took = time.time() - before
    assert error.reason == "rate"
    # The first share comes back one share after the first request.
    assert 60 / rpm - took - 0.001 <= error.retry_after <= 60 / rpm + 0.001
    assert f"key 'anna' may send {rpm} requests a minute (rpm)" in str(error)


def test_the_next_one_is_accepted_when_it_was_said(ledger: Ledger) -> None:
    key, _ = ledger.new_key("anna", rpm=240)  # one in a quarter of a second
    for number in range(240):
        ledger.admit(key, f"{number}")
    refusals = 0
    while refusals < 3:
        moments = []
        while True:
            before = time.time()
            try:
                ledger.admit(key, "next")
                break
            except TooMany as error:
                # It is told for a moment between these two.
                moments.append((before + error.retry_after, time.time() + error.retry_after))
                time.sleep(min(error.retry_after, 0.01))
        if not moments:  # a share has passed meanwhile
            continue
        refusals += 1
        # All refusals were about the same moment, and it was accepted then.
        moment = max(earliest for earliest, _ in moments)
        assert moment <= min(latest for _, latest in moments) + 0.0001
        assert moment - 0.0001 <= time.time()


def test_a_refused_request_costs_nothing(ledger: Ledger) -> None:
    key, _ = ledger.new_key("anna", rpm=60, concurrent=1)
    ledger.admit(key, "a")
    for _ in range(70):
        assert refused(ledger, key).reason == "concurrent"
    ledger.leave("a")
    for number in range(59):
        ledger.admit(key, f"{number}")
        ledger.leave(f"{number}")
    assert refused(ledger, key).reason == "rate"


def test_a_limit_can_be_changed(ledger: Ledger) -> None:
    key, _ = ledger.new_key("anna", rpm=60)
    for number in range(60):
        ledger.admit(key, f"{number}")
    assert 0 < refused(ledger, Key("anna", rpm=6000)).retry_after <= 1
    assert 59 < refused(ledger, Key("anna", rpm=1)).retry_after <= 60


def test_the_rate_is_exact_over_processes(ledger: Ledger) -> None:
    _, token = ledger.new_key("anna", rpm=300)
    workers = [started(ADMITS, ledger.path, token, 2.5, name) for name in "abcd"]
    for worker in workers:
        ready(worker)
    before = time.time()
    results = []
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("\n")
        worker.stdin.flush()
    for worker in workers:
        out, err = worker.communicate(timeout=60)
        assert err == ""
        results.append(int(out))
    took = time.time() - before
    # 300 at once, and then five in a second.
    assert 300 + 5 * 2.5 - 2 <= sum(results) <= 300 + 5 * took + 1


# --- requests at the same time -----------------------------------------------------------------


def test_a_slot_is_given_back(ledger: Ledger) -> None:
    key, _ = ledger.new_key("anna", concurrent=2)
    ledger.admit(key, "a")
    ledger.admit(key, "b")
    error = refused(ledger, key)
    assert (error.reason, error.retry_after) == ("concurrent", 1.0)
    ledger.leave("a")
    ledger.leave("a")
    ledger.leave("never heard of")
    ledger.admit(key, "c")
    assert refused(ledger, key).reason == "concurrent"


def test_two_requests_of_one_id_take_two_slots(ledger: Ledger) -> None:
    key, _ = ledger.new_key("anna", concurrent=2)
    ledger.admit(key, "same")
    ledger.admit(key, "same")
    refused(ledger, key, "same")
    ledger.leave("same")
    ledger.admit(key, "same")
    refused(ledger, key, "same")


def test_keys_have_their_own_slots(ledger: Ledger) -> None:
    anna, _ = ledger.new_key("anna", concurrent=1)
    bob, _ = ledger.new_key("bob", concurrent=1)
    ledger.admit(anna, "a")
    ledger.admit(bob, "b")
    refused(ledger, anna)


def test_threads_never_have_more_than_there_are(ledger: Ledger) -> None:
    key, _ = ledger.new_key("anna", concurrent=3)
    lock, running, most = threading.Lock(), 0, 0

    def once(number: int) -> bool:
        nonlocal running, most
        try:
            ledger.admit(key, f"{number}")
        except TooMany:
            return False
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.001)
        with lock:
            running -= 1
        ledger.leave(f"{number}")
        return True

    with ThreadPoolExecutor(12) as pool:
        accepted = sum(pool.map(once, range(300)))
    assert most == 3
    assert accepted >= 3
    for number in range(3):
        ledger.admit(key, f"{number}")


def test_the_slots_of_a_killed_process_come_back(ledger: Ledger) -> None:
    key, token = ledger.new_key("anna", concurrent=3)
    with started(HOLDS, ledger.path, token, 2) as worker:
        ready(worker)
        ledger.admit(key, "mine")
        refused(ledger, key)
        worker.kill()
        worker.wait()
        refused(ledger, key)
        before = time.monotonic()
        while time.monotonic() < before + 20:
            try:
                ledger.admit(key, "next")
                break
            except TooMany as error:
                time.sleep(error.retry_after)
        assert 8 < time.monotonic() - before < 17
        ledger.admit(key, "third")
        # That of a process which lives does not.
        refused(ledger, key)


def test_a_process_that_was_taken_for_dead_gets_its_slots_again(ledger: Ledger) -> None:
    """As after it was stopped for a while."""
    key, token = ledger.new_key("anna", concurrent=1)
    with started(HOLDS, ledger.path, token, 1) as worker:
        ready(worker)
        other = sqlite3.connect(ledger.path, isolation_level=None)
        other.executescript("DELETE FROM running; DELETE FROM workers")
        other.execute("INSERT INTO running VALUES (1, 'bert', 'left', 'dead')")
        ledger.admit(key, "a")
        ledger.leave("a")
        time.sleep(6)
        refused(ledger, key)
        # Its beat has removed what the dead have left, too.
        assert other.execute("SELECT key FROM running").fetchall() == [("anna",)]
        other.close()
        worker.communicate("\n")


def test_a_slot_that_is_stored_too_late_comes_back(ledger: Ledger) -> None:
    """A request that was cancelled while it waited for the file has left before it had a slot."""
    key, _ = ledger.new_key("anna", concurrent=1)
    other = sqlite3.connect(ledger.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    thread = threading.Thread(target=ledger.admit, args=(key, "gone"))
    thread.start()
    time.sleep(0.2)
    leaving = threading.Thread(target=ledger.leave, args=("gone",))
    leaving.start()
    time.sleep(0.2)
    other.execute("ROLLBACK")
    other.close()
    thread.join()
    leaving.join()
    deadline = time.monotonic() + 8
    while True:
        try:
            ledger.admit(key, "next")
            break
        except TooMany:
            assert time.monotonic() < deadline
            time.sleep(0.5)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork()")
def test_a_forked_process_has_slots_of_its_own(ledger: Ledger) -> None:
    key, _ = ledger.new_key("anna", concurrent=2)
    ledger.admit(key, "parent")
    read, write = os.pipe()
    child = os.fork()
    if not child:
        code = 1
        try:
            ledger.leave("parent")  # it is not the child's
            ledger.admit(key, "child")
            refused(ledger, key)
            code = 0
        finally:
            os.write(write, b"x")
            os._exit(code)
    os.read(read, 1)
    _, status = os.waitpid(child, 0)
    assert status == 0
    ledger.leave("parent")
    ledger.admit(key, "again")
    refused(ledger, key)
    os.close(read)
    os.close(write)
