"""The values that variables end up with, from code and from a command line."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from personakit import Variable, VariableError
from personakit.errors import front
from personakit.frozen import freeze
from personakit.messages import Request
from personakit.testing import persona, runner


def rendered(declared: Mapping[str, Any], given: Mapping[str, Any] | None = None) -> Request:
    """Return the request of a persona whose template uses all its variables."""
    used = "".join(f"{{% if {name} is defined %}}{{% endif %}}" for name in declared)
    return runner()[0].render(persona(used or "hi", variables=declared), variables=given)


def refused(declared: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with the values given."""
    with pytest.raises(VariableError) as caught:
        rendered(declared, given)
    assert caught.value.exit_code == 2
    return str(caught.value).splitlines()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gests", "unknown variable 'gests'; did you mean 'guests'? (declared: guests, diet)"),
        ("zzz", "unknown variable 'zzz' (declared: guests, diet)"),
        ("", "unknown variable '' (declared: guests, diet)"),
    ],
)
def test_an_unknown_variable(name: str, message: str) -> None:
    assert refused({"guests": 2, "diet": "any"}, {name: 1}) == [message]


def test_a_persona_without_variables_says_so() -> None:
    assert refused({}, {"a": 1}) == ["unknown variable 'a' (the persona declares no variables)"]


@pytest.mark.parametrize(
    ("keys", "typed"),
    [
        ({}, "x=…"),
        ({"example": "Lyon"}, "x=Lyon"),
        ({"example": "Le Mans"}, "x='Le Mans'"),
        ({"type": "integer", "example": 3}, "x=3"),
        ({"type": "boolean", "example": False}, "x=false"),
        ({"type": "array", "example": ["a", "é"]}, """x='["a", "é"]'"""),
        ({"type": "object", "example": {"a": 1}}, """x='{"a": 1}'"""),
        ({"example": "https://x.y/z-1,2"}, "x=https://x.y/z-1,2"),
    ],
)
def test_a_missing_variable_says_what_to_type(keys: dict[str, Any], typed: str) -> None:
    declared = {"x": {"required": True, **keys}}
    with front("terminal"):
        assert refused(declared, {}) == [f"variable 'x' is required: give it as -v {typed}"]
    value = keys.get("example", "…")
    written = f"variables={ ({'x': value}) }"
    assert refused(declared, {}) == [f"variable 'x' is required: give it as {written}"]


def test_a_missing_variable_says_what_it_is_for() -> None:
    declared = {"x": {"required": True, "description": "Where you live."}}
    assert refused(declared, {}) == [
        "variable 'x' is required (Where you live): give it as variables={'x': '…'}",
    ]


def test_several_faults_are_named_at_once() -> None:
    declared = {
        "a": {"required": True},
        "b": {"type": "integer", "default": 1},
        "c": {"enum": ["x", "y"], "default": "x"},
        "d": 1,
    }
    assert refused(declared, {"b": "two", "c": "z", "e": 1}) == [
        "unknown variable 'e' (declared: a, b, c, d)",
        "variable 'a' is required: give it as variables={'a': '…'}",
        "variable 'b': expected an integer, found a string 'two'",
        "variable 'c': 'z' is not one of x, y",
    ]


