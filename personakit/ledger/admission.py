"""Requests a minute and requests at the same time: the statements, each part of a transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from personakit.ledger.errors import TooMany
from personakit.ledger.keys.key import Key
from personakit.ledger.worker import Slot, Worker

if TYPE_CHECKING:
    from personakit.database import Connection

DEAD = 15.0
"""Seconds after its last beat after which a worker is taken for dead, and its slots are free."""

_MINUTE = 60_000_000  # microseconds


def admit(
    connection: Connection, key: Key, slot: Slot | None, worker: Worker, clock: float, now: float
) -> None:
    """Count a request of a key and take a slot for it, if the key needs one.

    Raises:
        TooMany: The key has no slot, or has sent too many requests.
    """
    if key.concurrent is not None:
        check_running(connection, key, key.concurrent, clock)
    if key.rpm is not None:
        count_request(connection, key, key.rpm, now)
    if slot is not None:
        if worker.is_due(clock):
            beat(connection, worker.id, clock)
        take(connection, slot, worker.id)


def count_request(connection: Connection, key: Key, rpm: int, now: float) -> None:
    """Count a request of a key, by the generic cell rate algorithm (ITU-T I.371, annex A).

    Raises:
        TooMany: The key has sent too many.
    """
    found = connection.execute("SELECT arrival FROM rates WHERE key = ?", (key.name,)).fetchone()
    moment = int(now * 1_000_000)
    share = -(-_MINUTE // rpm)
    period = share * rpm  # a minute, and what rounding adds
    # Not beyond a period from now: the limit may be another one, or the clock was set back.
    arrival = moment if found is None else min(max(found[0], moment), moment + period)
    wait = arrival + share - moment - period
    if wait > 0:
        seconds = wait / 1_000_000
        raise TooMany(
            f"key {key.name!r} may send {rpm:,} requests a minute (rpm); the next one is accepted "
            f"in {seconds:.3g} s",
            reason="rate",
            retry_after=seconds,
        )
    connection.execute("INSERT OR REPLACE INTO rates VALUES (?, ?)", (key.name, arrival + share))


def check_running(connection: Connection, key: Key, limit: int, clock: float) -> None:
    """Check that a key has a free slot, freeing those of dead workers if it has none.

    Raises:
        TooMany: It has none.
    """
    if _running(connection, key.name) < limit:
        return
    bury(connection, clock)
    if _running(connection, key.name) >= limit:
        raise TooMany(
            f"key {key.name!r} may have {limit:,} requests at the same time (concurrent), and has "
            f"them; send the next one when one of them has ended",
            reason="concurrent",
            retry_after=1.0,
        )


def take(connection: Connection, slot: Slot, worker: str) -> None:
    """Take a slot for a worker."""
    row = (slot.number, slot.key, slot.request, worker)
    connection.execute("INSERT OR IGNORE INTO running VALUES (?, ?, ?, ?)", row)


def beat(connection: Connection, worker: str, clock: float) -> None:
    """Note that a worker lives."""
    connection.execute("INSERT OR REPLACE INTO workers VALUES (?, ?)", (worker, clock))


def renew(connection: Connection, worker: Worker, clock: float) -> None:
    """Note that a worker lives, let the table have its slots and no others, and remove the dead.

    Another process may have taken it for dead, such as after it was stopped for a while.
    """
    beat(connection, worker.id, clock)
    # A request that is refused takes back the removal of those that it has found.
    bury(connection, clock)
    rows = connection.execute("SELECT slot FROM running WHERE worker = ?", (worker.id,))
    stored = {number for (number,) in rows}
    # In this order: a slot is taken here before it is stored, and left here before it is freed.
    slots = worker.slots()
    for number in stored - {slot.number for slot in slots}:
        free(connection, number)
    for slot in slots:
        if slot.stored and slot.number not in stored:
            take(connection, slot, worker.id)


def free(connection: Connection, number: int) -> None:
    """Free a slot."""
    connection.execute("DELETE FROM running WHERE slot = ?", (number,))


def bury(connection: Connection, clock: float) -> None:
    """Remove the workers that are dead, with their slots.

    A beat in the future is one from before the machine was started.
    """
    dead = "beat < ? OR beat > ?"
    at = (clock - DEAD, clock + 1)
    connection.execute(
        f"DELETE FROM running WHERE worker NOT IN (SELECT id FROM workers WHERE NOT ({dead}))",  # noqa: S608
        at,
    )
    connection.execute(f"DELETE FROM workers WHERE {dead}", at)  # noqa: S608


def _running(connection: Connection, name: str) -> int:
    rows = connection.execute("SELECT count(*) FROM running WHERE key = ?", (name,))
    return int(rows.fetchone()[0])
