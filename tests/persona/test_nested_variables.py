"""Variables whose items and fields are declared: their values, defaults, errors and conversion."""

from __future__ import annotations

import ast
import json
from typing import Any

import pytest
from helpers.persona import faults
from hypothesis import given, settings
from hypothesis import strategies as st

from personakit import Persona, VariableError
from personakit.frozen import thaw
from personakit.persona import Declared, Variable
from personakit.testing import persona, runner

GUESTS = {
    "type": "array",
    "minimum": 1,
    "items": {
        "properties": {
            "name": {"description": "First name.", "pattern": "^[A-Z]"},
            "age": {"type": "integer", "minimum": 0, "required": False},
            "diet": {"enum": ["any", "vegan"], "default": "any"},
            "address": {"properties": {"city": {}, "tags": []}, "required": False},
        }
    },
}


def variable(keys: Any) -> Variable:
    return persona(variables={"x": keys}).variables["x"]


def values(keys: Any, value: Any) -> Any:
    return thaw(Declared({"x": variable(keys)}).values({"x": value}).frozen["x"])


def refused(keys: Any, value: Any) -> list[str]:
    with pytest.raises(VariableError) as caught:
        values(keys, value)
    return str(caught.value).splitlines()


def test_fields_that_a_value_leaves_out_have_their_defaults() -> None:
    (ada, bo) = values(
        GUESTS, [{"name": "Ada"}, {"name": "Bo", "age": 3, "address": {"city": "X"}}]
    )
    assert ada == {"name": "Ada", "age": None, "diet": "any", "address": None}
    assert bo == {"name": "Bo", "age": 3, "diet": "any", "address": {"city": "X", "tags": []}}


def test_a_default_is_completed_too_and_a_child_can_change_how() -> None:
    base = Persona.parse(
        "prompt: '{{ table.seats }} {{ table.shape }}'\n"
        "variables: {table: {properties: {seats: 4, shape: round}, default: {}}}\n"
    )
    child = Persona.parse(
        "extends: base\nvariables: {table: {properties: {seats: {default: 6}, name: x}}}\n",
        parents=lambda _: base,
    )
    texts = [runner()[0].render(it).messages[0].text for it in (base, child)]
    assert texts == ["4 round", "6 round"]
    assert [*child.variables["table"].properties] == ["seats", "shape", "name"]
    replaced = Persona.parse(
        "extends: base\nvariables: {table: {type: string, default: none}}\n",
        parents=lambda _: base,
    )
    assert not replaced.variables["table"].nested


@pytest.mark.parametrize(
    ("value", "messages"),
    [
        ({}, ["variable 'x': expected an array, found a mapping {}"]),
        ([], ["variable 'x': its length is 0, the minimum is 1"]),
        (["Ada"], ["variable 'x[0]': expected an object, found a string 'Ada'"]),
        ([{}], ["variable 'x[0]': the field 'name' is missing (First name)"]),
        ([{"name": None}], ["variable 'x[0].name': expected a string, found nothing (null)"]),
        (
            [{"name": "Ada"}, {"name": "bo", "age": "3", "address": {"tags": [], "town": 1}}],
            [
                "variable 'x[1].name': 'bo' does not match the pattern ^[A-Z]",
                "variable 'x[1].age': expected an integer, found a string '3'",
                "variable 'x[1].address': the field 'city' is missing",
                "variable 'x[1].address.town': unknown field (declared: city, tags)",
            ],
        ),
        (
            [{"name": "Ada", "deit": "any", "diet": "vegn"}],
            [
                "variable 'x[0].diet': 'vegn' is not one of any, vegan; did you mean 'vegan'?",
                "variable 'x[0].deit': unknown field; did you mean 'diet'?",
            ],
        ),
        (
            [{"name": "A", "a b": 1}],
            ["variable 'x[0][\"a b\"]': unknown field (declared: name, age"],
        ),
    ],
)
def test_an_error_names_the_part_of_the_value(value: Any, messages: list[str]) -> None:
    for line, start in zip(refused(GUESTS, value), messages, strict=True):
        assert line.startswith(start)


def test_at_most_ten_errors_of_a_variable_are_reported() -> None:
    assert len(refused({"items": {"type": "integer"}}, ["a"] * 1000)) == 10


def test_additional_fields_are_kept_where_they_are_allowed() -> None:
    keys = {"properties": {"name": {}}, "additional": True}
    assert values(keys, {"name": "Ada", "more": [1]}) == {"name": "Ada", "more": [1]}


def test_the_values_of_a_file_cannot_grow_without_limit() -> None:
    """A file's defaults neither raise the limit of a render, nor fill the memory."""
    keys = {"items": {"properties": {"text": "x" * 1000, "many": [1] * 1000}}}
    declared = Declared({"x": variable({**keys, "default": []})})
    assert declared.values({"x": [{}] * 100}).size < 1000
    with pytest.raises(VariableError, match="more than 1,000,000 nested items"):
        declared.values({"x": [{}] * 1000})


