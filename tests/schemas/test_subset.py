"""A schema is reduced to what an API accepts, and still accepts the same answers."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from personakit import SchemaSubset

SUBSET = SchemaSubset(values={"format": ["date"], "minItems": (0, 1)})


def closed(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "additionalProperties": False}


@pytest.mark.parametrize(
    ("schema", "reduced"),
    [
        ({"type": "string", "format": "date"}, {"type": "string", "format": "date"}),
        (
            {"type": "string", "format": "uri", "description": "An address."},
            {"type": "string", "description": 'An address. {"format": "uri"}'},
        ),
        (
            {"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 1},
            {
                "type": "array",
                "items": {"type": "integer", "description": '{"minimum": 1}'},
                "minItems": 1,
            },
        ),
        (
            {"oneOf": [closed(a={"const": 1}), {"$ref": "#/$defs/b"}], "$defs": {"b": closed()}},
            {"anyOf": [closed(a={"const": 1}), {"$ref": "#/$defs/b"}], "$defs": {"b": closed()}},
        ),
        # Every field is closed, as an answer with others would not be one of the API.
        ({"type": "object", "properties": {"a": {"type": "null"}}}, closed(a={"type": "null"})),
    ],
)
def test_what_a_subset_lacks_is_described(schema: Any, reduced: Any) -> None:
    assert SUBSET.reduced(schema) == reduced
    jsonschema.Draft202012Validator.check_schema(reduced)


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"minimum": 1},
        {"type": "object"},
        {"type": "object", "additionalProperties": {"type": "integer"}},
        {"type": "array", "items": True},
        closed(a={"type": ["object", "null"]}),
        closed(a=closed(b={"description": "Anything."})),
    ],
)
def test_a_schema_that_a_subset_cannot_express(schema: Any) -> None:
    assert SUBSET.reduced(schema) is None


def test_a_schema_that_is_nested_too_deep() -> None:
    schema: Any = {"type": "null"}
    for _ in range(5_000):
        schema = {"type": "array", "items": schema}
    assert SUBSET.reduced(schema) is None
