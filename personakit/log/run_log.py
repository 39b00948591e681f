"""The run log: one row for each run, in a SQLite file of the user."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from personakit.base import brief_repr, first_id
from personakit.codec import storable
from personakit.config import Config, data_folder, expanded
from personakit.database import WAIT, Database, Format
from personakit.log.faults import LogError, explained
from personakit.log.migrations import MARK, MIGRATIONS, SEARCHED, Where
from personakit.log.row import COLUMNS, Row

if TYPE_CHECKING:
    from personakit.database import Connection

_INSERT = f"INSERT INTO runs ({', '.join(COLUMNS)}) VALUES ({', '.join(f':{c}' for c in COLUMNS)})"  # noqa: S608
_SELECT = f"SELECT {', '.join(f'runs.{column}' for column in COLUMNS)} FROM runs"  # noqa: S608
Values = tuple[dict[str, Any], bool]
"""The values of the columns of a row, and whether it replaces the row with the same id."""
_BATCH = 200
_NEWEST = ("id < :last", "DESC", "g")
# Rows that one write may remove, because the writer waits for it.
_AT_ONCE = 1000
# Rows that a write leaves out of the search index at most; a search adds them before.
_UNINDEXED = 200
FORMAT = Format(MARK, MIGRATIONS, LogError, explained)
MARKS = ("\x02", "\x03")
"""The characters around the matches in an excerpt."""


@dataclass(frozen=True, slots=True)
class Found:
    """A run that a search found, and an excerpt with the matches between `MARKS`."""

    row: Row
    excerpt: str


@dataclass(frozen=True, slots=True)
class Sum:
    """Totals of a group of runs.

    Attributes:
        name: The persona, model or day of the group; empty for all runs.
        runs: The number of runs.
        failed: The number of failed runs.
        prompt_tokens: The known tokens of the requests.
        completion_tokens: The known tokens of the answers.
        cost: The known cost in US dollars.
        unknown: The number of runs whose cost is unknown.
        seconds: The average duration of a run.
    """

    name: str
    runs: int
    failed: int
    prompt_tokens: int
    completion_tokens: int
    cost: float
    unknown: int
    seconds: float


_GROUPS = {
    "persona": "persona",
    "model": "model",
    "day": "date(time, 'unixepoch', 'localtime')",
    "": "''",
}


class RunLog:
    """The log of runs. Threads can share it, and many processes can write to its file.

    Args:
        path: The file; the first write creates it and its folder.
        max_age: Seconds after which a run is removed; None for never.
        max_size: The approximate limit of the runs in bytes, beyond which the oldest runs are
            removed; None for no limit.
        apart: Whether no write waits for the disk: see `personakit.database.Format`.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        max_age: float | None = None,
        max_size: int | None = None,
        apart: bool = False,
    ) -> None:
        self.path = Path(path)
        self.max_age = max_age
        self.max_size = max_size
        self._database = Database(self.path, dataclasses.replace(FORMAT, apart=apart))

    __repr__ = brief_repr

    def _shown(self) -> Iterator[tuple[str, Any]]:
        yield from (("path", str(self.path)), ("max_age", self.max_age))
        yield "max_size", self.max_size

    @classmethod
    def of(cls, config: Config, *, apart: bool = False) -> RunLog:
        """Return the user's log: the file in PERSONAKIT_LOG, or ``runs.db`` in the data folder."""
        named = config.environ.get("PERSONAKIT_LOG", "")
        chosen = bool(named) and named != "off"
        path = expanded(named) if chosen else data_folder(config.environ) / "runs.db"
        limits = config.log
        return cls(path, max_age=limits.max_age, max_size=limits.max_size, apart=apart)

    @property
    def is_quick(self) -> bool:
        """Whether no write waits for the disk; False until the file is open."""
        return self._database.is_quick

    def write(self, row: Row, wait: float = WAIT) -> None:
        """Add a row. After this returns, the row survives the end of the process.

        Args:
            row: The row.
            wait: Seconds to wait for other processes.

        Raises:
            LogError: The row cannot be written; the log is unchanged.
        """
        self.add([(row.values(), False)], wait)

    def add(self, rows: Sequence[Values], wait: float = WAIT, *, forget: bool = True) -> None:
        """Add rows in one transaction, as `write` does.

        Args:
            rows: For each row, the values of its columns, and whether it replaces the row of a
                suspended run with the same id.
            wait: Seconds to wait for other processes.
            forget: Also remove rows beyond the age and size of the log, and add rows to the search
                index if many are not in it. Both may take a while.

        Raises:
            LogError: A row cannot be written; the log is unchanged.
        """

        def insert(connection: Connection) -> None:
            for values, replaces in rows:
                if replaces:
                    connection.execute("DELETE FROM runs WHERE id = :id", values)
                connection.execute(_INSERT, values)
            if forget:
                self._forget_old(connection)
                count = connection.execute("SELECT count(*) FROM unindexed").fetchone()[0]
                if count >= _UNINDEXED:
                    index(connection)

        self._database.write(insert, wait)

    def _forget_old(self, connection: Connection) -> None:
        oldest = "SELECT number FROM runs {} ORDER BY number LIMIT ?"
        remove = f"DELETE FROM runs WHERE number IN ({oldest})"  # noqa: S608
        if self.max_age is not None:
            until = first_id(time.time() - self.max_age)
            connection.execute(remove.format("WHERE id < ?"), (until, _AT_ONCE))
        if self.max_size is not None:
            pages, free, each = (
                connection.execute(f"PRAGMA {name}").fetchone()[0]
                for name in ("page_count", "freelist_count", "page_size")
            )
            over = (pages - free) * each - self.max_size
            if over > 0:
                count = connection.execute("SELECT max(number) - min(number) + 1 FROM runs")
                share = over / ((pages - free) * each)
                many = 1 + int(count.fetchone()[0] * min(share + 0.05, 1.0))
                connection.execute(remove.format(""), (min(many, _AT_ONCE),))

    # --- reading --------------------------------------------------------------------------------

    def last_conversation(self) -> str | None:
        """Return the id of the conversation to continue: the last run's, or the run's own id.

        A failed run outside a conversation and a replay are skipped. The result is None if no run
        is left.
        """
        query = (
            "SELECT coalesce(conversation, id) FROM runs WHERE replays IS NULL "
            "AND (conversation IS NOT NULL OR error IS NULL) ORDER BY id DESC LIMIT 1"
        )
        rows = self._rows(query)
        return rows[0][0] if rows else None

    def conversation(self, conversation: str) -> list[Row]:
        """Return the runs of a conversation, the oldest first, including failed runs.

        A run outside a conversation is found under its own id.
        """
        query = f"{_SELECT} WHERE conversation = ? UNION {_SELECT} WHERE id = ? ORDER BY id"
        return [_row(values) for values in self._rows(query, (storable(conversation),) * 2)]

    def conversations(self, name: str) -> list[str]:
        """Return the ids of at most three conversations that a name can stand for.

        Args:
            name: The id of a conversation or of one of its runs, the beginning of one, or ``last``
                for that of `last_conversation`. An id goes before the beginning of others.
        """
        if name == "last":
            last = self.last_conversation()
            return [] if last is None else [last]
        query = "SELECT DISTINCT coalesce(conversation, id) FROM runs WHERE {} ORDER BY 1 LIMIT 3"
        values = {"name": storable(name), "run": storable(name.lower())}
        whole = "conversation = :name OR id = :run"
        beginning = (
            "(conversation >= :name AND conversation < :name || char(1114111)) "
            "OR (id >= :run AND id < :run || 'g')"
        )
        found = self._rows(query.format(whole), values)
        if not found and name:
            found = self._rows(query.format(beginning), values)
        return [one for (one,) in found]

    def get(self, name: str) -> Row:
        """Return a run by its id, the beginning of its id, or ``last``.

        Raises:
            LogError: No run matches, or several do.
        """
        if name == "last":
            rows = self._rows(f"{_SELECT} ORDER BY id DESC LIMIT 1")
        else:
            # A range, because LIKE would treat % and _ as wildcards.
            query = f"{_SELECT} WHERE id >= :name AND id < :name || 'g' ORDER BY id DESC LIMIT 3"
            rows = self._rows(query, {"name": storable(name.lower())}) if name else []
        if len(rows) == 1:
            return _row(rows[0])
        if rows:
            names = ", ".join(values[0] for values in rows)
            raise LogError(f"the ids of several runs begin with {name!r}, such as {names}")
        if name == "last":
            raise LogError(f"{self.path}: the run log is empty; `personakit run` adds a run")
        raise LogError(
            f"{self.path}: no run id begins with {name[:80]!r}; `personakit log list` shows them"
        )

    def last_to_replay(self) -> Row:
        """Return the last run that succeeded and does not replay another one.

        Raises:
            LogError: There is none.
        """
        query = f"{_SELECT} WHERE replays IS NULL AND error IS NULL ORDER BY id DESC LIMIT 1"
        if rows := self._rows(query):
            return _row(rows[0])
        last = self.get("last")
        raise LogError(
            f"{self.path}: every run failed or is a replay; to replay one, name it by its id, such "
            f"as {last.id[:14]} (`personakit log list` shows them)"
        )

    def find(
        self, where: Where | None = None, limit: int | None = None, *, oldest_first: bool = False
    ) -> Iterator[Row]:
        """Yield runs, the newest first, and read them in batches as needed."""
        condition, values = (where or Where()).sql()
        beyond, order, last = ("id > :last", "ASC", "") if oldest_first else _NEWEST
        query = f"{_SELECT} WHERE {condition} AND {beyond} ORDER BY id {order} LIMIT :many"
        left = limit
        while left is None or left > 0:
            many = _BATCH if left is None else min(_BATCH, left)
            rows = self._rows(query, {**values, "last": last, "many": many})
            yield from map(_row, rows)
            if len(rows) < many:
                return
            left, last = left and left - many, rows[-1][0]

    def search(self, words: str, where: Where | None = None, limit: int = 20) -> list[Found]:
        """Return the runs that contain all of the words, the newest first.

        The search covers the persona's name, variables, the user's message, the answer, tool calls
        and their results, and errors. A word that ends in ``*`` matches every word that begins so.
        If no run contains the whole words, the runs that contain the text as a substring match; so
        they do on a read-only file system if the index lacks runs, which it then cannot get.

        Raises:
            LogError: The log cannot be read, or other processes lock it while the index lacks runs.
        """
        condition, values = (where or Where()).sql()
        quoted = []
        # No column contains the characters that SQL text and UTF-8 cannot represent.
        words = storable(words.replace("\0", " "))
        for word in words.split():
            whole = word.rstrip("*")
            quoted.append('"' + whole.replace('"', '""') + '"' + ("*" if whole != word else ""))
        matching = (
            f"{_SELECT.replace(' FROM', ', snippet(texts, -1, :open, :close, :gap, 24) FROM')} "
            f"JOIN texts ON texts.rowid = runs.number WHERE texts MATCH :words AND {condition} "
            f"ORDER BY runs.id DESC LIMIT :many"
        )
        marks = {"open": MARKS[0], "close": MARKS[1], "gap": "…", "many": limit}
        if not quoted:
            return []
        if self._is_indexed():
            rows = self._rows(matching, {**values, **marks, "words": " ".join(quoted)})
            if rows:
                return [Found(_row(match), match[-1]) for match in rows]
        text = (
            words.strip().strip("*").replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        )
        anywhere = " OR ".join(f"runs.{name} LIKE :text ESCAPE '\\'" for name in SEARCHED)
        query = f"{_SELECT} WHERE ({anywhere}) AND {condition} ORDER BY id DESC LIMIT :many"
        rows = self._rows(query, {**values, "text": f"%{text}%", "many": limit})
        return [Found(row := _row(match), row.asked) for match in rows]

    def _is_indexed(self) -> bool:
        """Return whether the search index has all rows, after adding those that it lacks."""
        if not self._rows("SELECT 1 FROM unindexed LIMIT 1"):
            return True
        try:
            self._database.write(index)
        except LogError as error:
            if error.locked:
                raise
            return False
        return True

    def sums(self, by: str = "", where: Where | None = None) -> list[Sum]:
        """Return totals by ``persona``, ``model`` or ``day``, or of all runs together.

        Groups are sorted by their number of runs, the largest first; days by date.
        """
        condition, values = (where or Where()).sql()
        query = (
            f"SELECT {_GROUPS[by]} AS name, count(*), count(error), "  # noqa: S608
            f"coalesce(sum(prompt_tokens), 0), coalesce(sum(completion_tokens), 0), "
            f"coalesce(sum(cost), 0.0), count(*) - count(cost), coalesce(avg(seconds), 0.0) "
            f"FROM runs WHERE {condition} GROUP BY name "
            f"ORDER BY {'name' if by == 'day' else 'count(*) DESC, name'}"
        )
        return [Sum(*totals) for totals in self._rows(query, values)]

    def _rows(self, query: str, values: Any = ()) -> list[tuple[Any, ...]]:
        if not os.path.lexists(self.path):
            return []
        read: Callable[[Connection], list[tuple[Any, ...]]]
        read = lambda connection: connection.execute(query, values).fetchall()  # noqa: E731
        return self._database.read(read)

    # --- removing -------------------------------------------------------------------------------

    def remove(self, where: Where | None = None, ids: Sequence[str] = ()) -> int:
        """Remove the runs with some ids, or else those that match; return their number.

        Raises:
            LogError: The runs could not be removed, or the file could not be compacted afterwards.
        """
        if not os.path.lexists(self.path):
            return 0
        condition, values = (where or Where()).sql()
        query = f"DELETE FROM runs WHERE {condition}"  # noqa: S608

        def delete(connection: Connection) -> int:
            if ids:
                each = ((name,) for name in ids)
                count = connection.executemany("DELETE FROM runs WHERE id = ?", each).rowcount
            else:
                count = connection.execute(query, values).rowcount
            # The search index keeps the words of removed runs until it is optimized.
            connection.execute("INSERT INTO texts(texts) VALUES ('optimize')")
            return count

        count = self._database.write(delete)
        try:
            self._database.compact()
        except LogError as error:
            raise LogError(
                f"removed {count} runs, but their text may still be in the file: {error}; "
                f"run `personakit log repair` to compact it"
            ) from error
        return count

    def close(self) -> None:
        """Close the file; the next access opens it again."""
        self._database.close()


def index(connection: Connection) -> None:
    """Add the rows to the search index that are not in it."""
    columns = ", ".join(SEARCHED)
    connection.execute(
        f"INSERT INTO texts(rowid, {columns}) SELECT number, {columns} FROM runs "  # noqa: S608
        f"WHERE number IN (SELECT number FROM unindexed)"
    )
    connection.execute("DELETE FROM unindexed")


def _row(values: Sequence[Any]) -> Row:
    return Row.of(dict(zip(COLUMNS, values, strict=False)))
