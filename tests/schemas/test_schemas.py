"""JSON Schemas are checked before they are used, and agree with jsonschema where both apply."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
import referencing
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from personakit import schema_validator
from personakit.base import deadline
from personakit.errors import Timeout
from personakit.schemas import InvalidSchema, checked

# --- agreement with jsonschema --------------------------------------------------------------------

NAMES = st.sampled_from(["a", "b", "aa", "", "ü/~", "$ref"])
ATOMS = (
    st.none() | st.booleans() | st.integers(-3, 10) | st.sampled_from([0.5, 1.0, 2.5, -0.0])
    | NAMES
)  # fmt: skip
VALUES = st.recursive(
    ATOMS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=8,
)
COUNT = st.integers(0, 4)
TYPE = st.sampled_from("array boolean integer null number object string".split())
REFS = st.sampled_from(["#", "#/$defs/a", "#/$defs/b", "#/properties/a", "#/items", "#here"])


def keywords(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return schemas; one in some is wrong in the value of a keyword."""
    schemas = st.lists(inner, min_size=1, max_size=3)
    named = st.dictionaries(NAMES, inner, max_size=3)
    names = st.lists(NAMES, max_size=3, unique=True)
    number = st.sampled_from([0, 1, 2, 0.5, 3.0])
    good: dict[str, st.SearchStrategy[Any]] = {
        "type": TYPE | st.lists(TYPE, min_size=1, max_size=3, unique=True),
        "enum": st.lists(VALUES, max_size=4),
        "const": VALUES,
        "multipleOf": st.sampled_from([1, 2, 0.5, 1e-300]),
        **dict.fromkeys("minimum maximum exclusiveMinimum exclusiveMaximum".split(), number),
        **dict.fromkeys("minLength maxLength minItems maxItems".split(), COUNT),
        **dict.fromkeys("minProperties maxProperties minContains maxContains".split(), COUNT),
        "pattern": st.sampled_from(["a", "^a+$", "[ab]", "(a|b)*$"]),
        "uniqueItems": st.booleans(),
        "required": names,
        "dependentRequired": st.dictionaries(NAMES, names, max_size=2),
        "dependentSchemas": named,
        "properties": named,
        "patternProperties": st.dictionaries(st.sampled_from(["a", "^b"]), inner, max_size=2),
        **dict.fromkeys("additionalProperties propertyNames items contains not".split(), inner),
        **dict.fromkeys("if then else unevaluatedItems unevaluatedProperties".split(), inner),
        **dict.fromkeys("allOf anyOf oneOf prefixItems".split(), schemas),
        "$ref": REFS,
        "$defs": st.fixed_dictionaries({"a": inner}, optional={"b": inner}),
        "$anchor": st.just("here"),
        "format": st.just("email"),
        "x-note": VALUES,
    }
    right = st.fixed_dictionaries({}, optional=good)
    pairs = [st.tuples(st.just(key), value) for key, value in good.items()]
    few = st.lists(st.one_of(pairs), max_size=4).map(dict)
    wrong = st.dictionaries(st.sampled_from(sorted(good)), VALUES, max_size=1)
    return few | right | st.builds(lambda one, two: {**one, **two}, few, wrong)


SCHEMAS: st.SearchStrategy[Any] = st.recursive(st.booleans() | st.just({}), keywords, max_leaves=12)


@settings(max_examples=100, deadline=None)
@given(SCHEMAS, VALUES)
def test_schemas_are_accepted_and_applied_as_by_jsonschema(schema: Any, value: Any) -> None:
    assume(isinstance(schema, dict))
    kind = jsonschema.Draft202012Validator
    try:
        kind.check_schema(schema, format_checker=None)  # type: ignore[arg-type]
        fault = ""
    except jsonschema.SchemaError as error:
        fault = error.message
    try:
        faults = schema_validator(schema)
    except InvalidSchema as error:
        # References and a combination of keywords are not checked by the metaschema.
        words = ("refers to", "uses both", "lead to")
        assert fault or any(word in error.reason for word in words), (schema, str(error))  # noqa: PT017
        return
    assert not fault, (schema, fault)
    found = faults(value)
    assert len(found) <= 10
    assume("too deep" not in str(found))
    wanted = kind(schema, registry=referencing.Registry()).is_valid(value)
    assert (found == []) is wanted, (schema, value, found)


