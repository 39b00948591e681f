"""The file of earlier versions, which had a row for each call: it becomes a ledger."""

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from personakit import Account, Amount, Reservation, Total, create_file

BACKUP = ".earlier"
"""What follows the name of the file in that of its copy."""

_COLUMNS = ("id", "time", "run", "persona", "tokens", "nanos", "expires")
_SUMS = "count(*), sum(tokens), coalesce(sum(nanos), 0), count(*) - count(nanos)"
_AT = "CAST(time / 900 AS INTEGER) * 900"
_NAMES = {"run": "'run:' || run", "persona": "'persona:' || persona", "day": "'day'"}


def read_earlier(
    connection: sqlite3.Connection,
) -> Iterator[tuple[Account, Total] | Reservation] | None:
    """Return the sums and reservations of an earlier file; None if it is another one.

    It is called in the transaction that makes the file a ledger, so other processes wait for it.
    """
    rows = connection.execute("SELECT name FROM pragma_table_info('calls')")
    if tuple(name for (name,) in rows) != _COLUMNS:
        return None
    _copy(connection)
    return _entries(connection, time.time())


def _entries(
    connection: sqlite3.Connection, now: float
) -> Iterator[tuple[Account, Total] | Reservation]:
    for name in _NAMES.values():
        for account, at, *sums in connection.execute(
            f"SELECT {name} AS account, {_AT} AS at, {_SUMS} FROM calls WHERE expires IS NULL "  # noqa: S608
            f"GROUP BY account, at"
        ):
            yield Account(account, at, at), Total(*sums)
    for key, at, run, persona, tokens, nanos, expires in connection.execute(
        f"SELECT id, {_AT}, run, persona, tokens, nanos, expires FROM calls WHERE expires > ?",  # noqa: S608
        (now,),
    ):
        names = (f"run:{run}", f"persona:{persona}", "day")
        accounts = tuple(Account(name, at, at) for name in names)
        yield Reservation(key, accounts, Amount(tokens, nanos), expires)
    connection.execute("DROP TABLE calls")
    # A process that still runs an earlier version cannot count here; with this, it refuses.
    connection.execute("CREATE VIEW calls AS SELECT 'see the table totals' AS moved")


def _copy(connection: sqlite3.Connection) -> None:
    """Copy the file as it was before the transaction, private to the user."""
    (name,) = (
        file for _, main, file in connection.execute("PRAGMA database_list") if main == "main"
    )
    beside = Path(f"{name}{BACKUP}.{os.urandom(8).hex()}")
    try:
        create_file(beside)
        with (
            contextlib.closing(sqlite3.connect(name)) as source,
            contextlib.closing(sqlite3.connect(beside)) as target,
        ):
            source.backup(target)
        beside.replace(f"{name}{BACKUP}")
    finally:
        beside.unlink(missing_ok=True)
