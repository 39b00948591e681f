"""Rows out of records: values of the variables' types, the key, and a hash of the content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from typing import Any

from personakit.base import article, brief, describe
from personakit.batch.rows.columns import Columns
from personakit.batch.rows.row import Invalid, Row
from personakit.batch.rows.source import Record, Source
from personakit.errors import VariableError
from personakit.persona import Declared, Persona, Variable

_encode = json.JSONEncoder(sort_keys=True, ensure_ascii=False).encode
_WHOLE = 1 << 53


class Reader:
    """Reads the rows of a source for a persona.

    Args:
        source: The source.
        columns: How its columns are used.
        persona: Declares the variables.

    Attributes:
        needed: The columns that are read.

    Raises:
        UsageError: The source lacks a column.
    """

    def __init__(self, source: Source, columns: Columns, persona: Persona) -> None:
        self._source, self._columns, self._persona = source, columns, persona
        self._declared = Declared(persona.variables)
        variables = columns.variables(persona)
        known = source.columns()
        self.has_columns = known is not None
        if known is not None:
            columns.check(known, source, persona)
            variables = {name: column for name, column in variables.items() if column in known}
        # The variable is there if values are to be converted, and empty texts are none.
        self._plan = [
            (name, column, persona.variables[name] if source.is_untyped(column) else None)
            for name, column in variables.items()
        ]
        self._column_of = variables
        others = [columns.key, columns.input, *columns.keep]
        self.needed = frozenset([*variables.values(), *(it for it in others if it is not None)])

    def check_columns(self, known: Collection[str]) -> None:
        """Check the names of the columns, of a source that does not know them before it is read.

        Raises:
            UsageError: No row has a column that is used.
        """
        self._columns.check(known, self._source, self._persona)

    def row(self, index: int, record: Record) -> Row:
        """Return a row.

        Raises:
            Invalid: It cannot be sent.
        """
        if record.fault:
            raise Invalid((record.column, record.fault))
        cells, columns = record.values, self._columns
        values, faults = self._values(cells)
        text = None
        if columns.input is not None:
            text = cells.get(columns.input)
            if type(text) is not str or not text:
                faults.append((columns.input, _no_text(text)))
        key = ""
        if columns.key is not None:
            value = cells.get(columns.key)
            key = value if type(value) is str else _key(value)
            if not key or key.isspace():
                faults.append((columns.key, _no_key(value)))
        if faults:
            raise Invalid(*faults)
        content = content_of(values, text)
        kept = {name: cells.get(name) for name in columns.keep} if columns.keep else {}
        return Row(index, record.line, key or content.hex(), content, values, text, kept)

    def _values(self, cells: Mapping[str, Any]) -> tuple[dict[str, Any], list[tuple[str, str]]]:
        """Return the values of the variables, and what is wrong with them by column."""
        values: dict[str, Any] = {**self._columns.fixed}
        faults: list[tuple[str, str]] = []
        for name, column, variable in self._plan:
            value = cells.get(column)
            if value is None:
                continue
            if variable is not None:
                is_string = variable.type == "string"
                if value == "" and not (is_string and variable.required):
                    continue
                if not is_string:
                    try:
                        value = _converted(value, variable)
                    except VariableError as error:
                        faults.append((column, _without_name(str(error), name)))
                        continue
            values[name] = value
        try:
            self._declared.values(values)
        except VariableError as error:
            wrong = {column for column, _ in faults}
            others = self._faults(values)
            faults += [it for it in others if it[0] not in wrong]
            faults = faults or [("", str(error))]
        return values, faults

    def _faults(self, values: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return what is wrong with values, by their columns."""
        faults: list[tuple[str, str]] = []
        for name, variable in self._persona.variables.items():
            column = self._column_of.get(name, "")
            if name in values:
                faults += [
                    (column, _without_name(error, name)) for error in variable.errors(values[name])
                ]
            elif variable.required:
                faults.append((column, _no_value(variable)))
        return faults


def content_of(variables: Mapping[str, Any], text: str | None) -> bytes:
    """Return 16 bytes that are equal for equal variables and inputs."""
    value = _encode([variables, text]).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(value, digest_size=16).digest()


def _converted(value: str | float, variable: Variable) -> Any:
    if isinstance(value, str):
        return variable.convert(value)
    return int(value) if variable.type == "integer" and value.is_integer() else value


def _without_name(message: str, name: str) -> str:
    """Return a message about a variable without its name, which the column says."""
    return message.removeprefix(f"variable {name!r}: ")


def _no_value(variable: Variable) -> str:
    return f"there is no value; variable {variable.name!r} is required, {article(variable.type)}"


def _no_text(value: Any) -> str:
    if value is None or value == "":
        return "the input is empty; expected the user's message"
    return f"the input must be a string, found {describe(value)}"


def _key(value: Any) -> str:
    """Return a key as text; empty if it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    # 1 and 1.0 are the same number in JSON, and tables with gaps have whole numbers as floats.
    if isinstance(value, float) and value.is_integer() and abs(value) < _WHOLE:
        return str(int(value))
    return str(value)


def _no_key(value: Any) -> str:
    if value is None or (isinstance(value, str) and not value.strip()):
        return "the key is empty; each row needs its own"
    return f"a key must be a text or a number, found {brief(describe(value))}"
