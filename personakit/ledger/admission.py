"""Requests a minute and requests at the same time: the statements, each part of a transaction."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from personakit.ledger.errors import TooMany
from personakit.ledger.keys.key import Key

if TYPE_CHECKING:
    from personakit.database import Connection

DEAD = 15.0
"""Seconds after its last beat after which a worker is taken for dead, and its slots are free."""

_MINUTE = 60_000_000  # microseconds


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


def take(
    connection: Connection, slots: Iterable[tuple[int, str, str]], worker: str, clock: float
) -> None:
    """Take slots for a worker, given by number, key and request, and let it beat."""
    beat(connection, worker, clock)
    connection.executemany(
        "INSERT OR IGNORE INTO running VALUES (?, ?, ?, ?)", [(*slot, worker) for slot in slots]
    )


def beat(connection: Connection, worker: str, clock: float) -> None:
    """Note that a worker lives."""
    connection.execute("INSERT OR REPLACE INTO workers VALUES (?, ?)", (worker, clock))


def free(connection: Connection, slot: int) -> None:
    """Free a slot."""
    connection.execute("DELETE FROM running WHERE slot = ?", (slot,))


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