def test_what_a_template_changes_stays_in_its_render() -> None:
    keys = {"items": {"properties": {"tags": ["a"]}}, "default": [{}]}
    found = persona("{{ x[0].tags }}", variables={"x": keys})
    running = runner()[0]
    assert {running.render(found).system for _ in range(2)} == {"['a']"}
    first = Declared(found.variables).values({"x": [{}, {}]}).own["x"]
    first[0]["tags"].append("b")
    assert first[1]["tags"] == ["a"]


@pytest.mark.parametrize(
    ("keys", "text", "value"),
    [
        ({"items": {"type": "integer"}}, "1, 2,3", [1, 2, 3]),
        ({"items": {"type": "boolean"}}, "yes,off", [True, False]),
        ({"items": {"minimum": 1}}, "a,b", ["a", "b"]),
        ({"items": {"type": "number"}}, "[1, 2.5]", [1, 2.5]),
        ({"items": {"type": "array"}}, "[[1], []]", [[1], []]),
        (GUESTS, '[{"name": "Ada"}]', [{"name": "Ada"}]),
    ],
)
def test_a_text_of_a_command_line(keys: Any, text: str, value: Any) -> None:
    assert variable(keys).convert(text) == value


@pytest.mark.parametrize(
    ("keys", "text", "message"),
    [
        ({"items": {"type": "integer"}}, "1,x", "'x[1]': expected an integer, found 'x'"),
        (
            {"properties": {"seats": {"minimum": 2, "type": "integer"}, "shape": "round"}},
            "{seats: 2}",
            """'x': expected an object, as in x='{"seats": 2, "shape": "round"}', """
            "found '{seats: 2}' (not JSON: Expecting property name enclosed in double quotes)",
        ),
        (
            {"items": {"properties": {"name": {"example": "Ada"}}}},
            "Ada,Bo",
            """'x': expected an array, as in x='[{"name": "Ada"}]', found 'Ada,Bo' (not JSON: """
            "Expecting value)",
        ),
    ],
)
def test_a_text_of_a_command_line_that_is_wrong(keys: Any, text: str, message: str) -> None:
    with pytest.raises(VariableError) as caught:
        variable(keys).convert(text)
    assert str(caught.value) == f"variable {message}"


def test_a_missing_value_is_shown_as_an_example() -> None:
    with pytest.raises(VariableError) as caught:
        Declared({"x": variable(GUESTS)}).values({})
    value = str(caught.value).partition("give it as variables=")[2]
    assert ast.literal_eval(value)["x"][0].keys() == {"name", "age", "diet", "address"}


# --- declarations that are wrong ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "fault"),
    [
        ("{items: string}", "items: expected a mapping, found a string 'string'; write `ite"),
        ("{type: string, items: {}}", "items: not supported for a string variable"),
        ("{default: a, properties: {}}", "properties: not supported for a string variable"),
        ("{items: {default: 1}}", "default: not supported for the items of an array; remove it"),
        ("{items: {required: true}}", "required: not supported for the items of an array"),
        ("{items: {tpye: integer}}", "unknown key 'tpye'; did you mean 'type'?"),
        ("{items: {type: integr}}", "type: expected one of string, integer"),
        ("{properties: [a]}", "properties: expected a mapping, found a list ['a']"),
        ("{properties: {a: string}}", "a: found the default 'string', which is the name of a type"),
        ("{properties: {a: {b: 1}}}", "unknown key 'b' (known: type"),
        ("{properties: {a: {}}, required: [a]}", "required: expected true or false, found a list"),
        ("{type: object, additional: true}", "additional: it needs `properties:`"),
        ("{properties: {a: {}}, additional: some}", "additional: expected true or false"),
        ("{items: {type: integer}, default: [1, a]}", "default[1]: expected an integer, found a"),
        ("{properties: {a: 1}, example: {a: b}}", "example.a: expected an integer, found a string"),
        ("{properties: {a: {type: integer, default: b}}}", "default: expected an integer, found"),
        ("{items: {minimum: 3, maximum: 2}}", "the minimum 3 is greater than the maximum 2"),
        ("{items: {pattern: '('}}", "pattern: invalid regular expression"),
    ],
)  # fmt: skip
def test_a_wrong_declaration(keys: str, fault: str) -> None:
    (line,) = faults(f"system: hi\nvariables:\n  x: {keys}\n")
    assert line.partition(": ")[2].startswith(fault)


def test_an_error_is_where_the_value_is() -> None:
    source = """\
system: hi
variables:
  guests:
    items: {properties: {age: {type: integer}}}
    default:
      - age: 3
      - age: three
        nmae: Ada
"""
    assert faults(source) == [
        "7:14: default[1].age: expected an integer, found a string 'three'",
        "8:15: default[1].nmae: unknown field (declared: age)",
    ]


