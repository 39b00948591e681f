"""Blocks of rows as Arrow's tables: from Ray, pandas, Daft, Dask and Spark, and back."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from personakit.base import install_command
from personakit.batch.rows import Record, Stamp, is_untyped, records_of
from personakit.errors import UsageError

COLUMNS = {
    "": "string",
    "error": "string",
    "code": "string",
    "attempts": "int64",
    "finish_reason": "string",
    "model": "string",
    "tokens": "int64",
    "cost": "double",
    "run": "string",
}
"""What is said of a row, by the end of the column's name, each with its type."""


class TableSource:
    """The rows of a table of Arrow, as a source.

    Args:
        table: The table.
        name: Its name in messages.
    """

    details = ""

    def __init__(self, table: Any, name: str = "the block") -> None:
        self._table, self.name = table, name

    def columns(self) -> tuple[str, ...]:
        """See `Source.columns`."""
        return tuple(self._table.column_names)

    def is_untyped(self, column: str) -> bool:
        """See `Source.is_untyped`."""
        return is_untyped(self._table.schema.field(column).type)

    def records(self, columns: Collection[str]) -> Iterator[Record]:
        """See `Source.records`."""
        return records_of(self._table, [name for name in self.columns() if name in columns])

    def stamp(self, earlier: Stamp | None = None) -> Stamp:
        """See `Source.stamp`: a block is not looked at again."""
        return Stamp(0, 0, "")


def pyarrow() -> Any:
    """Return pyarrow.

    Raises:
        UsageError: It is not installed.
    """
    try:
        import pyarrow  # noqa: PLC0415
    except ImportError:
        command = install_command("personakit[ray]")
        raise UsageError(f"it needs pyarrow, which is not installed; run: {command}") from None
    return pyarrow


def type_of(kind: str) -> Any:
    """Return the type of Arrow by the name of a column's type: string, int64, double or bool."""
    arrow = pyarrow()
    kinds = {"string": arrow.string, "int64": arrow.int64,
             "double": arrow.float64, "bool": arrow.bool_}  # fmt: skip
    return kinds[kind]()


def table_of(block: Any) -> Any:
    """Return a block as a table of Arrow.

    Args:
        block: A table or a record batch of Arrow, a DataFrame of pandas, or a mapping of columns to
            lists or arrays of NumPy.

    Raises:
        UsageError: It is of another type, or a column has no type of Arrow.
    """
    arrow = pyarrow()
    try:
        if isinstance(block, arrow.Table):
            return block
        if isinstance(block, arrow.RecordBatch):
            return arrow.Table.from_batches([block])
        if isinstance(block, Mapping):
            return arrow.table({name: arrow.array(values) for name, values in block.items()})
        if hasattr(block, "iloc"):
            return arrow.Table.from_pandas(block, preserve_index=False)
    except (arrow.ArrowException, TypeError, ValueError) as error:
        message = str(error).partition("\n")[0]
        raise UsageError(f"the block cannot be read as a table of Arrow: {message}") from error
    kind = type(block).__name__
    raise UsageError(
        "expected a table of Arrow, a DataFrame of pandas, or a dict of columns, as map_batches "
        f'passes with batch_format="pyarrow", "pandas" or "numpy"; found {kind}'
    )


def check_names(table: Any, column: str) -> None:
    """Check that the columns of the results have names of their own.

    Raises:
        UsageError: One of them is in the table already.
    """
    taken = [name for name in names_of(column) if name in table.column_names]
    if taken:
        raise UsageError(
            f"the rows have a column {taken[0]!r} already; choose another name for the answers "
            f"with column={column + '_2'!r}, or leave that column out"
        )


def names_of(column: str) -> list[str]:
    """Return the names of the columns of the results."""
    return [f"{column}_{end}" if end else column for end in COLUMNS]


def with_results(
    table: Any, column: str, results: Iterable[Mapping[str, Any] | None], like: Any
) -> Any:
    """Return a table with the columns of the results.

    Args:
        table: The rows.
        column: The name of the column of the answers, with which those of the others begin.
        results: For each row its values by `COLUMNS`; rows with None are left out.
        like: The block as it was given: for a DataFrame, a DataFrame is returned.
    """
    arrow = pyarrow()
    values = list(results)
    if None in values:
        places = [at for at, value in enumerate(values) if value is not None]
        table = table.take(arrow.array(places, arrow.int64()))
        values = [values[at] for at in places]
    rows: list[Mapping[str, Any]] = [value for value in values if value is not None]
    for name, (end, kind) in zip(names_of(column), COLUMNS.items(), strict=True):
        array = arrow.array([row.get(end) for row in rows], type_of(kind))
        table = table.append_column(name, array)
    return table.to_pandas() if hasattr(like, "iloc") else table
