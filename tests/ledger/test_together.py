"""Calls of one turn of the event loop, which share a transaction while several model calls run."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Sequence

import pytest

from personakit import Account, Amount, Ledger, TooMany, Total

# Totals of long ago are forgotten, now and then.
ACCOUNT = Account("a", int(time.time()), 0)
_ONE = Amount(1, 1)


@pytest.fixture
def busy(ledger: Ledger) -> Ledger:
    """Return a ledger that is open, with several calls under way."""
    ledger.hold("anna", "0", "value", 10)
    ledger.running = 10
    return ledger


def test_each_call_has_its_own_decision(busy: Ledger) -> None:
    key, _ = busy.new_key("anna", rpm=2)

    async def main() -> list[object]:
        calls = [busy.soon(busy.admit, key, f"{number}") for number in range(5)]
        return list(await asyncio.gather(*calls, return_exceptions=True))

    results = asyncio.run(main())
    assert results[:2] == [None, None]
    assert [type(result) for result in results[2:]] == [TooMany] * 3


def test_calls_of_one_turn_see_those_before_them(busy: Ledger) -> None:
    seen = []

    def decide(spent: Sequence[Total]) -> Amount:
        seen.append(spent[0].tokens)
        return _ONE

    def reserve() -> None:
        busy.reserve([ACCOUNT], decide)

    async def main() -> None:
        await asyncio.gather(*(busy.soon(reserve) for _ in range(4)))

    asyncio.run(main())
    assert seen == [0, 1, 2, 3]
    assert busy.spent("a").calls == 4


def test_what_a_call_that_fails_has_written_is_taken_back(busy: Ledger) -> None:
    def fails() -> None:
        busy.reserve([ACCOUNT], lambda _: Amount(5, 5))
        raise ValueError("no")

    async def main() -> list[object]:
        calls = [busy.soon(busy.hold, "anna", "1", "x", 10), busy.soon(fails)]
        calls.append(busy.soon(busy.hold, "anna", "2", "x", 10))
        return list(await asyncio.gather(*calls, return_exceptions=True))

    first, failure, last = asyncio.run(main())
    assert (first, last) == ([], [])
    assert isinstance(failure, ValueError)
    assert busy.held("anna", "1") == busy.held("anna", "2") == "x"
    assert busy.spent("a").calls == 0


def test_calls_wait_for_a_locked_file_in_threads(busy: Ledger) -> None:
    key, _ = busy.new_key("anna", concurrent=4)
    other = sqlite3.connect(busy.path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")

    async def main() -> list[object]:
        calls = [asyncio.create_task(busy.soon(busy.admit, key, f"{n}")) for n in range(6)]
        done, _ = await asyncio.wait(calls, timeout=0.3)
        assert done == set()
        other.execute("ROLLBACK")
        return list(await asyncio.gather(*calls, return_exceptions=True))

    results = asyncio.run(main())
    other.close()
    assert sorted(str(type(result)) for result in results).count(str(TooMany)) == 2
    for number in range(6):
        busy.leave(f"{number}")
    busy.admit(key, "again")  # no slot is left behind


def test_a_call_whose_caller_is_cancelled_before_is_not_made(busy: Ledger) -> None:
    async def main() -> None:
        calls = [
            asyncio.create_task(busy.soon(busy.reserve, [ACCOUNT], lambda _: _ONE))
            for _ in range(3)
        ]
        await asyncio.sleep(0)
        calls[1].cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        assert calls[1].cancelled()

    asyncio.run(main())
    assert busy.spent("a").calls == 2


@pytest.mark.parametrize("is_locked", [False, True])
def test_what_was_used_is_counted_if_its_caller_is_cancelled_before(
    busy: Ledger, is_locked: bool
) -> None:
    kept = busy.reserve([ACCOUNT], lambda _: _ONE)
    other = sqlite3.connect(busy.path, isolation_level=None)

    async def main() -> None:
        if is_locked:
            other.execute("BEGIN IMMEDIATE")
        call = asyncio.create_task(busy.surely(busy.settle, kept, Amount(7, 7)))
        await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

    asyncio.run(main())
    other.close()
    until = time.monotonic() + 10
    while busy.spent("a").tokens != 7 and time.monotonic() < until:
        time.sleep(0.01)
    assert busy.spent("a").tokens == 7


def test_a_reservation_is_removed_if_its_caller_is_cancelled_before_it_has_it(
    busy: Ledger,
) -> None:
    async def main() -> None:
        call = asyncio.create_task(busy.soon(busy.reserve, [ACCOUNT], lambda _: _ONE))
        await asyncio.sleep(0)
        # After the transaction of this turn, before the task goes on.
        asyncio.get_running_loop().call_soon(call.cancel)
        with pytest.raises(asyncio.CancelledError):
            await call

    asyncio.run(main())
    assert busy.spent("a").calls == 0


def test_a_new_event_loop_does_not_wait_for_calls_of_an_earlier_one(busy: Ledger) -> None:
    async def asks() -> None:
        await busy.soon(busy.hold, "anna", "1", "x", 10)

    loop = asyncio.new_event_loop()
    task = loop.create_task(asks())
    loop.call_soon(loop.stop)
    loop.run_forever()  # stopped before the transaction
    assert not task.done()
    asyncio.run(asyncio.wait_for(busy.soon(busy.hold, "anna", "2", "x", 10), 10))
    assert busy.held("anna", "2") == "x"
    loop.run_until_complete(task)
    loop.close()


def test_calls_of_one_turn_share_a_transaction(busy: Ledger) -> None:
    ahead = busy.path.with_name(f"{busy.path.name}-wal")

    async def grown(first: int) -> int:
        before = ahead.stat().st_size
        holds = [busy.soon(busy.hold, "anna", f"{first + number}", "x", 10) for number in range(20)]
        await asyncio.gather(*holds)
        return ahead.stat().st_size - before

    async def main() -> tuple[int, int]:
        together = await grown(100)
        busy.running = 0
        return together, await grown(200)

    together, alone = asyncio.run(main())
    # Each transaction writes the pages that it has changed.
    assert 0 < together < alone / 5


def test_the_slots_of_a_process_count_after_a_transaction_that_failed(busy: Ledger) -> None:
    key, _ = busy.new_key("anna", concurrent=1)

    def fails() -> None:
        busy.hold("anna", "1", "x", 10)
        raise ValueError("no")

    async def main() -> list[object]:
        calls = [busy.soon(busy.admit, key, "first"), busy.soon(fails)]
        return list(await asyncio.gather(*calls, return_exceptions=True))

    assert isinstance(asyncio.run(main())[1], ValueError)
    # It takes the slots of a process without a beat for those of a dead one.
    with contextlib.closing(Ledger(busy.path)) as other, pytest.raises(TooMany):
        other.admit(key, "second")
    busy.leave("first")
