"""Repair a damaged run log: move it aside and copy its readable rows to a new one."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from personakit.log.faults import LogError
from personakit.log.row import COLUMNS
from personakit.log.run_log import RunLog, index

if TYPE_CHECKING:
    from personakit.database import Connection

_SIDES = ("", "-wal", "-shm", "-journal")


@dataclass(frozen=True, slots=True)
class Repaired:
    """The result of a repair.

    Attributes:
        runs: The number of runs in the log afterwards.
        aside: The path of the damaged file; None if the log was not damaged.
    """

    runs: int
    aside: Path | None = None


def repair(log: RunLog) -> Repaired:
    """Check a log and repair it if it is damaged. Nothing is deleted.

    Raises:
        LogError: The log is locked, belongs to another program, or cannot be moved.
    """
    try:
        log._database.write(_check)
    except LogError as error:
        if not error.damaged:
            raise
    else:
        log._database.compact()
        return Repaired(_count(log))
    log.close()
    aside = next(
        path
        for number in itertools.count(1)
        if not (path := log.path.with_name(f"{log.path.name}.damaged-{number}")).exists()
    )
    try:
        for side in _SIDES:
            with contextlib.suppress(FileNotFoundError):
                Path(f"{log.path}{side}").rename(f"{aside}{side}")
    except OSError as error:
        raise LogError(f"{log.path}: cannot be moved: {error.strerror}") from None
    for values in _readable(aside):
        # Skip duplicate and truncated rows.
        with contextlib.suppress(LogError):
            log.add([(values, False)])
    return Repaired(_count(log), aside)


def _check(connection: Connection) -> None:
    """Check the rows and the search index, which is rebuilt if it is damaged."""
    from personakit.database import SQLError  # noqa: PLC0415

    result = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
    try:
        index(connection)
        connection.execute("INSERT INTO texts(texts, rank) VALUES ('integrity-check', 1)")
    except SQLError:
        connection.execute("INSERT INTO texts(texts) VALUES ('rebuild')")
        connection.execute("DELETE FROM unindexed")
        result = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if result != "ok":
        raise LogError(f"it is damaged: {result}", damaged=True)


def _count(log: RunLog) -> int:
    return sum(group.runs for group in log.sums())


def _readable(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a damaged file from its beginning, then the rest from its end."""
    from personakit.database import SQLError, SQLRow, connect  # noqa: PLC0415

    query = "SELECT * FROM runs WHERE number > ? ORDER BY number"
    last = -1
    ends: list[dict[str, Any]] = []
    for order in ("ASC", "DESC"):
        with (
            contextlib.suppress(SQLError),
            contextlib.closing(connect(path, isolation_level=None)) as connection,
        ):
            connection.row_factory = SQLRow
            for row in connection.execute(f"{query} {order}", (last,)):
                # A file of an older version has fewer columns.
                values = {**dict.fromkeys(COLUMNS), **row}
                if order == "ASC":
                    last = row["number"]
                    yield values
                else:
                    ends.append(values)
            if order == "ASC":
                return
    yield from reversed(ends)