GOOD: list[tuple[dict[str, Any], Any]] = [
    ({"type": "string"}, ""),
    ({"type": "string"}, "{{ x }}"),
    ({"type": "integer"}, 0),
    ({"type": "integer"}, -(10**30)),
    ({"type": "number"}, 1),
    ({"type": "number"}, 1.5),
    ({"type": "boolean"}, False),
    ({"type": "array"}, []),
    ({"type": "array"}, [1, "a", None, [2]]),
    ({"type": "array"}, (1, 2)),
    ({"type": "object"}, {}),
    ({"type": "object"}, {"a": {"b": [1]}}),
    ({"type": "object"}, MappingProxyType({"a": 1})),
    ({"enum": ["a", "b"]}, "b"),
    ({"type": "array", "enum": [[1], [2, 3]]}, [2, 3]),
    ({"type": "object", "enum": [{"a": [1]}]}, {"a": [1]}),
    ({"type": "integer", "minimum": 1, "maximum": 3}, 1),
    ({"type": "integer", "minimum": 1, "maximum": 3}, 3),
    ({"type": "number", "minimum": 0.5}, 0.5),
    ({"type": "string", "minimum": 2, "maximum": 2}, "😀é"),
    ({"type": "array", "maximum": 1}, ["a"]),
    ({"pattern": "b"}, "abc"),
    ({"pattern": "^b$"}, "b"),
    ({"pattern": "^(a+)+$"}, "a" * 100_000),
    ({"pattern": r"^\p{Lu}\w+$"}, "Élan"),
]
BAD: list[tuple[dict[str, Any], Any, str]] = [
    ({"type": "string"}, 1, "expected a string, found an integer 1"),
    ({"type": "string"}, None, "expected a string, found nothing (null)"),
    ({"type": "string"}, b"a", "expected a string, found bytes b'a'"),
    ({"type": "integer"}, 1.0, "expected an integer, found a number 1.0"),
    ({"type": "integer"}, True, "expected an integer, found a boolean True"),
    ({"type": "integer"}, "1", "expected an integer, found a string '1'; write 1 without quotes"),
    ({"type": "number"}, float("nan"), "expected a number, found float nan"),
    ({"type": "number"}, False, "expected a number, found a boolean False"),
    ({"type": "boolean"}, 1, "expected a boolean, found an integer 1"),
    ({"type": "array"}, "a,b", "expected an array, found a string 'a,b'"),
    ({"type": "array"}, {"a"}, "expected an array, found set {'a'}"),
    ({"type": "object"}, [], "expected an object, found a list []"),
    ({"enum": ["vegan", "any"]}, "vegn", "'vegn' is not one of vegan, any; did you mean 'vegan'?"),
    ({"enum": ["a"]}, "A", "'A' is not one of a"),
    ({"type": "integer", "minimum": 1}, 0, "it is 0, the minimum is 1"),
    ({"type": "number", "maximum": 1.5}, 2, "it is 2, the maximum is 1.5"),
    ({"minimum": 2}, "a", "its length is 1, the minimum is 2"),
    ({"type": "array", "maximum": 1}, ["a", "b"], "its length is 2, the maximum is 1"),
    ({"pattern": "^b$"}, "abc", "'abc' does not match the pattern ^b$"),
    ({"pattern": "^b$"}, "b\n", "'b\\n' does not match the pattern ^b$"),
]


@pytest.mark.parametrize(("keys", "value"), GOOD)
def test_a_value_that_fits(keys: dict[str, Any], value: Any) -> None:
    found = rendered({"x": {"required": True, **keys}}, {"x": value}).variables["x"]
    assert found == freeze(value)


@pytest.mark.parametrize(("keys", "value", "message"), BAD)
def test_a_value_that_does_not_fit(keys: dict[str, Any], value: Any, message: str) -> None:
    assert refused({"x": {"required": True, **keys}}, {"x": value}) == [f"variable 'x': {message}"]


@pytest.mark.parametrize("keys", [{"enum": [f"x{n}" for n in range(50_000)]}, {"pattern": "b"}])
def test_a_long_value_does_not_make_a_long_message(keys: dict[str, Any]) -> None:
    (found,) = refused({"x": {"required": True, **keys}}, {"x": "a" * 500_000})
    assert len(found) < 1000


def test_a_default_is_used_and_an_example_never_is() -> None:
    declared = {"a": 1, "b": {"required": False, "example": "never"}, "c": None}
    assert rendered(declared).variables == {"a": 1, "b": None, "c": None}


