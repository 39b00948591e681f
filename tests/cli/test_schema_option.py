"""`--schema`: the fields or the JSON Schema of a value, on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from helpers.cli import Commands
from hypothesis import given
from hypothesis import strategies as st

from personakit.cli.shared.schema_option import TYPES, schema_of
from personakit.errors import UsageError
from personakit.testing import Server

MODEL = ("-m", "openai/test-model")
DISH = {"dish": "Soup", "minutes": 20}


def properties(text: str) -> Any:
    return schema_of(text, "--schema", many=False)["properties"]


def test_fields_are_those_of_llm() -> None:
    assert schema_of("dish, minutes int", "--schema", many=False) == {
        "type": "object",
        "properties": {"dish": {"type": "string"}, "minutes": {"type": "integer"}},
        "required": ["dish", "minutes"],
        "additionalProperties": False,
    }
    assert properties("a str: in full, b float,c bool:x:y,") == {
        "a": {"type": "string", "description": "in full"},
        "b": {"type": "number"},
        "c": {"type": "boolean", "description": "x:y"},
    }
    assert properties("\n  name: the first, not the last\n\n  âge int,\n") == {
        "name": {"type": "string", "description": "the first, not the last"},
        "âge": {"type": "integer"},
    }
    many = schema_of("a", "--schema-multi", many=True)
    assert many["properties"]["items"]["items"]["required"] == ["a"]


@given(st.dictionaries(st.from_regex(r"[a-z_][a-z0-9_-]*", fullmatch=True),
                       st.sampled_from([*TYPES]), min_size=1),
       st.sampled_from([", ", ",", "\n", ",\n"]))  # fmt: skip
def test_any_fields(fields: dict[str, str], apart: str) -> None:
    text = apart.join(f"{name} {kind}" for name, kind in fields.items())
    assert properties(text) == {name: {"type": TYPES[kind]} for name, kind in fields.items()}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("dish, minutes integer", "field 2, 'minutes integer': unknown type 'integer'"),
        ("minutes integer", "did you mean 'int'?"),
        ("minutes flot", "did you mean 'float'?"),
        ("a b c", "expected NAME, NAME TYPE or NAME TYPE: DESCRIPTION"),
        ("a: in full, and so on", "field 2, 'and so on': expected NAME, NAME TYPE or"),
        ("a: in full, and so on", "needs one field on each line"),
        ("a, a", "field 2, 'a': there is already a field 'a'"),
        ("2nd", "invalid name '2nd': use letters"),
        ("dir/schema.jsn", "a file must end in .json, .yaml or .yml"),
        (" , ", "found nothing"),
        ('{"type": "objekt"}', "--schema:1:10: not a valid JSON Schema: $.type: expected one of"),
        ('{"type": ', "--schema:"),
    ],
)  # fmt: skip
def test_a_wrong_value_has_its_place(value: str, message: str) -> None:
    with pytest.raises(UsageError) as raised:
        schema_of(value, "--schema", many=False)
    assert str(raised.value).startswith("--schema:")
    assert message in str(raised.value)


@pytest.fixture
def call(tmp_path: Path) -> Commands:
    commands = Commands(tmp_path)
    commands.write("poet.yaml", "system: Hi.\noutput: {type: object, required: [verse]}\n")
    return commands


def test_the_value_is_validated_and_printed(call: Commands) -> None:
    with Server([f"Sure: {json.dumps(DISH)}", "Soup, 20 minutes"]) as server:
        done = call("ask", "Dinner?", "--schema", "dish, minutes int", *MODEL, **server.environ())
        assert done == (0, json.dumps(DISH) + "\n", "")
        form = server.requests[0].body["response_format"]["json_schema"]
        assert (form["name"], form["strict"]) == ("ask", True)
        done = call("ask", "Dinner?", "--schema", "dish, minutes int", *MODEL, **server.environ())
        assert (done.code, done.out) == (1, "")
        assert done.err.startswith("Soup, 20 minutes\nError: the answer does not match the output")


def test_it_overrides_the_output_of_a_persona_also_in_a_replay(call: Commands) -> None:
    with Server([json.dumps(DISH)]) as server:
        env = server.environ()
        words = ("run", "./poet.yaml", "Dinner?", "--schema", "dish, minutes int", *MODEL)
        assert json.loads(call(*words, "--json", **env).out)["parsed"] == DISH
        assert call(*words, "--json-output", **env).out == json.dumps(DISH) + "\n"
        assert call("log", "replay", "last", **env).code == 0
        schema = server.requests[-1].body["response_format"]["json_schema"]["schema"]
        assert schema["required"] == ["dish", "minutes"]


def test_a_schema_is_that_of_one_turn(call: Commands) -> None:
    with Server([json.dumps(DISH), "Bread.", '{"verse": "x"}']) as server:
        env = server.environ()
        call("ask", "Dinner?", "--schema", "dish, minutes int", *MODEL, **env)
        assert call("ask", "-c", "And with it?", **env).out == "Bread.\n"
        assert "response_format" not in server.requests[-1].body
        assert call("run", "-c", "Rhyme.", "--schema", "verse", **env).out == '{"verse": "x"}\n'
        schema = server.requests[-1].body["response_format"]["json_schema"]["schema"]
        assert schema["required"] == ["verse"]


def test_a_schema_in_a_file(call: Commands) -> None:
    schema = {"type": "object", "properties": {"dish": {"type": "string"}}}
    call.write("dish.json", json.dumps(schema))
    call.write("dish.yaml", "type: object\nproperties:\n  dish: {type: string}\n")
    call.write("bad.yaml", "type: object\nproperties:\n  dish: {type: sting}\n")
    call.write("list.yaml", "- a\n")
    call.write("broken.json", '{"type": ')
    for name in ("dish.json", "dish.yaml"):
        done = call("ask", "Hi", "--schema", name, "--dry-run", "--json", *MODEL)
        form = json.loads(done.out)["parameters"]["response_format"]["json_schema"]
        assert form["schema"] == schema
    for name, message in {
        "bad.yaml": "--schema: bad.yaml:3:16: not a valid JSON Schema: $.properties.dish.type",
        "list.yaml": "--schema: list.yaml:1:1: expected a JSON Schema as a mapping, found a list",
        "broken.json": "--schema: broken.json:",
        "dsh.json": "--schema: cannot read dsh.json: No such file or directory; did you mean 'dish",
    }.items():
        done = call("ask", "Hi", "--schema", name, *MODEL)
        assert (done.code, done.out) == (2, "")
        assert message in done.err


@pytest.mark.parametrize("other", ["--stream", "--schema-multi=b"])
def test_what_a_schema_is_not_combined_with(call: Commands, other: str) -> None:
    done = call("ask", "Hi", "--schema", "a", other)
    assert (done.code, done.out) == (2, "")
    assert f"--schema cannot be combined with {other.partition('=')[0]}" in done.err
