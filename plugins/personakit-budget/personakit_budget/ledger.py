"""The ledger: the usage of every call, in an SQLite file shared by all processes.

Each operation opens the file again, so threads, forks and event loops share no connection.
"""

import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from personakit import check_file, create_file
from personakit_budget.amounts import Amount

_EXPIRES = 3600.0  # seconds after which a call that was never settled stops counting
_KEPT = 31 * 86400.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS calls (
    id TEXT PRIMARY KEY, time REAL NOT NULL, run TEXT NOT NULL, persona TEXT NOT NULL,
    tokens INTEGER NOT NULL, nanos INTEGER, expires REAL
);
CREATE INDEX IF NOT EXISTS by_time ON calls (time);
CREATE INDEX IF NOT EXISTS by_run ON calls (run);
"""
_SUMS = "count(*), coalesce(sum(tokens), 0), coalesce(sum(nanos), 0), count(*) - count(nanos)"
_COUNTS = "(expires IS NULL OR expires > :now)"
_SCOPES = {
    "run": "run = :run",
    "persona": "time >= :since AND persona = :persona",
    "day": "time >= :since",
}


class LedgerError(RuntimeError):
    """The ledger cannot be read or written; the message names the file and a remedy."""


@dataclass(frozen=True, slots=True)
class Spent:
    """The total usage of some calls; calls in progress count as reserved.

    Attributes:
        calls: The number of calls.
        tokens: Their tokens.
        nanos: Their cost in nano-dollars, without the calls whose price is unknown.
        unpriced: The number of calls whose price is unknown.
    """

    calls: int = 0
    tokens: int = 0
    nanos: int = 0
    unpriced: int = 0


@dataclass(frozen=True, slots=True)
class Call:
    """A call.

    Attributes:
        id: Its key in the ledger.
        run: The id of its run.
        persona: The name of its persona.
        time: When it started, as Unix time in seconds.
        since: When its day started, as Unix time in seconds.
    """

    id: str
    run: str
    persona: str
    time: float
    since: float


@dataclass(eq=False)
class Ledger:
    """The file `budget.sqlite3` in a folder; missing ones are created.

    Attributes:
        folder: The folder of the file.
        patience: Seconds to wait while another process writes.
    """

    folder: Path
    patience: float = 30.0

    @property
    def path(self) -> Path:
        """The path of the file."""
        return self.folder / "budget.sqlite3"

    def reserve(self, call: Call, decide: Callable[[Mapping[str, Spent]], Amount]) -> None:
        """Reserve what a call may use, in one transaction.

        Args:
            call: The call.
            decide: Returns the amount to reserve, given what run, persona and day have spent. If
                it raises, the ledger stays unchanged.
        """
        with self._transaction() as connection:
            amount = decide(_spent(connection, call, call.time))
            connection.execute("DELETE FROM calls WHERE time < ?", (call.time - _KEPT,))
            _write(connection, call, amount, call.time + _EXPIRES)

    def settle(self, call: Call, amount: Amount, now: float) -> Mapping[str, Spent]:
        """Replace the reservation of a call with its usage, and return the new sums."""
        with self._transaction() as connection:
            _write(connection, call, amount, None)
            return _spent(connection, call, now)

    def spent(self, call: Call) -> Mapping[str, Spent]:
        """Return what the run, the persona and the day of a call have spent."""
        with self._transaction() as connection:
            return _spent(connection, call, call.time)

    def release(self, call: Call) -> None:
        """Delete the reservation of a call that used nothing."""
        with self._transaction() as connection:
            connection.execute("DELETE FROM calls WHERE id = ?", (call.id,))

    def by_persona(self, since: float, now: float) -> dict[str, Spent]:
        """Return what each persona has spent since the Unix time `since`."""
        with self._transaction() as connection:
            rows = connection.execute(
                f"SELECT persona, {_SUMS} FROM calls WHERE time >= :since AND {_COUNTS} "  # noqa: S608
                "GROUP BY persona ORDER BY persona",
                {"since": since, "now": now},
            )
            return {persona: Spent(*sums) for persona, *sums in rows}

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        try:
            # Closing rolls back what was not committed.
            with contextlib.closing(self._open()) as connection:
                connection.execute("BEGIN IMMEDIATE")
                yield connection
                connection.execute("COMMIT")
        except (sqlite3.Error, OSError) as error:
            raise LedgerError(
                f"the ledger {self.path} cannot be used: {error}; make sure that it is writable "
                f"and not locked by another program, or move it away to start a new one"
            ) from error

    def _open(self) -> sqlite3.Connection:
        check_file(self.path)
        create_file(self.path)
        deadline = time.monotonic() + self.patience
        while True:
            connection = sqlite3.connect(self.path, timeout=self.patience, isolation_level=None)
            try:
                # SQLite's own timeout does not cover the switch to WAL: if several processes switch
                # a new file at once, all but one fail immediately.
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = NORMAL")
                connection.executescript(_SCHEMA)
            except sqlite3.OperationalError as error:
                connection.close()
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
            except BaseException:
                connection.close()
                raise
            else:
                return connection


def _spent(connection: sqlite3.Connection, call: Call, now: float) -> dict[str, Spent]:
    values = {"run": call.run, "persona": call.persona, "since": call.since, "now": now}
    return {
        scope: Spent(
            *connection.execute(
                f"SELECT {_SUMS} FROM calls WHERE {where} AND {_COUNTS}",  # noqa: S608
                values,
            ).fetchone()
        )
        for scope, where in _SCOPES.items()
    }


def _write(
    connection: sqlite3.Connection, call: Call, amount: Amount, expires: float | None
) -> None:
    values = (call.id, call.time, call.run, call.persona, amount.tokens, amount.nanos, expires)
    connection.execute("INSERT OR REPLACE INTO calls VALUES (?, ?, ?, ?, ?, ?, ?)", values)