def test_the_hash_covers_items_and_fields_but_not_what_is_for_readers() -> None:
    running = runner()[0]

    def hashed(**keys: Any) -> str:
        keys = {"type": "array", "default": [], **keys}
        return running.hash(persona("{{ x }}", variables={"x": keys}))

    first = hashed(items={"properties": {"a": 1}})
    assert first == hashed(items={"properties": {"a": {"default": 1, "description": "d"}}})
    assert len({
        first,
        hashed(),
        hashed(items={"properties": {"a": 2}}),
        hashed(items={"properties": {"a": 1}, "additional": True}),
        hashed(items={"properties": {"a": {"default": 1, "minimum": 0}}}),
    }) == 5  # fmt: skip


# --- any declaration ------------------------------------------------------------------------------

WRONG = {"string": 5, "integer": "x", "number": "x", "boolean": "x", "array": "x", "object": 5}
NAMES = ["name", "age", "first name", "items", "ключ"]
LEAVES: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [
        {"type": "string"}, {"enum": ["a", "b"]}, {"maximum": 3}, {"pattern": "^a*$"},
        {"type": "integer"}, {"type": "integer", "minimum": 2}, {"type": "boolean"},
        {"type": "number", "minimum": -1, "maximum": 1},
    ]
)  # fmt: skip


@st.composite
def _array(draw: st.DrawFn, below: st.SearchStrategy[Any]) -> dict[str, Any]:
    return {"type": "array", "items": draw(below)}


@st.composite
def _object(draw: st.DrawFn, below: st.SearchStrategy[Any]) -> dict[str, Any]:
    fields = draw(st.dictionaries(st.sampled_from(NAMES), below, min_size=1, max_size=3))
    for name, keys in fields.items():
        kind = draw(st.sampled_from(["required", "optional", "default"]))
        if kind == "optional":
            fields[name] = {**keys, "required": False}
        elif kind == "default":
            fields[name] = {**keys, "default": draw(valid(keys))}
    return {"properties": fields, "additional": draw(st.booleans())}


def declarations() -> st.SearchStrategy[dict[str, Any]]:
    return st.recursive(LEAVES, lambda below: _array(below) | _object(below), max_leaves=6)


def valid(keys: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Return the values that a declaration allows."""
    if "properties" in keys:
        fields = keys["properties"].items()
        needed = {n: valid(k) for n, k in fields if k.get("required", "default" not in k)}
        null = {n: st.none() for n, k in fields if k.get("required") is False}
        optional = {n: valid(k) | null.get(n, valid(k)) for n, k in fields if n not in needed}
        return st.fixed_dictionaries(needed, optional=optional)
    if "items" in keys:
        return st.lists(valid(keys["items"]), max_size=3)
    if "enum" in keys:
        return st.sampled_from(keys["enum"])
    if "pattern" in keys:
        return st.text("a", max_size=5)
    return {
        "string": st.text(max_size=3),
        "integer": st.integers(2, 2**63 - 1),
        "number": st.floats(-1, 1) | st.integers(-1, 1),
        "boolean": st.booleans(),
    }[keys.get("type", "string")]


def kind_of(keys: dict[str, Any]) -> str:
    kind: str = keys.get("type", "object" if "properties" in keys else "string")
    return kind


@st.composite
def broken(draw: st.DrawFn, keys: dict[str, Any], value: Any) -> tuple[Any, tuple[Any, ...]]:
    """Return a value in which one part has a wrong type, and the path of that part."""
    inner: dict[Any, Any] = {}
    if "properties" in keys and value:
        inner = {n: keys["properties"][n] for n in value}
    elif "items" in keys and value:
        inner = dict.fromkeys(range(len(value)), keys["items"])
    if not inner or draw(st.booleans()):
        return WRONG[kind_of(keys)], ()
    part = draw(st.sampled_from(sorted(inner)))
    below, path = draw(broken(inner[part], value[part]))
    changed = dict(value) if isinstance(value, dict) else list(value)
    changed[part] = below
    return changed, (part, *path)


@settings(deadline=None)
@given(st.data())
def test_a_valid_value_is_accepted_and_an_invalid_one_is_rejected_with_its_path(
    data: st.DataObject,
) -> None:
    keys = data.draw(declarations())
    one = variable(keys)
    declared = Declared({"x": one})
    value = data.draw(valid(keys))
    text = value if kind_of(keys) == "string" else json.dumps(value)
    assert one.convert(text) == value
    first = declared.values({"x": value})
    assert thaw(first.frozen["x"]) == first.own["x"]
    # What was completed is valid, and complete: a replay of a run passes it again.
    assert declared.values({"x": thaw(first.frozen["x"])}).frozen == first.frozen
    wrong, path = data.draw(broken(keys, value))
    assert path in [fault.path for fault in one.faults(wrong)]
    with pytest.raises(VariableError) as caught:
        declared.values({"x": wrong})
    where = next(fault.where for fault in one.faults(wrong) if fault.path == path)
    assert f"variable {'x' + where!r}: expected " in str(caught.value)
