"""Parquet files, through pyarrow."""

from __future__ import annotations

import datetime
import decimal
import math
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from personakit.base import install_command
from personakit.batch.rows.source import File, Record
from personakit.errors import UsageError

_ROWS = 256
"""The rows that are decoded at once."""


class ParquetFile(File):
    """A Parquet file, of which only the columns in use are read, a few rows at a time.

    Lists, structs and maps become JSON types; dates, times and UUIDs become texts as in ISO 8601,
    decimals texts of digits, and binary values texts if they are UTF-8. NaN is no value.
    """

    def columns(self) -> tuple[str, ...]:
        """See `Source.columns`."""
        with self._open() as file:
            names = tuple(file.schema_arrow.names)
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise UsageError(
                f"{self.path}: several columns are named {', '.join(map(repr, repeated))}; give "
                "each its own name"
            )
        return names

    def is_untyped(self, column: str) -> bool:
        """See `Source.is_untyped`.

        Decimals are read as texts; pandas writes integers as floats if some are missing.
        """
        with self._open() as file:
            return is_untyped(file.schema_arrow.field(column).type)

    def records(self, columns: Collection[str]) -> Iterator[Record]:
        """See `Source.records`."""
        names = [name for name in self.columns() if name in columns]
        line = 0
        with self._open() as file:
            for batch in file.iter_batches(batch_size=_ROWS, columns=names):
                yield from records_of(batch, names, line)
                line += batch.num_rows

    @contextmanager
    def _open(self) -> Iterator[Any]:
        pyarrow, parquet = _modules()
        try:
            with parquet.ParquetFile(self.path) as file:
                yield file
        except pyarrow.ArrowException as error:
            message = str(error).partition("\n")[0]
            raise UsageError(
                f"{self.path}: it is not a Parquet file that can be read: {message}"
            ) from None
        except OSError as error:
            raise UsageError(f"{self.path}: cannot be read: {error.strerror or error}") from None


def _modules() -> tuple[Any, Any]:
    """Return pyarrow and its part for Parquet.

    Raises:
        UsageError: It is not installed.
    """
    try:
        import pyarrow  # noqa: PLC0415
        import pyarrow.parquet  # noqa: PLC0415
    except ImportError:
        command = install_command("personakit[parquet]")
        raise UsageError(f"Parquet needs pyarrow, which is not installed; run: {command}") from None
    return pyarrow, pyarrow.parquet


def is_untyped(kind: Any) -> bool:
    """Return whether values of a type of Arrow may stand for those of another one."""
    name = str(kind)
    return name.startswith("decimal") or name in ("halffloat", "float", "double")


def records_of(table: Any, names: Collection[str], line: int = 0) -> Iterator[Record]:
    """Yield the rows of a table or a record batch of Arrow.

    Args:
        table: The table.
        names: The columns to read.
        line: The number of the row before the first one.
    """
    readers = [_reader(table.column(name)) for name in names]
    for at in range(table.num_rows):
        line += 1
        values: dict[str, Any] = {}
        for name, read in zip(names, readers, strict=True):
            try:
                values[name] = read(at)
            except ValueError as error:
                yield Record(line, {}, str(error), name)
                break
        else:
            yield Record(line, values)


def _reader(column: Any) -> Callable[[int], Any]:
    """Return what reads the values of a column by their place."""
    kind = str(column.type)
    if kind.startswith("timestamp[ns"):
        # Python's datetime has no nanoseconds.
        import pyarrow  # noqa: PLC0415

        column = column.cast(pyarrow.timestamp("us", column.type.tz), safe=False)
    if kind in ("string", "large_string", "bool") or kind.lstrip("u").startswith("int"):
        return column.to_pylist().__getitem__  # type: ignore[no-any-return]
    return lambda at: _plain(column[at].as_py(maps_as_pydicts="lossy"))


def _plain(value: Any) -> Any:
    """Return a value as JSON types.

    Raises:
        ValueError: That is not possible.
    """
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, float):
        return None if math.isnan(value) else value
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, decimal.Decimal | uuid.UUID | datetime.timedelta):
        return f"{value:f}" if isinstance(value, decimal.Decimal) else str(value)
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise ValueError(
                f"expected a text, found {len(value):,} bytes that are not UTF-8"
            ) from None
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    raise ValueError(f"expected a value of JSON, found {type(value).__name__}")


def write_parquet(
    path: Path, columns: Mapping[str, str], rows: Iterable[Sequence[Any]], *, at_once: int = 1024
) -> None:
    """Write a Parquet file, a few rows at a time.

    Args:
        path: The file; it is replaced.
        columns: The type of each column: string, int64, double or bool.
        rows: The values of each row.
        at_once: The rows of a group.

    Raises:
        UsageError: pyarrow is not installed.
        OSError: The file cannot be written.
    """
    pyarrow, parquet = _modules()
    kinds = {"string": pyarrow.string, "int64": pyarrow.int64,
             "double": pyarrow.float64, "bool": pyarrow.bool_}  # fmt: skip
    schema = pyarrow.schema([(name, kinds[kind]()) for name, kind in columns.items()])
    waiting: list[Sequence[Any]] = []

    def group() -> Any:
        parts = zip(*waiting, strict=True) if waiting else [()] * len(columns)
        arrays = [
            pyarrow.array(list(part), field.type) for part, field in zip(parts, schema, strict=True)
        ]
        return pyarrow.record_batch(arrays, schema=schema)

    with parquet.ParquetWriter(path, schema) as writer:
        for row in rows:
            waiting.append(row)
            if len(waiting) == at_once:
                writer.write_batch(group())
                waiting.clear()
        if waiting:
            writer.write_batch(group())
