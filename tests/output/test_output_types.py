"""Structured output as Python types, and how an answer is read."""

from __future__ import annotations

import decimal
import json
from dataclasses import dataclass, field
from typing import Any, Literal

import pydantic
import pytest
from helpers.output import CLERK, GOOD, ask
from typing_extensions import TypeAliasType, TypedDict

from personakit import (
    Config,
    ConfigError,
    InvalidAnswer,
    Message,
    PluginError,
    Request,
    Runner,
    hookimpl,
)
from personakit.output.output import Output
from personakit.output.strict_schema import qualifies, strictened
from personakit.providers import BUILT_IN
from personakit.testing import MODES, Upstream, persona, runner


class Guest(pydantic.BaseModel):
    name: str = pydantic.Field(description="As on the passport.")
    age: int | None = None


class Party(pydantic.BaseModel):
    host: Guest
    guests: list[Guest] = pydantic.Field(default_factory=list, description="The others.")


class Node(pydantic.BaseModel):
    name: str
    parts: list[Node] = []


class Cat(pydantic.BaseModel):
    kind: Literal["cat"]
    lives: int


class Dog(pydantic.BaseModel):
    kind: Literal["dog"]
    tricks: list[str]


@dataclass
class Booking:
    name: str
    guests: int = 1
    tags: list[str] = field(default_factory=list)


Deep = TypeAliasType("Deep", "list[Deep] | int")


class Row(TypedDict):
    name: str
    n: int


# --- Python types ---------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("kind", "answer", "value"),
    [
        (Guest, '{"name": "Ann", "age": null}', Guest(name="Ann")),
        (Guest, '{"name": "Ann"}', Guest(name="Ann")),
        (Party, '{"host": {"name": "A"}, "guests": [{"name": "B", "age": 3}]}',
         Party(host=Guest(name="A"), guests=[Guest(name="B", age=3)])),
        (Booking, '{"name": "Ann", "guests": 2, "tags": []}', Booking("Ann", 2)),
        (Row, '{"name": "x", "n": 1}', {"name": "x", "n": 1}),
        (list[int], '{"value": [1, 2]}', [1, 2]),
        (list[int], "[1, 2]", [1, 2]),
        (int, '{"value": 7}', 7),
        (dict[str, int], '{"a": 1}', {"a": 1}),
        (Cat | Dog, '{"value": {"kind": "dog", "tricks": ["sit"]}}',
         Dog(kind="dog", tricks=["sit"])),
        (Literal["a", "b"], '{"value": "b"}', "b"),
        (Node, '{"name": "a", "parts": [{"name": "b", "parts": []}]}',
         Node(name="a", parts=[Node(name="b")])),
        (Guest, '```json\n{"name": "Ann"}\n```', Guest(name="Ann")),
    ],
)  # fmt: skip
def test_a_type_gives_its_own_values(mode: str, kind: Any, answer: str, value: Any) -> None:
    response = ask(answer, mode=mode, output=kind)
    assert response.parsed == value
    assert type(response.parsed) is type(value)


@pytest.mark.parametrize(
    ("kind", "answer", "said"),
    [
        (Guest, '{"age": 3}', r"- \$\.name: Field required, found"),
        (Party, '{"host": {"name": "A"}, "guests": [{"name": 1}]}',
         r"- \$\.guests\[0\]\.name: Input should be a valid string, found 1"),
        (list[int], '{"value": [1, "x"]}', r"- \$\[1\]: Input should be a valid integer"),
        (float, '{"value": NaN}', "NaN is not JSON"),
        (Node, '{"name": "a", "parts": ' + "[" * 5000 + "]" * 5000 + "}", "not JSON|parts"),
    ],
)  # fmt: skip
def test_an_answer_that_is_not_of_the_type(kind: Any, answer: str, said: str) -> None:
    with pytest.raises(InvalidAnswer, match=said) as raised:
        ask(answer, output=kind)
    assert raised.value.partial == answer


def test_the_callers_output_goes_before_the_personas() -> None:
    running, upstream = runner(['{"name": "Ann", "age": 3}'])
    assert running.run(CLERK, "Hi", output=Guest).parsed == Guest(name="Ann", age=3)
    sent = upstream.requests[0].parameters["response_format"]["json_schema"]
    assert (sent["name"], sent["strict"]) == ("Guest", True)
    assert sent["schema"]["required"] == ("name", "age")
    assert running.run(CLERK, "Hi", output={"required": ["age"]}).parsed["age"] == 3
    whole = running.render(CLERK, "Hi").replace(parameters={"seed": 1})
    response = running.run(CLERK, whole, output=Guest)
    assert response.parsed == Guest(name="Ann", age=3)
    assert upstream.requests[-1].parameters.keys() == {"seed", "response_format"}