def test_a_list_is_the_same_to_a_template_wherever_it_comes_from() -> None:
    running = runner()[0]
    who = persona("{{ x }} {{ x + [3] }}", variables={"x": [1, [2]]})
    wanted = "[1, [2]] [1, [2], 3]"
    for values in ({}, {"x": [1, [2]]}, {"x": (1, (2,))}):
        assert running.render(who, variables=values).system == wanted


def test_a_template_cannot_change_what_the_caller_gave() -> None:
    running = runner()[0]
    declared = {"x": {"type": "object"}}
    given: dict[str, Any] = {"x": {"a": [1]}}
    for change in ("x.update(b=2)", "x.a.append(2)", "dict.update(x, b=2)", "x.clear()"):
        with pytest.raises(Exception, match=r"unsafe|undefined|has no attribute"):
            running.render(persona(f"{{{{ {change} }}}}", variables=declared), variables=given)
    assert given == {"x": {"a": [1]}}


# --- from a command line ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("type_name", "text", "value"),
    [
        ("string", "", ""), ("string", "7", "7"), ("string", "[a]", "[a]"), ("string", "~", "~"),
        ("integer", "7", 7), ("integer", "-7", -7), ("integer", " 7 ", 7),
        ("number", "7", 7), ("number", "7.5", 7.5), ("number", "1e3", 1000.0),
        ("boolean", "true", True), ("boolean", "YES", True), ("boolean", "on", True),
        ("boolean", "1", True), ("boolean", " False ", False), ("boolean", "no", False),
        ("boolean", "off", False), ("boolean", "0", False),
        ("array", "", []), ("array", "  ", []), ("array", "a", ["a"]), ("array", "[]", []),
        ("array", "a, b,c", ["a", "b", "c"]), ("array", "1,2", ["1", "2"]),
        ("array", '["a, b", 1, [2]]', ["a, b", 1, [2]]), ("array", ' ["a"]', ["a"]),
        ("object", "{}", {}), ("object", '{"a": {"b": [null]}}', {"a": {"b": [None]}}),
    ],
)  # fmt: skip
def test_a_text_is_converted_by_the_type(type_name: str, text: str, value: Any) -> None:
    found = Variable("x", type_name).convert(text)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("type_name", "text", "wanted"),
    [
        ("integer", "7.0", "an integer"), ("integer", "seven", "an integer"),
        ("integer", "", "an integer"), ("integer", "true", "an integer"),
        ("integer", "07", "an integer"), ("integer", '"7"', "an integer"),
        ("integer", "9" * 5000, "an integer"), ("number", "NaN", "a number"),
        ("number", "-Infinity", "a number"), ("number", "1e999", "a number"),
        ("number", "1,5", "a number"), ("boolean", "maybe", "a boolean"),
        ("boolean", "", "a boolean"), ("boolean", "2", "a boolean"),
        ("array", "[a]", """an array, as in x='["a", "b"]' or a,b"""),
        ("array", '["a"', "an array"), ("array", "[NaN]", "an array"),
        ("object", "a", """an object, as in x='{"key": 1}'"""), ("object", "[]", "an object"),
        ("object", "", "an object"), ("object", '{"a": NaN}', "an object"),
        ("array", "[" * 100_000, "an array"), ("object", '{"a":' * 100_000, "an object"),
    ],
)  # fmt: skip
def test_a_text_that_is_no_such_value(type_name: str, text: str, wanted: str) -> None:
    with pytest.raises(VariableError) as caught:
        Variable("x", type_name).convert(text)
    assert str(caught.value).startswith(f"variable 'x': expected {wanted}")
    assert f", found {text!r}"[:190] in str(caught.value)
    assert len(str(caught.value)) < 300


@settings(deadline=None)
@given(st.sampled_from(["string", "integer", "number", "boolean", "array", "object"]), st.text())
def test_any_text_is_converted_or_refused(type_name: str, text: str) -> None:
    variable = Variable("x", type_name)
    try:
        found = variable.convert(text)
    except VariableError:
        assert type_name != "string"
    else:
        assert not variable.faults(found)
