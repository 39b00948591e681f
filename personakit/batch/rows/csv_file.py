"""CSV files as spreadsheets and databases write them."""

from __future__ import annotations

import csv
import functools
import re
from collections.abc import Collection, Iterator
from typing import IO, NamedTuple

from personakit.batch.rows.source import LONGEST_LINE, Record, TextFile, too_long
from personakit.errors import UsageError

_DELIMITERS = ",;\t|"
_NAMES = {"\t": "a tab"}
_QUOTED = re.compile(r'"(?:[^"]|"")*"?')
# The first line of a file that tells Excel its delimiter.
_SEP = re.compile(r'"?sep=(.)"?\r?\n?\Z', re.IGNORECASE)
_LONGEST_HEADER = 1 << 20
_NUL = "it has a NUL character, so it is damaged or not a text; remove it"


class _Layout(NamedTuple):
    """How a file is written.

    Attributes:
        skipped: The lines before the header.
        delimiter: What is between two cells.
        header: The names of the columns; empty for one without a name.
    """

    skipped: int
    delimiter: str
    header: tuple[str, ...]


class CSVFile(TextFile):
    """A CSV file with a header.

    The delimiter is the one of comma, semicolon, tab and ``|`` that the header has most often
    outside of quotes, or what a first line ``sep=;`` says. Lines without any value are no rows.
    """

    @property
    def details(self) -> str:
        """See `Source.details`."""
        delimiter = self._layout.delimiter
        return f"read with {_NAMES.get(delimiter, repr(delimiter))} between the columns"

    def columns(self) -> tuple[str, ...]:
        """See `Source.columns`."""
        return tuple(name for name in self._layout.header if name)

    def is_untyped(self, column: str) -> bool:
        """See `Source.is_untyped`."""
        return True

    @functools.cached_property
    def _layout(self) -> _Layout:
        with self.text() as file:
            skipped, delimiter = 0, ""
            line = file.readline(_LONGEST_HEADER)
            while line and (not line.strip() or (not delimiter and _SEP.match(line))):
                if match := _SEP.match(line):
                    delimiter = match[1]
                skipped, line = skipped + 1, file.readline(_LONGEST_HEADER)
            parts, size, quotes = [line], len(line), line.count('"')
            # Within quotes, the number of quotes so far is odd.
            while quotes % 2 and size < _LONGEST_HEADER:
                parts.append(file.readline(_LONGEST_HEADER))
                size, quotes = size + len(parts[-1]), quotes + parts[-1].count('"')
                if not parts[-1]:
                    break
            line = "".join(parts)
        at = f"{self.path}:{skipped + 1}"
        if not line:
            raise UsageError(f"{self.path}: it is empty; expected a header with the columns' names")
        if len(line) >= _LONGEST_HEADER:
            raise UsageError(f"{at}: the header does not end; is a quote not closed?")
        if "\0" in line:
            raise UsageError(f"{at}: {_NUL}")
        plain = _QUOTED.sub("", line)
        delimiter = delimiter or max(_DELIMITERS, key=plain.count)
        try:
            cells = next(csv.reader([line], delimiter=delimiter, strict=True))
        except csv.Error as error:
            raise UsageError(f"{at}: the header is not CSV: {error}") from None
        header = tuple(cell.strip() for cell in cells)
        if repeated := sorted({name for name in header if name and header.count(name) > 1}):
            names = ", ".join(map(repr, repeated))
            raise UsageError(f"{at}: several columns are named {names}; give each its own name")
        return _Layout(skipped, delimiter, header)

    def records(self, columns: Collection[str]) -> Iterator[Record]:
        """See `Source.records`."""
        layout = self._layout
        used = [(name, at) for at, name in enumerate(layout.header) if name in columns]
        width = len(layout.header)
        damaged: list[int] = []
        # The limit is one of the whole process; a cell can be a document.
        csv.field_size_limit(max(csv.field_size_limit(), LONGEST_LINE))
        with self.text() as file:
            for _ in range(layout.skipped):
                file.readline()
            reader = csv.reader(
                self._lines(file, layout.skipped, damaged),
                delimiter=layout.delimiter,
                strict=True,
            )
            next(reader)
            while True:
                line = layout.skipped + reader.line_num + 1
                try:
                    cells = next(reader)
                except StopIteration:
                    return
                except csv.Error as error:
                    yield Record(line, {}, _explained(str(error), layout.delimiter))
                    continue
                if damaged:
                    damaged.clear()
                    yield Record(line, {}, _NUL)
                elif len(cells) == width:
                    if any(cells):
                        yield Record(line, {name: cells[at] for name, at in used})
                elif any(cells):
                    yield Record(line, {}, _wrong_width(len(cells), width, layout.delimiter))

    def _lines(self, file: IO[str], line: int, damaged: list[int]) -> Iterator[str]:
        """Yield the lines; note those with a NUL character, which csv takes for any other one."""
        while text := file.readline(LONGEST_LINE):
            line += 1
            if len(text) == LONGEST_LINE:
                raise too_long(self.path, line)
            if "\0" in text:
                damaged.append(line)
            yield text


def _explained(error: str, delimiter: str) -> str:
    if "unexpected end" in error:
        return "a quote that is opened in this row is not closed up to the end of the file"
    if "expected after" in error:
        return (
            f"a quote within a cell is followed by something else than {delimiter!r}; write it "
            'twice: ""'
        )
    return f"it is not CSV: {error}"


def _wrong_width(cells: int, width: int, delimiter: str) -> str:
    hint = f"a cell that contains {delimiter!r} or a line break needs quotes"
    return f"expected {width} cells, as in the header, found {cells}; {hint}"
