"""The rows of a source for a persona: checked once, then read as they are sent."""

from __future__ import annotations

import dataclasses
import hashlib
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from personakit.base import brief
from personakit.batch.rows.columns import Columns
from personakit.batch.rows.digests import Digests
from personakit.batch.rows.reader import Reader
from personakit.batch.rows.row import Fault, Invalid, Row
from personakit.batch.rows.source import Record, Source
from personakit.errors import UsageError
from personakit.persona import Persona

MOST_FAULTS = 1000
"""The most rows of which the faults are kept with their texts; all rows are counted."""
_MOST_COLUMNS = 10_000
"""The most names of columns that are kept of a source in which each row has its own."""
_EVERY = 1000


@dataclass(frozen=True, slots=True)
class Checked:
    """What the check of a table found.

    Attributes:
        rows: The rows that can be sent, those that repeat an earlier one included.
        repeats: Those that repeat the content of an earlier one; 0 if each is sent all the same.
        invalid: The rows with faults.
        faults: The faults of the first `MOST_FAULTS` of these.
    """

    rows: int = 0
    repeats: int = 0
    invalid: int = 0
    faults: tuple[Fault, ...] = ()


class Table:
    """The rows of a source for a persona.

    Args:
        source: The source.
        columns: How its columns are used.
        persona: Declares the variables.
        dedupe: Whether rows that repeat an earlier one are left out of `rows`.

    Attributes:
        checked: What an earlier check of the same table found; None if it was not checked.

    Raises:
        UsageError: The source cannot be read, or lacks a column.
    """

    def __init__(
        self, source: Source, columns: Columns, persona: Persona, *, dedupe: bool = True
    ) -> None:
        self.source, self.columns, self.dedupe = source, columns, dedupe
        self.checked: Checked | None = None
        self._reader = Reader(source, columns, persona)
        # Whether equal rows are told apart from others: to send them once, or to number their keys.
        self._compares = dedupe or columns.key is None
        self._contents = Digests()
        self._first = array("I")  # by the number of a content, the place of its first row
        self._keys: tuple[Digests, array[int]] | None = None

    def check(self, each: Callable[[int], None] = lambda _: None) -> Checked:
        """Read the whole source and check every row.

        Args:
            each: Called with the number of rows that were checked, again and again.

        Raises:
            UsageError: The source cannot be read, or has no column of that name.
        """
        self.checked = self._keys = None
        self._contents, self._first = Digests(), array("I")
        rows = repeats = invalid = 0
        faults: list[Fault] = []

        def add(record: Record, error: Invalid) -> None:
            nonlocal invalid
            invalid += 1
            if invalid <= MOST_FAULTS:
                name, line = self.source.name, record.line
                faults.extend(Fault(name, line, column, text) for column, text in error.faults)

        seen: set[str] | None = None if self._reader.has_columns else set()
        for row, first in self._valid(add, seen):
            rows += 1
            if rows % _EVERY == 1:
                each(row.index)
            repeats += first != row.index
        if seen:
            self._reader.check_columns(sorted(seen))
        self.checked = Checked(rows, repeats if self.dedupe else 0, invalid, tuple(faults))
        return self.checked

    def place(self, key: str) -> int | None:
        """Return the place of the row with a key; None if there is none."""
        if self._keys is None:
            digests, places = Digests(), array("I")
            for row, _ in self._valid(compares=self.columns.key is None):
                if digests.add(_digest(row.key)) == len(places):
                    places.append(row.index)
            self._keys = digests, places
        digests, places = self._keys
        number = digests.find(_digest(key))
        return None if number is None else places[number]

    def rows(self, skip: Callable[[int], bool]) -> Iterator[Row]:
        """Yield the rows to send: valid, no repeats, and not to be skipped.

        Args:
            skip: Returns whether the row with a place is to be skipped.
        """
        checked = self.checked
        if checked is not None and not checked.invalid and self._is_distinct(checked):
            # No row depends on another one, so those to be skipped need not be looked at.
            reader = self._reader
            for index, record in enumerate(self.source.records(reader.needed)):
                if not skip(index):
                    yield self._unchanged(index, record)
            return
        for row, first in self._valid():
            if (first == row.index or not self.dedupe) and not skip(row.index):
                yield row

    def _unchanged(self, index: int, record: Record) -> Row:
        try:
            return self._reader.row(index, record)
        except Invalid as error:
            column, text = error.faults[0]
            fault = Fault(self.source.name, record.line, column, text)
            raise UsageError(
                f"{fault}; it has changed since it was checked, while the batch ran. Run the batch "
                "again, which checks it anew"
            ) from error

    def repeats(self) -> Iterator[tuple[Row, int]]:
        """Yield the rows that repeat an earlier one, each with the place of that."""
        if self.dedupe:
            for row, first in self._valid():
                if first != row.index:
                    yield row, first

    def _is_distinct(self, checked: Checked) -> bool:
        return not self._compares or (self.dedupe and not checked.repeats)

    def _valid(
        self,
        report: Callable[[Record, Invalid], None] = lambda record, error: None,
        seen: set[str] | None = None,
        *,
        compares: bool = True,
    ) -> Iterator[tuple[Row, int]]:
        """Yield the valid rows, each with the place of the first one with its content.

        Args:
            report: Is called for each other row.
            seen: To which the names of the columns are added.
            compares: Whether equal rows are told apart from others.
        """
        reader, first, compares = self._reader, self._first, compares and self._compares
        column, checked = self.columns.key, self.checked
        numbers = array("I") if column is None else None
        # A table without faults has no key twice.
        trusted = column is None or (checked is not None and not checked.invalid)
        keys = None if trusted else _Keys(str(column))
        for index, record in enumerate(self.source.records(reader.needed)):
            if seen is not None and not seen.issuperset(record.values):
                seen.update(list(record.values)[: _MOST_COLUMNS - len(seen)])
            try:
                row = reader.row(index, record)
                if keys is not None:
                    keys.add(row)
            except Invalid as error:
                report(record, error)
                continue
            if not compares:
                yield row, index
                continue
            number = self._contents.add(row.content)
            if number == len(first):
                first.append(index)
            yield row if numbers is None else _numbered(row, number, numbers), first[number]


class _Keys:
    """Checks that each row has its own key."""

    def __init__(self, column: str) -> None:
        self._column, self._digests, self._lines = column, Digests(), array("I")

    def add(self, row: Row) -> None:
        """Note the key of a row.

        Raises:
            Invalid: An earlier row has it.
        """
        number = self._digests.add(_digest(row.key))
        if number < len(self._lines):
            message = f"the key {brief(repr(row.key))} is that of line {self._lines[number]}, too"
            raise Invalid((self._column, f"{message}; each row needs its own"))
        self._lines.append(row.line)


def _numbered(row: Row, number: int, counts: array[int]) -> Row:
    """Return a row with a key of its own among those with the same content.

    Args:
        row: The row.
        number: The number of its content.
        counts: By that number, the rows with it so far.
    """
    if number >= len(counts):
        counts.extend([0] * (number + 1 - len(counts)))
    counts[number] += 1
    count = counts[number]
    return row if count == 1 else dataclasses.replace(row, key=f"{row.key}-{count}")


def _digest(key: str) -> bytes:
    return hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16).digest()