# --- schemas that are refused ---------------------------------------------------------------------


def doubled(levels: int) -> dict[str, Any]:
    """Return a small schema in which each level refers to the next one twice."""
    parts: dict[str, Any] = {
        f"a{n}": {"anyOf": [{"$ref": f"#/$defs/a{n + 1}"}, {"$ref": f"#/$defs/a{n + 1}"}]}
        for n in range(levels)
    }
    return {"$ref": "#/$defs/a0", "$defs": {**parts, f"a{levels}": {"type": "string"}}}


def nested(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(levels):
        schema = {"items": schema}
    return schema


cyclic: dict[str, Any] = {}
cyclic["items"] = cyclic


@pytest.mark.parametrize(
    ("schema", "fault"),
    [
        ({"properties": 5}, r"\$\.properties: expected a mapping of schemas, found an integer 5"),
        ({"properties": {"a": 1}}, r"\$\.properties\.a: expected a schema"),
        ({"items": [{}]}, "its name is `prefixItems`"),
        ({"type": ["string", "string"]}, r"\$\.type: expected one of array"),
        ({"required": "a"}, "expected a list of different names, found a string 'a'"),
        ({"$ref": "#/$defs/x"}, "refers to no subschema"),
        ({"$ref": "other.json"}, "refers to no subschema"),
        ({"$ref": "#/x-mine", "x-mine": {"properties": 5}}, "refers to no subschema"),
        ({"$ref": "https://json-schema.org/draft/2020-12/schema"}, "nothing is fetched"),
        ({"$dynamicRef": "#none"}, "refers to no subschema"),
        ({"$ref": "#"}, "refers to itself endlessly"),
        ({"anyOf": [{"not": {"$ref": "#"}}]}, "refers to itself endlessly"),
        (doubled(20), "more than 5,000 branches"),
        (nested(100), "nested deeper than 64"),
        (cyclic, "nested deeper than 64"),
        ({"enum": list(range(30_000))}, "more than 20,000 values"),
        ({"description": "x" * 2_000_000}, "1,048,576 characters"),
        ({"$schema": "https://json-schema.org/draft/3000"}, "unknown draft"),
        ({"$schema": ["x"]}, "unknown draft|expected a string"),
        ({"items": {"$schema": "x"}}, "only the root"),
        ({"$id": "http://["}, "expected a URI reference"),
        ({"pattern": "("}, r"\$\.pattern: invalid regular expression: unclosed group"),
        ({"patternProperties": {"a": {}}, "unevaluatedProperties": False}, "uses both"),
        ({"maximum": float("nan")}, "cannot be written as JSON"),
        ({"maximum": 10**5000}, "too large"),
        ({"const": {1, 2}}, "set cannot be written as JSON"),
        ({"properties": {1: {}}}, "a key is not a string"),
        ([], "expected a mapping, found list"),
    ],
)
def test_a_schema_is_refused_before_it_is_used(schema: Any, fault: str) -> None:
    with pytest.raises(InvalidSchema, match=fault) as raised:
        checked(schema)
    assert len(str(raised.value)) < 700


@pytest.mark.parametrize(
    "schema",
    [
        {"$schema": "http://json-schema.org/draft-07/schema#", "items": [{"type": "integer"}]},
        {"$schema": "https://json-schema.org/draft/2019-09/schema", "$recursiveAnchor": True},
        {"$id": "https://example.com/a", "$ref": "https://example.com/b",
         "$defs": {"b": {"$id": "b", "type": "array"}}},
        {"$ref": "#/$defs/a~1b%25", "$defs": {"a/b%": {"$anchor": "x"}}, "items": {"$ref": "#x"}},
        {"$defs": {"node": {"type": ["array", "integer"], "items": {"$ref": "#/$defs/node"}}},
         "$ref": "#/$defs/node"},
    ],
)  # fmt: skip
def test_drafts_and_references(schema: Any) -> None:
    assert schema_validator(schema)([1]) == []


# --- values that take long ------------------------------------------------------------------------

TWICE = {
    "$defs": {
        "n": {
            "anyOf": [
                {"type": "array", "items": {"$ref": "#/$defs/n"}, "minItems": 2},
                {"type": "array", "items": {"$ref": "#/$defs/n"}, "maxItems": 1},
                {"const": 1},
            ]
        }
    },
    "$ref": "#/$defs/n",
}


def deep(levels: int, value: Any = 2) -> Any:
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (TWICE, deep(40)),
        ({"items": {}}, [1] * 300_000),
        ({"anyOf": [{"items": {"type": "string"}}] * 2}, [1] * 100_000),
        ({"uniqueItems": True}, [[n] for n in range(100_000)]),
        ({"uniqueItems": True}, [n * (2**61 - 1) for n in range(200_000)]),
        ({"enum": [[1]] * 5_000}, [[n] for n in range(200_000)]),
        ({"allOf": [{"additionalProperties": False}] * 200},
         {str(n): 1 for n in range(100_000)}),
        ({"unevaluatedProperties": False}, {str(n): 1 for n in range(20_000)}),
        ({"unevaluatedItems": False}, list(range(20_000))),
        ({"items": {"properties": {str(n): {} for n in range(3_000)}}}, [{}] * 10_000),
        ({"items": {"x-note": [1] * 9, **{f"x{n}": 1 for n in range(3_000)}}}, [1] * 300_000),
        ({"contains": {"const": 5}, "minContains": 0}, [1] * 200_000),
        ({"items": {"multipleOf": 5e-324}}, [10**4000] * 5_000),
        ({"items": {"pattern": r"(?:\b|\B|a|é){0,200}\b\B"}}, ["aé" * 9_000] * 20),
        ({"pattern": "a" * 1000}, "b" * 1_000_000),
        ({"pattern": r"^(?!^x)(a+)+$"}, "a" * 40 + "!" + "a" * 40),
        ({"$defs": {"n": {"items": {"$ref": "#/$defs/n"}}}, "$ref": "#/$defs/n"}, deep(900)),
    ],
)  # fmt: skip
def test_a_value_takes_a_bounded_number_of_steps(schema: Any, value: Any) -> None:
    # Each of these takes minutes or more without a limit; the test hangs if there is none.
    (*_, fault) = schema_validator(schema)(value)
    assert "steps" in fault or "too deep" in fault or "too long" in fault or "match" in fault


@pytest.mark.parametrize(
    ("schema", "value", "good"),
    [
        ({"multipleOf": 0.5}, 10**400, True),
        ({"multipleOf": 1e-300}, float("inf"), False),
        ({"enum": [1, "a", {"b": [1.0]}]}, {"b": [1]}, True),
        ({"enum": [1, 0]}, True, False),
        ({"const": 1.0}, 1, True),
        ({"uniqueItems": True}, [1, True, "1", [1], [True]], True),
        ({"uniqueItems": True}, [{"a": 1, "b": 2}, {"b": 2, "a": 1.0}], False),
        ({"pattern": "é+"}, "caféé!", True),
        ({"pattern": "a"}, "\ud800", False),
        ({"items": {"type": "object", "required": ["a"]}}, [{"a": n} for n in range(10_000)], True),
    ],
)
def test_a_value_is_compared_as_json(schema: Any, value: Any, good: bool) -> None:
    assert (schema_validator(schema)(value) == []) is good


def test_a_value_is_checked_until_the_deadline() -> None:
    with deadline.within(1e-9), pytest.raises(Timeout, match="deadline of 1e-09 s has passed"):
        schema_validator({"items": {"type": "integer"}})([1] * 50_000)
