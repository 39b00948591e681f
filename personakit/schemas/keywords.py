"""The keywords of JSON Schema: where they contain subschemas, and which values they accept.

Source: https://json-schema.org/draft/2020-12/json-schema-core and
https://json-schema.org/draft/2020-12/json-schema-validation. jsonschema can check a schema by its
metaschema, but that takes 60 ms to import and 0.4 ms for each subschema, for every persona file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from personakit.base import describe

ONE = frozenset(
    "additionalItems additionalProperties contains else if items not propertyNames then "
    "unevaluatedItems unevaluatedProperties".split()
)
"""The keywords whose value is a subschema."""
LISTS = frozenset("allOf anyOf items oneOf prefixItems".split())
"""The keywords whose value is a list of subschemas; `items` in older drafts."""
MAPS = frozenset(
    "$defs definitions dependencies dependentSchemas patternProperties properties".split()
)
"""The keywords whose value is a mapping to subschemas; `dependencies` also to lists of names."""
IN_PLACE = frozenset("allOf anyOf dependencies dependentSchemas else if not oneOf then".split())
"""The keywords that apply to the same value as the schema that contains them."""
REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
TYPES = "array boolean integer null number object string".split()


def children(part: Mapping[str, Any]) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Yield the subschemas of a schema, each with its path."""
    for key, value in part.items():
        if key in MAPS and isinstance(value, dict):
            for name, one in value.items():
                if not (key == "dependencies" and isinstance(one, list)):
                    yield (key, name), one
        elif key in LISTS and isinstance(value, list):
            yield from (((key, number), one) for number, one in enumerate(value))
        elif key in ONE:
            yield (key,), value


def fault(key: str, value: Any) -> str | None:
    """Return what is wrong with the value of a keyword, subschemas aside; None if it is valid."""
    for keywords, expected, check in _RULES:
        if key in keywords and not check(value):
            return f"expected {expected}, found {describe(value)}"
    return None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return _is_number(value) and value >= 0 and value == int(value)


def _is_names(value: Any) -> bool:
    texts = isinstance(value, list) and all(isinstance(one, str) for one in value)
    return texts and len(set(value)) == len(value)


def _is_type(value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and _is_names(value) and set(value) <= set(TYPES)
    return isinstance(value, str) and value in TYPES


def _is_list_of(value: Any) -> bool:
    return isinstance(value, list) and bool(value)


_RULES: tuple[tuple[frozenset[str], str, Callable[[Any], bool]], ...] = (
    (
        frozenset({"type"}),
        f"one of {', '.join(TYPES)}, or a list of them",
        _is_type,
    ),
    (
        frozenset("exclusiveMaximum exclusiveMinimum maximum minimum".split()),
        "a number",
        _is_number,
    ),
    (
        frozenset({"multipleOf"}),
        "a number greater than 0",
        lambda value: _is_number(value) and value > 0,
    ),
    (
        frozenset(
            "maxContains maxItems maxLength maxProperties minContains minItems minLength "
            "minProperties".split()
        ),
        "an integer of 0 or more",
        _is_count,
    ),
    (
        frozenset(
            "$anchor $comment $dynamicAnchor $dynamicRef $id $ref $schema contentEncoding "
            "contentMediaType description format pattern title".split()
        ),
        "a string",
        lambda value: isinstance(value, str),
    ),
    (
        frozenset("$recursiveAnchor deprecated readOnly uniqueItems writeOnly".split()),
        "true or false",
        lambda value: isinstance(value, bool),
    ),
    (frozenset({"required"}), "a list of different names", _is_names),
    (frozenset({"enum", "examples"}), "a list", lambda value: isinstance(value, list)),
    (frozenset("allOf anyOf oneOf prefixItems".split()), "a list of schemas", _is_list_of),
    (MAPS, "a mapping of schemas", lambda value: isinstance(value, dict)),
    (
        frozenset({"dependentRequired"}),
        "a mapping of lists of names",
        lambda value: isinstance(value, dict) and all(map(_is_names, value.values())),
    ),
)
