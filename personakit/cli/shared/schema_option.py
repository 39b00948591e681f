"""The JSON Schema that `--schema` describes: a list of fields, or a file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from personakit.base import describe, is_stream
from personakit.cli.shared.input import read_text
from personakit.errors import PersonaError, UsageError, did_you_mean
from personakit.persona import yaml

TYPES = {"str": "string", "int": "integer", "float": "number", "bool": "boolean"}
_NAME = re.compile(r"[^\W\d][\w-]*")
_PERSONA = {"system", "messages", "prompt", "extends"}
_ENDINGS = (".json", ".yaml", ".yml")


def schema_of(value: str, option: str, *, many: bool) -> dict[str, Any]:
    """Return the JSON Schema for the value of an option.

    Fields are in the concise syntax of llm: ``name type: description``, separated by commas or, if
    there is a line break, by lines. The type is one of `TYPES`, by default ``str``.

    Args:
        value: Fields, a JSON Schema that begins with ``{``, or the path of a file that ends in
            .json, .yaml or .yml.
        option: The name of the option, for errors.
        many: Whether the answer is a list of such values, under ``items``.

    Raises:
        UsageError: The value or the file is no valid schema; the error has the position.
    """
    value = value.strip()
    if value.startswith("{"):
        schema = _parsed(value, option)
    elif value.lower().endswith(_ENDINGS) or is_stream(value):
        try:
            schema = _parsed(read_text(value, option), value)
        except PersonaError as error:
            raise UsageError(f"{option}: {error}") from None
    else:
        schema = _object(dict(_fields(value, option)))
    return _object({"items": {"type": "array", "items": schema}}) if many else schema


def _parsed(text: str, path: str) -> dict[str, Any]:
    """Return the JSON Schema in a JSON or YAML text."""
    from personakit.schemas import InvalidSchema, checked  # noqa: PLC0415

    document = yaml.parse(text, path)
    if not isinstance(document.data, dict):
        found = f"expected a JSON Schema as a mapping, found {describe(document.data)}"
        raise PersonaError([document.problem(found)])
    if "type" not in document.data and (keys := _PERSONA & document.data.keys()):
        found = f"expected a JSON Schema, found a persona (it has `{min(keys)}:`)"
        raise PersonaError([document.problem(f"{found}; the schema is what its `output:` has")])
    try:
        checked(document.data)
    except InvalidSchema as error:
        fault = f"not a valid JSON Schema: {error}"
        raise PersonaError([document.problem(fault, error.path)]) from None
    return document.data


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of an object that qualifies for strict mode."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _fields(text: str, option: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the name and the schema of each field."""
    by_lines = "\n" in text
    parts = [part.strip().rstrip(",") for part in text.split("\n" if by_lines else ",")]
    fields = [part for part in parts if part]
    if not fields:
        raise UsageError(
            f"{option}: expected fields such as 'dish, minutes int', a JSON Schema, or a .json or "
            f".yaml file; found nothing"
        )
    seen: set[str] = set()
    for number, field in enumerate(fields, 1):
        words, _, description = field.partition(":")
        name, *types = words.split() or [""]
        if fault := _fault(name, types, seen):
            apart = "" if by_lines or ":" not in text else _LINES
            raise UsageError(f"{option}: field {number}, {field[:60]!r}: {fault}{apart}")
        seen.add(name)
        described = {"description": description.strip()} if description.strip() else {}
        yield name, {"type": TYPES[types[0]] if types else "string", **described}


_LINES = "; a description that contains a comma needs one field on each line"


def _fault(name: str, types: list[str], seen: set[str]) -> str:
    """Return what is wrong with a field, or an empty text."""
    if not _NAME.fullmatch(name):
        files = "; a file must end in .json, .yaml or .yml" if set(name) & set("./\\") else ""
        return (
            f"invalid name {name[:60]!r}: use letters, digits, '_' and '-', beginning with a letter"
            f"{files}"
        )
    if name in seen:
        return f"there is already a field {name!r}; use another name"
    if len(types) > 1:
        return "expected NAME, NAME TYPE or NAME TYPE: DESCRIPTION; commas separate the fields"
    if types and types[0] not in TYPES:
        other = {full: short for short, full in TYPES.items()}.get(types[0])
        hint = f"; did you mean {other!r}?" if other else did_you_mean(types[0], TYPES)
        return f"unknown type {types[0][:60]!r}: use one of {', '.join(TYPES)}{hint}"
    return ""
