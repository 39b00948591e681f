"""A row of a table, as a persona gets it, and what can be wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Row:
    """A row that can be sent.

    Attributes:
        index: Its place among the rows of the source, from 0.
        line: The line of the file on which it begins, from 1; of Parquet, the row from 1.
        key: Its name in the output: the value of the key column, or a hash of its content, with a
            number for each row that repeats it: ``…-2``.
        content: 16 bytes that are equal for rows with equal variables and input.
        variables: Values for the persona's variables.
        input: The user's message; None for none.
        kept: The columns that are copied to the output.
    """

    index: int
    line: int
    key: str
    content: bytes
    variables: Mapping[str, Any]
    input: str | None = None
    kept: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Fault:
    """A value that does not fit the persona, or a row that cannot be read.

    Attributes:
        source: The name of the source.
        line: The line of the row, from 1.
        column: The column; empty if the fault is not in one.
        message: What is wrong, and what would be right.
    """

    source: str
    line: int
    column: str
    message: str

    def __str__(self) -> str:
        column = f", column {self.column!r}" if self.column else ""
        return f"{self.source}:{self.line}{column}: {self.message}"


class Invalid(Exception):
    """A row cannot be sent; it is caught within this package.

    Attributes:
        faults: Each column with what is wrong in it; an empty one for the row.
    """

    def __init__(self, *faults: tuple[str, str]) -> None:
        super().__init__(faults)
        self.faults = faults
