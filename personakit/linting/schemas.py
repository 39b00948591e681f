"""Checks of the JSON Schemas of a persona that go beyond their syntax."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from personakit.base import TYPES, is_type, shown
from personakit.errors import Problem
from personakit.persona import Persona
from personakit.schemas import InvalidSchema, Pattern, checked, foreign_pattern

_RANGES = {
    "maximum": "minimum",
    "maxLength": "minLength",
    "maxItems": "minItems",
    "maxProperties": "minProperties",
}
# A value may match elsewhere if one of these parts matches nothing.
_CHOICES = frozenset("anyOf dependencies dependentSchemas else if not oneOf then".split())


def check(persona: Persona) -> Iterator[Problem]:
    """Yield the patterns that are not matched in linear time, and parts that no value matches."""
    schemas: list[tuple[Any, tuple[str | int, ...]]] = [(persona.output, ("output",))]
    schemas += [
        (test.expect.get("json_schema"), (*test.at, "expect", "json_schema"))
        for test in persona.tests
    ]
    for schema, at in schemas:
        if schema is None or at not in persona.document.marks:
            continue
        try:
            parts = list(checked(schema, foreign_pattern).every())
        except InvalidSchema:
            continue  # reported already
        try:
            checked(schema, Pattern.of)
        except InvalidSchema as error:
            message = f"{at[-1]}: {error}"
            yield persona.document.problem(message, (*at, *error.path), code="PK012")
        if schema and "type" not in schema and all(_is_type(value) for value in schema.values()):
            name, kind = next(iter(schema.items()))
            fixed = f"{{type: object, properties: {{{name}: {{type: {kind}}}}}}}"
            message = (
                f"{at[-1]}: no key is a keyword of JSON Schema, so every value matches; write "
                f"{fixed}"
            )
            yield persona.document.problem(message, at, code="PK071")
        for path, part in parts:
            if isinstance(part, dict) and not _CHOICES & set(path):
                for key, message in _contradictions(part):
                    place = (*at, *path, key)
                    yield persona.document.problem(f"{at[-1]}: {message}", place, code="PK070")


def _contradictions(part: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the keywords of a schema that no value satisfies together, with the reason."""
    for most, least in _RANGES.items():
        if most in part and least in part and part[least] > part[most]:
            reason = f"`{least}` {part[least]} is greater than `{most}` {part[most]}"
            yield most, f"{reason}, so no value matches"
    if part.get("additionalProperties") is False and not part.get("patternProperties"):
        known = part.get("properties", {})
        for name in part.get("required", ()):
            if name not in known:
                yield (
                    "required",
                    (
                        f"`required` names {name!r}, which `additionalProperties: false` excludes, "
                        f"so no value matches; add it to `properties`"
                    ),
                )
    kinds = part.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    for key in ("enum", "const"):
        values = part.get(key, []) if key == "enum" else [part[key]] if key in part else []
        if values and kinds and not any(_is_one(value, kinds) for value in values):
            found = ", ".join(map(shown, values[:5]))
            yield key, f"`{key}` has no {' or '.join(kinds)}, so no value matches: found {found}"
    if part.get("enum") == []:
        yield "enum", "`enum` is empty, so no value matches"


def _is_type(value: Any) -> bool:
    return isinstance(value, str) and value in TYPES


def _is_one(value: Any, kinds: list[str]) -> bool:
    if value is None:
        return "null" in kinds
    whole = isinstance(value, float) and value.is_integer() and "integer" in kinds
    return whole or any(is_type(value, kind) for kind in kinds if kind in TYPES)