@pytest.mark.parametrize("wrong", ["Guest", [Guest], lambda: 1, Guest(name="x"), object(), 3])
def test_what_is_no_output(wrong: Any) -> None:
    running, upstream = runner()
    with pytest.raises(ConfigError, match=r"output: expected a .*, found ") as caught:
        running.run(persona(), "Hi", output=wrong)
    assert upstream.requests == []
    assert "arbitrary_types" not in str(caught.value)


def test_an_output_of_a_class_that_pydantic_does_not_know() -> None:
    class Opaque: ...

    for wrong in (Opaque, list[Opaque]):
        with pytest.raises(
            ConfigError, match=r"no schema for <class .*; use a pydantic model, "
        ) as caught:
            runner()[0].run(persona(), "Hi", output=wrong)
        assert "arbitrary_types" not in str(caught.value)


# --- how it is asked for --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "schema"),
    # A first-party plugin asks Anthropic through another API.
    [(f"{n}/x", it.json_schema or n == "anthropic") for n, it in BUILT_IN.items()]
    + [("unknown/x", True)],
)
def test_a_provider_gets_a_schema_or_words(model: str, schema: bool) -> None:
    running, upstream = runner([GOOD])
    for sent in (running.prepare(CLERK, "Hi", model=model), None):
        request = sent or running.run(CLERK, "Hi", model=model).request
        assert request is not None
        assert ("response_format" in request.parameters) is schema
        assert ("matches this JSON Schema" in request.system) is not schema
        assert ('"minimum": 1' in request.system) is not schema
    assert upstream.requests[0] == request
    # As rendered, it is what plugins see.
    assert "response_format" in running.render(CLERK, "Hi", model=model).parameters


def test_who_takes_no_schema_is_documented_by_them() -> None:
    assert {n for n, p in BUILT_IN.items() if not p.json_schema} == {
        "anthropic",
        "deepseek",
        "nvidia",
    }


def test_a_plugin_that_changes_the_model_changes_how_it_is_asked() -> None:
    class Falls:
        @hookimpl
        def chat(self, request: Request) -> Request:
            assert "response_format" in request.parameters
            return request.replace(model="deepseek/chat")

    running, upstream = runner([GOOD], plugins=[Falls()])
    assert running.run(CLERK, "Hi", model="openai/gpt").parsed == json.loads(GOOD)
    assert "response_format" not in upstream.requests[0].parameters


def test_another_response_format_is_left_alone() -> None:
    running, upstream = runner([GOOD])
    kind = {"response_format": {"type": "json_object"}}
    response = running.run(CLERK, "Hi", model="deepseek/x", parameters=kind)
    assert upstream.requests[0].parameters == kind
    assert response.parsed == json.loads(GOOD)


def test_a_provider_of_the_config_says_what_it_takes() -> None:
    upstream = Upstream([GOOD])
    own = {**BUILT_IN, "own": BUILT_IN["deepseek"]}
    running = Runner(Config(path=(), providers=own), backend=upstream)
    running.run(CLERK, "Hi", model="own/x")
    assert "JSON Schema" in upstream.requests[0].system


def test_a_schema_is_sent_as_it_was_written() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string", "default": "x"}}}
    running, upstream = runner(['{"a": "b"}'])
    running.run(persona(output=schema), "Hi")
    sent = upstream.requests[0].parameters["response_format"]["json_schema"]
    assert sent == {"name": "test", "schema": schema}


def schema_of(kind: Any) -> Any:
    return Output.of(kind, "x").schema


@pytest.mark.parametrize("kind", [Guest, Party, Booking, Row, list[int], Node, Cat | Dog, int])
def test_the_schema_of_a_type_is_strict_where_it_can_be(kind: Any) -> None:
    assert qualifies(schema_of(kind))


def test_a_type_that_holds_itself_and_is_no_object() -> None:
    assert ask('{"value": [[1], 2]}', output=Deep).parsed == [[1], 2]
    assert schema_of(Deep)["type"] == "object"


@pytest.mark.parametrize("kind", [dict[str, int], list[dict[str, str]], Any])
def test_the_schema_of_other_types_is_pydantics(kind: Any) -> None:
    assert "strict" not in Output.of(kind, "x").response_format["json_schema"]


def test_a_description_beside_a_reference_is_kept() -> None:
    class Trip(pydantic.BaseModel):
        guest: Guest = pydantic.Field(description="Who travels.")

    made = schema_of(Trip)["properties"]["guest"]
    assert made["description"] == "Who travels."
    assert set(made["required"]) == {"name", "age"}


OBJECT = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}


