"""The results of a batch as a table: CSV, Parquet or JSONL."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import IO, Any, Literal, get_args

from personakit.base import counted, private_files
from personakit.batch.inspection import Status, status
from personakit.batch.records import Files, lines_from
from personakit.batch.rows import Digests, write_parquet
from personakit.errors import UsageError, did_you_mean, spelled

Format = Literal["csv", "parquet", "jsonl"]
_PIECE = 1 << 18
_SPECIAL = ("row", "parsed", "text", "error")
_ENDS = ("finish_reason", "model", "tokens", "cost")
# What spreadsheets take for a formula, by OWASP's "CSV Injection"; numbers are none.
_FORMULA = re.compile(r"[=+\-@\t\r]")
_NUMBER = re.compile(r"[+-]?\d+(?:[.,]\d+)?%?\Z")


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export wrote.

    Attributes:
        rows: The rows in the file.
        failed: The rows that failed for good, whether they are in the file or not.
        missing: The rows that have no result yet; None if that is not known.
    """

    rows: int
    failed: int
    missing: int | None


def export(
    out: str | Path,
    file: str | Path,
    *,
    format: Format | None = None,  # noqa: A002
    ordered: bool = False,
    failed: bool = False,
    partial: bool = False,
    force: bool = False,
) -> Exported:
    """Write the results of a batch as a table.

    The columns are ``key``, ``index``, ``row.…`` for the columns that were kept, ``text`` or
    ``parsed.…`` for the fields of the answer, ``finish_reason``, ``model``, ``tokens``, ``cost`` in
    US dollars, and with `failed` ``error``. Lists and objects are JSON texts.

    CSV is UTF-8 with a byte order mark, commas and CRLF, which Excel opens. A text that a
    spreadsheet would take for a formula, since it begins with ``=``, ``+``, ``-``, ``@``, a tab or
    a carriage return and is no number, gets an apostrophe before it: a model can be made to write
    formulas. Parquet and JSONL have the texts as they are; JSONL has the lines of the output.

    Args:
        out: The file of the answers.
        file: The file to write.
        format: ``csv``, ``parquet`` or ``jsonl``; None for what the name of the file ends in.
        ordered: Whether the rows stand in the order of the table, and not in that of the answers.
            Rows that were answered before the table changed keep the place that they had.
        failed: Whether rows that failed for good are included.
        partial: Whether a batch that is not finished is exported.
        force: Whether an existing file is replaced.

    Raises:
        UsageError: It is no output of a batch, or of one that goes on; or the file exists.
    """
    out, target = Path(out), Path(file)
    kind = _format(format, target)
    value = status(out)
    missing = None if value.rows is None else max(0, value.rows - value.done - value.failed)
    if not value.is_finished and not partial:
        raise _unfinished(out, value, missing)
    _check_target(out, target, force=force)
    table = _read(out, failed=failed)
    write = {"csv": _write_csv, "parquet": _write_parquet, "jsonl": _write_jsonl}[kind]
    try:
        write(target, table, table.order() if ordered else table.numbers())
    except OSError as error:
        raise UsageError(f"{target}: cannot be written: {error.strerror or error}") from None
    finally:
        table.close()
    return Exported(len(table.offsets), value.failed, missing)


def _format(given: str | None, target: Path) -> str:
    known = get_args(Format)
    kind = given or target.suffix.lower().removeprefix(".")
    if kind in known:
        return kind
    option = spelled(python="format", terminal="--format")
    if given is None:
        raise UsageError(
            f"{target}: expected a name that ends in .csv, .parquet or .jsonl; or say the format "
            f"with {option}"
        )
    hint = did_you_mean(kind, known)
    raise UsageError(f"{option} must be csv, parquet or jsonl, found {kind!r}{hint}")


def _unfinished(out: Path, value: Status, missing: int | None) -> UsageError:
    what = "its table was not checked to the end, so nobody knows how many rows have no result yet"
    if missing is not None and value.rows is not None:
        what = f"{missing:,} of {counted(value.rows, 'row')} have no result yet"
    option = spelled(python="partial=True", terminal="--partial")
    state = "still running" if value.running else "not finished"
    go_on = "wait for it" if value.running else "run the same batch again to go on"
    return UsageError(
        f"{out}: the batch is {state}: {what}; {go_on}, or export what is there with {option}"
    )


def _check_target(out: Path, target: Path, *, force: bool) -> None:
    """Check that a file may be written.

    Raises:
        UsageError: It is one of the batch, is a folder, or exists.
    """
    if target.is_dir() or not target.parent.is_dir():
        what = "it is a folder" if target.is_dir() else "its folder does not exist"
        raise UsageError(f"{target}: {what}; choose another file")
    own = [*Files.of(out), out.with_name(f"{out.name}.rows")]
    if any(os.path.realpath(target) == os.path.realpath(each) for each in own):
        raise UsageError(f"{target}: it is a file of the batch; choose another one")
    if target.exists() and not force:
        option = spelled(python="force=True", terminal="--force")
        raise UsageError(f"{target}: it exists; choose another file, or replace it with {option}")


@dataclass(slots=True)
class _Table:
    """Where the lines of the results are, without their content.

    Attributes:
        files: The files of the answers, and of the failures.
        places: The place of each row in the table.
        offsets: Where its line begins, twice, and 1 more for a line of a failure.
        columns: The columns by their path in a line, each with its type.
    """

    files: tuple[IO[bytes], ...]
    places: array[int] = field(default_factory=lambda: array("Q"))
    offsets: array[int] = field(default_factory=lambda: array("Q"))
    columns: dict[tuple[str, ...], str] = field(default_factory=dict)

    def numbers(self) -> Iterator[int]:
        """Yield the rows in the order of the results."""
        return iter(range(len(self.offsets)))

    def order(self) -> Iterator[int]:
        """Yield the rows in the order of the table."""
        return iter(sorted(range(len(self.offsets)), key=self.places.__getitem__))

    def line(self, number: int) -> bytes:
        """Return the line of a row."""
        offset, failure = divmod(self.offsets[number], 2)
        file = self.files[failure]
        file.seek(offset)
        return file.readline()

    def close(self) -> None:
        """Close the files."""
        for file in self.files:
            file.close()


