"""Totals and reservations: against a model, over processes, and after kill -9."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from personakit import Account, Amount, Blocked, Ledger, Reservation, Total

DAY = 86_400


def account(name: str, now: float) -> Account:
    day = int(now // DAY) * DAY
    return Account(name, int(now // 900) * 900, day)


def within(limit: int, amount: Amount) -> Callable[[Sequence[Total]], Amount]:
    """Return the decision to reserve an amount if all accounts stay within a limit of tokens."""

    def decide(spent: Sequence[Total]) -> Amount:
        if any(total.tokens + amount.tokens > limit for total in spent):
            raise Blocked("no")
        return amount

    return decide


def no_limit(tokens: int, nanos: int | None = 0) -> Callable[[Sequence[Total]], Amount]:
    return within(10**15, Amount(tokens, nanos))


class Entry(NamedTuple):
    """A call in the model: a reservation while it has an end, else what was used."""

    accounts: tuple[Account, ...]
    amount: Amount
    expires: float | None


LIMIT = 1000
AMOUNTS = st.builds(Amount, st.integers(0, 600), st.none() | st.integers(0, 10**12))
NAMES = st.sampled_from([("a",), ("b",), ("a", "b"), ("c", "a")])


class Budgets(RuleBasedStateMachine):
    """A ledger that two objects use, as two processes do, beside a list of its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        path = Path(self.folder.name) / "ledger.db"
        self.ledgers = [Ledger(path), Ledger(path)]
        self.now = 1_800_000_000.0
        # By the number of the call: ids are random, so that the order of theirs would be, too.
        self.calls: dict[int, Entry] = {}
        self.open: dict[int, Reservation] = {}

    def teardown(self) -> None:
        for ledger in self.ledgers:
            ledger.close()
        self.folder.cleanup()

    def expected(self, name: str, since: float) -> Total:
        """Return what the model says that an account has spent."""
        found = [
            entry.amount
            for entry in self.calls.values()
            if entry.expires is None or entry.expires > self.now
            for one in entry.accounts
            if one.name == name and one.at >= since
        ]
        return Total(
            len(found),
            sum(one.tokens for one in found),
            sum(one.nanos or 0 for one in found),
            sum(one.nanos is None for one in found),
        )

    @rule(
        which=st.integers(0, 1),
        names=NAMES,
        amount=AMOUNTS,
        seconds=st.sampled_from([10.0, 1000.0, 200_000.0]),
    )
    def reserve(self, which: int, names: tuple[str, ...], amount: Amount, seconds: float) -> None:
        accounts = tuple(account(name, self.now) for name in names)
        fits = all(
            self.expected(it.name, it.since).tokens + amount.tokens <= LIMIT for it in accounts
        )
        decide = within(LIMIT, amount)
        try:
            made = self.ledgers[which].reserve(accounts, decide, seconds=seconds, now=self.now)
        except Blocked:
            assert not fits
        else:
            assert fits
            assert made == Reservation(made.id, accounts, amount, self.now + seconds)
            number = len(self.calls)
            self.calls[number] = Entry(accounts, amount, made.expires)
            self.open[number] = made

    @precondition(lambda self: self.open)
    @rule(data=st.data(), which=st.integers(0, 1), used=AMOUNTS, sums=st.booleans())
    def settle(self, data: st.DataObject, which: int, used: Amount, sums: bool) -> None:
        number = data.draw(st.sampled_from(sorted(self.open)))
        made = self.open.pop(number)
        told = self.ledgers[which].settle(made, used, sums=sums, now=self.now)
        # What has expired counts again when it is settled after all.
        self.calls[number] = Entry(made.accounts, used, None)
        assert told == [self.expected(it.name, it.since) for it in made.accounts] * sums

    @precondition(lambda self: self.open)
    @rule(data=st.data(), which=st.integers(0, 1), twice=st.booleans())
    def release(self, data: st.DataObject, which: int, twice: bool) -> None:
        number = data.draw(st.sampled_from(sorted(self.open)))
        made = self.open.pop(number)
        for _ in range(1 + twice):
            self.ledgers[which].release(made)
        self.calls[number] = Entry((), Amount(0, 0), None)

    @rule(seconds=st.sampled_from([1, 9.5, 600, 5000, 50_000, 90_000]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def the_sums_are_those_of_the_model(self) -> None:
        day = int(self.now // DAY) * DAY
        for since in (0, day, int(self.now // 900) * 900):
            for name in "abc":
                expected = self.expected(name, since)
                assert self.ledgers[0].spent(name, since, now=self.now) == expected
                totals = self.ledgers[1].totals("", since, now=self.now)
                assert totals.get(name, Total()) == expected

    @invariant()
    def no_reservation_exceeds_the_limit(self) -> None:
        # Calls can: what they use is known only afterwards.
        for name in "abc":
            reserved = sum(
                entry.amount.tokens
                for entry in self.calls.values()
                if entry.expires is not None and entry.expires > self.now
                for one in entry.accounts
                if one.name == name and one.since == int(self.now // DAY) * DAY
            )
            assert reserved <= LIMIT


TestBudgets = Budgets.TestCase
TestBudgets.settings = settings(max_examples=30, stateful_step_count=25, deadline=None)


def test_a_refused_reservation_changes_nothing(ledger: Ledger) -> None:
    with pytest.raises(Blocked):
        ledger.reserve([account("a", 0)], within(5, Amount(6, 0)))
    assert ledger.totals() == {}


def test_what_is_old_is_forgotten(ledger: Ledger) -> None:
    start = 1_800_000_000.0
    made = ledger.reserve([account("old", start)], no_limit(1), now=start)
    ledger.settle(made, Amount(1, 0), now=start)
    later = start + 63 * DAY
    for _ in range(2000):
        made = ledger.reserve([account("new", later)], no_limit(1), now=later)
        ledger.release(made)
        if not ledger.totals("old", now=later):
            break
    assert ledger.totals("old", now=later) == {}


def test_the_cost_of_a_decision_does_not_grow_with_the_calls(ledger: Ledger) -> None:
    now = 1_800_000_000.0
    for _ in range(300):
        made = ledger.reserve([account("a", now), account("b", now)], no_limit(1), now=now)
        ledger.settle(made, Amount(1, 1), sums=False, now=now)
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    def reserve(connection: object) -> None:
        connection.set_progress_handler(count, 1)  # type: ignore[attr-defined]

    ledger._database.read(reserve)
    made = ledger.reserve([account("a", now), account("b", now)], no_limit(1), now=now)
    ledger.settle(made, Amount(1, 1), now=now)
    # Instructions of SQLite's machine; a scan of 300 calls would take thousands.
    assert 50 < steps < 600


# --- many processes ----------------------------------------------------------------------------

SPENDS = """
import sys, time
from personakit import Account, Amount, Blocked, Ledger

# On a busy machine, each of four processes can wait for long.
ledger, limit = Ledger(sys.argv[1], patience=60.0), 20_000
spent = sent = 0

def decide(totals):
    if any(total.tokens + 10 > limit for total in totals):
        raise Blocked("no")
    return Amount(10, 10)

at = int(time.time())
accounts = [Account("day", at, 0), Account("month", at, 0)]
print("ready", flush=True)
sys.stdin.readline()
while True:
    try:
        made = ledger.reserve(accounts, decide)
    except Blocked:
        break
    sent += 1
    if sent % 7 == 3:
        ledger.release(made)
        continue
    spent += 5 + sent % 6
    ledger.settle(made, Amount(5 + sent % 6, 7), sums=False)
print(spent, sent - len(range(3, sent + 1, 7)))
"""


def test_four_processes_never_exceed_a_budget(ledger: Ledger) -> None:
    command = [sys.executable, "-W", "error", "-c", SPENDS, str(ledger.path)]
    workers = [
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("\n")
        worker.stdin.flush()
    results = []
    for worker in workers:
        out, err = worker.communicate(timeout=120)
        assert err == ""
        results.append([int(number) for number in out.split()])
    tokens, calls = map(sum, zip(*results, strict=True))
    # All are refused once ten tokens are not left; four at most were reserved then.
    assert 20_000 - 4 * 10 < tokens <= 20_000
    expected = Total(calls, tokens, 7 * calls, 0)
    assert ledger.totals() == {"day": expected, "month": expected}


def test_threads_never_exceed_a_budget(ledger: Ledger) -> None:
    now = time.time()

    def spend(_: int) -> int:
        try:
            made = ledger.reserve([account("a", now)], within(500, Amount(10, None)))
        except Blocked:
            return 0
        ledger.settle(made, Amount(9, None))
        return 9

    with ThreadPoolExecutor(8) as pool:
        spent = sum(pool.map(spend, range(200)))
    assert ledger.spent("a") == Total(spent // 9, spent, 0, spent // 9)
    assert 490 < spent <= 500


KILLED = """
import os, signal, sys
from personakit import Account, Amount, Ledger

ledger = Ledger(sys.argv[1])
accounts = [Account("a", 0, 0)]
made = ledger.reserve(accounts, lambda spent: Amount(100, 1), seconds=50, now=1000.0)
made = ledger.reserve(accounts, lambda spent: Amount(7, 1), now=1000.0)
ledger.settle(made, Amount(7, 1), now=1000.0)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_reservation_of_a_killed_process_expires(ledger: Ledger) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(ledger.path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert ledger.spent("a", now=1049).tokens == 107
    with pytest.raises(Blocked):
        ledger.reserve([Account("a", 0, 0)], within(110, Amount(4, 0)), now=1049)
    assert ledger.spent("a", now=1050).tokens == 7
    ledger.reserve([Account("a", 0, 0)], within(110, Amount(103, 0)), now=1050)
    assert ledger.spent("a", now=1050).tokens == 110


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork()")
def test_a_forked_process_counts_in_the_same_file(ledger: Ledger) -> None:
    accounts = [account("a", time.time())]
    made = ledger.reserve(accounts, no_limit(5))
    child = os.fork()
    if not child:
        code = 1
        try:
            ledger.settle(made, Amount(3, 0))
            ledger.settle(ledger.reserve(accounts, no_limit(4)), Amount(4, 0))
            ledger.close()
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert status == 0
    assert ledger.spent("a").tokens == 7
    ledger.settle(ledger.reserve(accounts, no_limit(1)), Amount(1, 0))
    assert ledger.spent("a") == Total(3, 8, 0, 0)
