"""Totals and reservations: the statements, each part of a transaction of the caller.

A reservation is added to the totals of its accounts at once, and taken off again when it is
settled, released or has expired. So what a decision reads does not grow with the number of calls.
"""

from __future__ import annotations

import functools
import json
import random
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from personakit.ledger.amounts import Account, Amount, Reservation, Total

if TYPE_CHECKING:
    from personakit.database import Connection

KEPT = 62 * 86_400
"""Seconds for which totals are kept: two months."""

_SUMS = (
    "coalesce(sum(calls), 0), coalesce(sum(tokens), 0), coalesce(sum(nanos), 0), "
    "coalesce(sum(unpriced), 0)"
)
_SPENT = f"SELECT {_SUMS} FROM totals WHERE account = ? AND at >= ?"  # noqa: S608
_HAS_ENDED = "SELECT EXISTS (SELECT 1 FROM reservations WHERE expires <= ?), 0, 0, 0"
_ADD = (
    "INSERT INTO totals VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (account, at) DO UPDATE SET "
    "calls = calls + excluded.calls, tokens = tokens + excluded.tokens, "
    "nanos = nanos + excluded.nanos, unpriced = unpriced + excluded.unpriced"
)
_ENDED = "SELECT expires, id, accounts, tokens, nanos FROM reservations WHERE expires <= ?"
_REMOVE = "DELETE FROM reservations WHERE expires = ? AND id = ?"


def add(connection: Connection, buckets: Iterable[tuple[str, int]], change: Total) -> None:
    """Add a total to each of some buckets, given by account and time."""
    sums = change.calls, change.tokens, change.nanos, change.unpriced
    connection.executemany(_ADD, [(name, at, *sums) for name, at in buckets])


def spent(connection: Connection, accounts: Sequence[Account], now: float) -> list[Total]:
    """Return the sum of each account, after the removal of reservations that have expired."""
    query = " UNION ALL ".join((_HAS_ENDED, *[_SPENT] * len(accounts)))
    values: list[Any] = [now]
    for account in accounts:
        values += [account.name, account.since]
    (ended, *_), *rows = connection.execute(query, values).fetchall()
    if not ended:
        return [Total(*row) for row in rows]
    _expire(connection, now)
    return spent(connection, accounts, now)


def _expire(connection: Connection, now: float) -> None:
    for expires, key, accounts, tokens, nanos in connection.execute(_ENDED, (now,)).fetchall():
        add(connection, json.loads(accounts), _sum(Total(), _one(Amount(tokens, nanos)), -1))
        connection.execute(_REMOVE, (expires, key))


def expired(connection: Connection, now: float) -> dict[tuple[str, int], Total]:
    """Return what a reader has to subtract from each bucket: expired, but not removed yet."""
    found: dict[tuple[str, int], Total] = {}
    for _, _, accounts, tokens, nanos in connection.execute(_ENDED, (now,)):
        for name, at in json.loads(accounts):
            found[name, at] = _sum(found.get((name, at), Total()), _one(Amount(tokens, nanos)))
    return found


def reserve(connection: Connection, reservation: Reservation) -> None:
    """Insert a reservation and add it to the totals."""
    buckets = [(account.name, account.at) for account in reservation.accounts]
    amount = reservation.amount
    connection.execute(
        "INSERT INTO reservations VALUES (?, ?, ?, ?, ?)",
        (reservation.expires, reservation.id, _json(tuple(buckets)), amount.tokens, amount.nanos),
    )
    add(connection, buckets, _one(amount))


@functools.lru_cache(maxsize=1024)
def _json(buckets: tuple[tuple[str, int], ...]) -> str:
    return json.dumps(buckets)


def enter(connection: Connection, entry: tuple[Account, Total] | Reservation) -> None:
    """Add what an earlier program has counted: the total of a bucket, or a reservation."""
    if isinstance(entry, Reservation):
        reserve(connection, entry)
    else:
        account, total = entry
        add(connection, [(account.name, account.at)], total)


def settle(connection: Connection, reservation: Reservation, amount: Amount | None) -> None:
    """Replace a reservation by what was used; None if nothing was."""
    gone = connection.execute(_REMOVE, (reservation.expires, reservation.id))
    change = Total() if amount is None else _one(amount)
    if gone.rowcount:
        change = _sum(change, _one(reservation.amount), -1)
    if change != Total():
        add(connection, [(it.name, it.at) for it in reservation.accounts], change)


def total(connection: Connection, account: str, since: float, now: float) -> Total:
    """Return the sum of an account from a time on, as a reader sees it."""
    found = Total(*connection.execute(_SPENT, (account, since)).fetchone())
    for (name, at), ended in expired(connection, now).items():
        if name == account and at >= since:
            found = _sum(found, ended, -1)
    return found


def by_account(connection: Connection, prefix: str, since: float, now: float) -> dict[str, Total]:
    """Return the sums of all accounts whose names begin with a prefix, sorted by name."""
    rows = connection.execute(
        f"SELECT account, {_SUMS} FROM totals WHERE account >= ? AND account < ? AND at >= ? "  # noqa: S608
        f"GROUP BY account ORDER BY account",
        (prefix, prefix + chr(0x10FFFF), since),
    )
    found = {name: Total(*sums) for name, *sums in rows}
    for (name, at), ended in expired(connection, now).items():
        if name in found and at >= since:
            found[name] = _sum(found[name], ended, -1)
    return {name: sums for name, sums in found.items() if sums.calls}


def forget_old(connection: Connection, now: float) -> None:
    """Remove old totals, once in a hundred calls on average, so that one call pays little."""
    if random.random() < 0.01:  # noqa: S311
        connection.execute("DELETE FROM totals WHERE at < ?", (now - KEPT,))


def _one(amount: Amount) -> Total:
    return Total(1, amount.tokens, amount.nanos or 0, int(amount.nanos is None))


def _sum(left: Total, right: Total, sign: int = 1) -> Total:
    return Total(
        left.calls + sign * right.calls,
        left.tokens + sign * right.tokens,
        left.nanos + sign * right.nanos,
        left.unpriced + sign * right.unpriced,
    )