def _read(out: Path, *, failed: bool) -> _Table:
    """Find the last line of each row, and the columns.

    Raises:
        UsageError: A line is not one of a batch.
    """
    files = Files.of(out)
    paths = (files.answers, files.failures) if failed else (files.answers,)
    table = _Table(tuple(path.open("rb") if path.exists() else io.BytesIO() for path in paths))
    keys, answered = Digests(), 0
    for failure, path in enumerate(paths):
        for at, data in lines_from(path):
            try:
                line = json.loads(data)
                key, index = str(line["key"]).encode("utf-8", "surrogatepass"), line["index"]
            except (ValueError, KeyError, TypeError):
                message = f"expected a line of a batch, found {data[:40]!r}; restore the file"
                raise UsageError(f"{path}, byte {at}: {message}") from None
            number = keys.add(blake2b(key, digest_size=16).digest())
            if number < answered:
                continue  # it failed, and was answered later
            if number == len(table.offsets):
                table.offsets.append(0)
                table.places.append(0)
            table.offsets[number], table.places[number] = 2 * at + failure, index
            _add_columns(table.columns, line)
        answered = answered or len(table.offsets)
    return table


def _add_columns(columns: dict[tuple[str, ...], str], line: Mapping[str, Any]) -> None:
    """Add the columns of a line, and make the types of those known wide enough for it."""
    for path, value in _cells(line):
        kind = kind_of(value)
        known = columns.get(path, "")
        if kind != known and kind:
            both = {kind, known}
            wide = "double" if both == {"int64", "double"} else "string"
            columns[path] = kind if not known else wide
        elif not known:
            columns[path] = ""


def kind_of(value: Any) -> str:
    """Return the type of the column that a value needs; empty if it is None."""
    if value is None:
        return ""
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 63:
        return "string"
    return {bool: "bool", int: "int64", float: "double"}.get(type(value), "string")


def _cells(line: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the cells of a line, each with the path of its column."""
    for name in _SPECIAL:
        if name in line:
            value = line[name]
            if isinstance(value, dict) and name in ("row", "parsed"):
                for part, item in value.items():
                    yield (name, part), item
            else:
                yield (name,), value


def _columns(table: _Table) -> list[tuple[tuple[str, ...], str]]:
    """Return the paths and types of the columns in their order."""
    groups: dict[str, list[tuple[tuple[str, ...], str]]] = {name: [] for name in _SPECIAL}
    for path, kind in table.columns.items():
        groups[path[0]].append((path, kind or "string"))
    kinds = ("string", "string", "int64", "double")
    return [
        (("key",), "string"),
        (("index",), "int64"),
        *groups["row"],
        *groups["text"],
        *groups["parsed"],
        *zip([(name,) for name in _ENDS], kinds, strict=True),
        *groups["error"],
    ]


def _values(table: _Table, numbers: Iterator[int]) -> Iterator[list[Any]]:
    """Yield the values of the columns of each row, of the columns' types."""
    columns = _columns(table)
    for number in numbers:
        line = json.loads(table.line(number))
        cells: dict[tuple[str, ...], Any] = dict(_cells(line))
        usage = line.get("usage")
        cells |= {(name,): line.get(name) for name in ("key", "index", "cost")}
        cells |= {(name,): line.get(name) for name in ("finish_reason", "model")}
        cells["tokens",] = None if usage is None else usage["total_tokens"]
        yield [typed(cells.get(path), kind) for path, kind in columns]


def typed(value: Any, kind: str) -> Any:
    """Return a value as one of a column's type: string, int64, double or bool."""
    if value is None or kind in ("int64", "bool"):
        return value
    if kind == "double":
        return float(value)
    if isinstance(value, str):
        # Half of a pair of surrogates has no bytes in UTF-8.
        return value.encode("utf-8", "replace").decode()
    return json.dumps(value, ensure_ascii=False)


def _names(table: _Table) -> list[str]:
    return [".".join(path) for path, _ in _columns(table)]


def _write_csv(target: Path, table: _Table, numbers: Iterator[int]) -> None:
    def pieces() -> Iterator[bytes]:
        buffer = io.StringIO(newline="")
        writer = csv.writer(buffer)
        buffer.write("\ufeff")
        writer.writerow([harmless(name) for name in _names(table)])
        for values in _values(table, numbers):
            writer.writerow([harmless(value) for value in values])
            if buffer.tell() >= _PIECE:
                yield buffer.getvalue().encode()
                buffer.seek(0)
                buffer.truncate()
        yield buffer.getvalue().encode()

    private_files.replace(target, pieces(), mode=None)


def harmless(value: Any) -> Any:
    """Return a cell that a spreadsheet takes for no formula."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str) and _FORMULA.match(value) and not _NUMBER.match(value):
        return f"'{value}"
    return value


def _write_parquet(target: Path, table: _Table, numbers: Iterator[int]) -> None:
    columns = {".".join(path): kind for path, kind in _columns(table)}
    beside = target.with_name(f".{target.name}.{os.urandom(8).hex()}")
    try:
        write_parquet(beside, columns, _values(table, numbers))
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)


def _write_jsonl(target: Path, table: _Table, numbers: Iterator[int]) -> None:
    private_files.replace(target, map(table.line, numbers), mode=None)