@pytest.mark.parametrize(
    ("change", "good"),
    [
        ({}, True),
        ({"additionalProperties": True}, False),
        ({"properties": {"a": {"type": "string"}}}, False),
        ({"properties": {"a": {"type": "string"}}, "required": ["a"]}, True),
        ({"properties": {"a": {"type": ["string", "null"]}}, "required": ["a"]}, True),
        ({"properties": {"a": {"type": "string", "minLength": 1}}, "required": ["a"]}, False),
        ({"properties": {"a": {"type": "string", "format": "uri"}}, "required": ["a"]}, False),
        ({"properties": {"a": {"type": "array"}}, "required": ["a"]}, False),
        ({"properties": {"a": {"type": ["array", "null"]}}, "required": ["a"]}, False),
        ({"properties": {"a": {"type": "string", "enum": []}}, "required": ["a"]}, False),
        ({"anyOf": [{"type": "null"}]}, False),
        ({"properties": {"a": {}}, "required": ["a"]}, False),
        ({"properties": {"a": {"enum": [1, "b"]}}, "required": ["a"]}, False),
        ({"properties": {"a": {"type": "string", "enum": ["b"]}}, "required": ["a"]}, True),
        ({"properties": {"a": {"type": "object"}}, "required": ["a"]}, False),
        ({"type": "array", "items": {"type": "string"}}, False),
        ({"allOf": []}, False),
        ({"properties": {"a": {"$ref": "#/$defs/b"}}, "required": ["a"],
          "$defs": {"b": {"type": "null"}}}, True),
        ({"properties": {"a": {"type": "integer", "enum": list(range(1001))}},
          "required": ["a"]}, False),
    ],
)  # fmt: skip
def test_the_rules_of_strict_schemas(change: dict[str, Any], good: bool) -> None:
    assert qualifies({**OBJECT, **change}) is good


def test_a_schema_nested_deeper_than_is_allowed_is_not_strict() -> None:
    def nested(depth: int) -> dict[str, Any]:
        inner = nested(depth - 1) if depth else {"type": "string"}
        return {**OBJECT, "properties": {"a": inner}, "required": ["a"]}

    assert [depth for depth in range(20) if qualifies(nested(depth))] == list(range(9))
    assert strictened(nested(15)) == nested(15)


def test_a_conversation_can_go_on_from_a_value() -> None:
    running, _ = runner([GOOD, '{"name": "Ann", "guests": 3}'])
    first = running.run(CLERK, "Hi")
    assert first.request is not None
    more = first.request.with_messages(*first.messages, Message("user", "One more."))
    assert running.run(CLERK, more).parsed == {"name": "Ann", "guests": 3}


@pytest.mark.parametrize("name", ["x" * 80, "Ünï cöde"])
def test_the_name_is_one_that_the_api_takes(name: str) -> None:
    said = Output.of({"type": "object"}, name).response_format["json_schema"]["name"]
    assert len(said) <= 64
    assert all(c.isascii() and (c.isalnum() or c in "_-") for c in said)


def test_a_plugin_error_is_none_of_ours() -> None:
    class Breaks:
        @hookimpl
        def chat(self) -> None:
            raise ValueError("broken")

    running, _ = runner([GOOD], plugins=[Breaks()])
    with pytest.raises(PluginError):
        running.run(CLERK, "Hi")


def test_no_plugin_is_advised_that_was_there_and_let_the_answer_pass() -> None:
    class Even(pydantic.BaseModel):
        number: int

        @pydantic.field_validator("number")
        @classmethod
        def even(cls, number: int) -> int:
            if number % 2:
                raise ValueError("is odd")
            return number

    for plugins, said in (
        (["schema"], "accepted it"),
        ([], "the plugin `schema` sends the faults to the model"),
    ):
        running, upstream = runner(['{"number": 1}'])
        with pytest.raises(InvalidAnswer, match=said) as raised:
            running.run(persona(plugins=plugins), "Hi", output=Even)
        assert "$.number: Value error, is odd" in str(raised.value)
        assert len(upstream.requests) == 1


@pytest.mark.parametrize(
    ("pattern", "good"),
    [
        ("^[a-z]+$", True),
        ("(?:ab)+", True),
        (r"\(?!", True),
        ("[(?!]", True),
        (r"\\\\1", True),
        ("^(?!admin)[a-z]+$", False),
        ("a(?=b)", False),
        ("(?<=a)b", False),
        ("(?<!a)b", False),
        (r"(a)\1", False),
        (r"[\]](?!a)", False),
        ("(?P<n>a)(?P=n)", False),
        ("(?>a)", False),
        ("(a)?(?(1)b|c)", False),
    ],
)
def test_a_pattern_of_strict_mode_has_no_look_around(pattern: str, good: bool) -> None:
    name = {"type": "string", "pattern": pattern}
    schema = {**OBJECT, "properties": {"a": name}, "required": ["a"]}
    form = Output.of(schema, "x").response_format["json_schema"]
    assert ("strict" in form) is good
    assert form["schema"]["properties"]["a"]["pattern"] == pattern


def test_a_decimal_is_never_sent_as_strict_with_look_around() -> None:
    class Bill(pydantic.BaseModel):
        total: decimal.Decimal

    form = Output.of(Bill, "x").response_format["json_schema"]
    assert ("(?!" in json.dumps(form["schema"])) <= ("strict" not in form)
    assert ask('{"total": "1.50"}', output=Bill).parsed.total == decimal.Decimal("1.50")
