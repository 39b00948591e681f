"""Structured output: asked for as the provider takes it, and read as what was wanted."""

from __future__ import annotations

import json
import pickle
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typing_extensions import TypeAliasType, TypedDict

from personakit import (
    Config,
    ConfigError,
    InvalidAnswer,
    Message,
    PluginError,
    Request,
    Response,
    Runner,
    Tool,
    ToolCall,
    hookimpl,
)
from personakit.linting.check import Linter
from personakit.output import Output
from personakit.output.strict_schema import qualifies, strictened
from personakit.providers import BUILT_IN
from personakit.testing import MODES, Reply, Server, Upstream, in_mode, persona, runner

BOOKING = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "guests": {"type": "integer", "minimum": 1}},
    "required": ["name", "guests"],
    "additionalProperties": False,
}
CLERK = persona(output=BOOKING)
GOOD = '{"name": "Ann", "guests": 2}'


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


def ask(answer: Any, who: Any = CLERK, mode: str = "run", **options: Any) -> Response:
    running, _ = runner([answer])
    return in_mode(mode, running, who, "A table", **options)


# --- a JSON Schema --------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_the_value_of_an_answer(mode: str) -> None:
    response = ask(GOOD, mode=mode)
    assert response.parsed == {"name": "Ann", "guests": 2}
    assert response.text == GOOD


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("", "it is empty"),
        ("Sure! I will.", "it is not JSON: Expecting value.*begins with 'Sure! I will.'"),
        ('{"name": "Ann"', "it is not JSON"),
        ('{"name": "Ann", "guests": "two"}', r"\n- \$\.guests: 'two' is not of type 'integer'\n"),
        ('{"guests": 0}', r"- \$: 'name' is a required property\n- \$\.guests: 0 is less than"),
        ('{"name": "Ann", "guests": NaN}', "NaN is not JSON"),
        ('{"name": "Ann", "guests": -Infinity}', "-Infinity is not JSON"),
        ('{"name": "Ann", "guests": 1e999}', "1e999 is too large a number"),
        ('{"name": "Ann", "guests": ' + "9" * 5000 + "}", "Exceeds the limit"),
        ("[" * 100_000, "nested too deep"),
        ("null", "None is not of type 'object'"),
        ("{}{}", "not JSON"),
    ],
)
def test_an_answer_that_is_something_else(mode: str, answer: str, said: str) -> None:
    with pytest.raises(
        InvalidAnswer, match=f"(?s)the answer is not the output 'test':.*{said}"
    ) as raised:
        ask(answer, mode=mode)
    assert raised.value.partial == answer
    assert "the plugin `schema` asks the model again" in str(raised.value)
    assert len(str(raised.value)) < 1000
    assert pickle.loads(pickle.dumps(raised.value)).partial == answer


@pytest.mark.parametrize("mode", MODES)
def test_an_answer_that_was_cut_off_says_what_to_raise(mode: str) -> None:
    cut = Response('{"name": "Ann", "gue', finish_reason="length")
    with pytest.raises(InvalidAnswer, match="cut off at the limit of tokens: raise max_tokens"):
        ask(cut, mode=mode)
    # Its brackets say that nothing is missing, whatever the reason says.
    assert ask(Response(GOOD, finish_reason="length"), mode=mode).parsed["guests"] == 2
    number = persona(output={"type": "integer"})
    with pytest.raises(InvalidAnswer, match="its end is missing"):
        ask(Response("12", finish_reason="length"), number, mode)
    # What is whole within it is not the answer.
    nested = persona(output={"type": "object"})
    with pytest.raises(InvalidAnswer):
        ask(Response('{"a": {"b": 1}, "c', finish_reason="length"), nested, mode)


@pytest.mark.parametrize(
    "answer",
    [
        f"```json\n{GOOD}\n```",
        f"Here it is:\n\n```\n{GOOD}\n```\nAnything else?",
        f"Sure: {GOOD} Enjoy!",
        f"\n {GOOD}\r\n",
        '{"name": "Bob", "name": "Ann", "guests": 2}',
    ],
)
def test_what_stands_around_the_json_does_not_matter(answer: str) -> None:
    response = ask(answer)
    assert response.parsed == {"name": "Ann", "guests": 2}
    assert response.text == answer


@pytest.mark.parametrize("answer", [f"{GOOD} or {GOOD}", f"```\n{GOOD}\n```\n```\n{GOOD}\n```"])
def test_of_two_values_none_is_chosen(answer: str) -> None:
    with pytest.raises(InvalidAnswer):
        ask(answer)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=15,
)


@settings(max_examples=50, deadline=None)
@given(VALUES, st.sampled_from(["{}", "```json\n{}\n```", "Well:\n```\n{}\n```"]))
def test_every_value_comes_back(value: Any, around: str) -> None:
    answer = around.replace("{}", json.dumps(value), 1)
    assert ask(answer, persona(output={"description": "anything"})).parsed == value


def test_an_output_that_is_no_schema_is_told_before_anything_is_sent() -> None:
    running, upstream = runner([GOOD])
    with pytest.raises(ConfigError, match=r"no JSON Schema: \$\.type: 'text' is not valid"):
        running.run(persona(output={"type": "text"}), "Hi")
    assert upstream.requests == []


def test_lint_tells_an_output_that_is_no_schema(tmp_path: Path) -> None:
    file = tmp_path / "who.yaml"
    file.write_text("description: x\nsystem: x\noutput: {type: objekt}\n")
    found = Linter(Runner(Config(path=()))).check([file])
    assert [(one.line, one.code) for one in found] == [(3, "PK012")]
    assert "this is no JSON Schema: $.type: 'objekt' is not valid" in found[0].message
    file.write_text("description: x\nsystem: x\noutput: {type: object}\n")
    assert Linter(Runner(Config(path=()))).check([file]) == []


def test_nothing_is_fetched_for_a_reference() -> None:
    with pytest.raises(InvalidAnswer, match=r"a `\$ref` to something that is not in it"):
        ask(GOOD, persona(output={"$ref": "https://example.com/booking.json"}))


@pytest.mark.parametrize("mode", MODES)
def test_a_refusal_is_no_answer(mode: str) -> None:
    refusal = {"role": "assistant", "content": None, "refusal": "I cannot help with that."}
    whole = {"choices": [{"index": 0, "message": refusal, "finish_reason": "stop"}]}
    delta = {"choices": [{"index": 0, "delta": refusal, "finish_reason": "stop"}]}
    events = f"data: {json.dumps(delta)}\n\ndata: [DONE]\n\n".encode()
    streamed = Reply(events, headers={"content-type": "text/event-stream"})
    with Server([streamed if "stream" in mode else whole]) as server:
        running = Runner(server.config())
        with pytest.raises(InvalidAnswer, match="begins with 'I cannot help") as raised:
            in_mode(mode, running, CLERK, "Hi")
        running.close()
    assert raised.value.partial == "I cannot help with that."


@pytest.mark.parametrize("mode", MODES)
def test_of_a_run_with_tools_the_last_text_is_the_answer(mode: str) -> None:
    @dataclass(eq=False)
    class Offer:
        @hookimpl
        def chat(self, request: Request) -> Request:
            return request.with_tools(Tool("look", lambda: "free"))

    call = Response("Let me see.", (ToolCall("1", "look"),), "tool_calls")
    running, _ = runner([call, GOOD], plugins=[Offer()])
    response = in_mode(mode, running, CLERK, "A table")
    assert response.parsed == {"name": "Ann", "guests": 2}
    assert response.text == f"Let me see.\n\n{GOOD}"
    running, _ = runner([call, "no"], plugins=[Offer()])
    with pytest.raises(InvalidAnswer) as raised:
        in_mode(mode, running, CLERK, "A table")
    assert raised.value.partial == "no"


# --- plugins --------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_a_value_that_a_plugin_sets_stays(mode: str) -> None:
    class Sets:
        @hookimpl
        async def chat(self, request: Request, send: Any) -> Response:
            response: Response = await send(request)
            return response.replace(parsed={"from": "plugin"})

    running, _ = runner(["not JSON"], plugins=[Sets()])
    assert in_mode(mode, running, CLERK, "Hi").parsed == {"from": "plugin"}


@pytest.mark.parametrize("mode", MODES)
def test_a_value_is_that_of_the_text_after_all_plugins(mode: str) -> None:
    class Restores:
        @hookimpl
        async def chat(self, request: Request, send: Any) -> Response:
            response: Response = await send(request)
            return response.replace(text=response.text.replace("<NAME>", "Ann"))

    class Sets:
        @hookimpl
        async def chat(self, request: Request, send: Any) -> Response:
            response: Response = await send(request)
            return response.replace(parsed=json.loads(response.text))

    running, _ = runner(['{"name": "<NAME>", "guests": 2}'], plugins=[Restores(), Sets()])
    assert in_mode(mode, running, CLERK, "Hi").parsed == {"name": "Ann", "guests": 2}


def test_a_failed_run_is_told_to_observers_and_not_called_finished() -> None:
    events = []

    class Watches:
        @hookimpl
        def observe(self, event: Any) -> None:
            events.append(event.name)

    running, _ = runner(["no"], plugins=[Watches()])
    with pytest.raises(InvalidAnswer):
        running.run(CLERK, "Hi")
    assert events == ["started", "sent", "answered", "failed"]


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


@pytest.mark.parametrize("wrong", ["Guest", [Guest], lambda: 1, Guest(name="x"), object()])
def test_what_is_no_output(wrong: Any) -> None:
    running, upstream = runner()
    with pytest.raises(ConfigError, match="output"):
        running.run(persona(), "Hi", output=wrong)
    assert upstream.requests == []


# --- how it is asked for --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "schema"),
    [(f"{name}/x", provider.json_schema) for name, provider in BUILT_IN.items()]
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
            return request.replace(model="anthropic/claude")

    running, upstream = runner([GOOD], plugins=[Falls()])
    assert running.run(CLERK, "Hi", model="openai/gpt").parsed["guests"] == 2
    assert "response_format" not in upstream.requests[0].parameters


def test_another_response_format_is_left_alone() -> None:
    running, upstream = runner([GOOD])
    kind = {"response_format": {"type": "json_object"}}
    response = running.run(CLERK, "Hi", model="deepseek/x", parameters=kind)
    assert upstream.requests[0].parameters == kind
    assert response.parsed["guests"] == 2


def test_a_provider_of_the_config_says_what_it_takes() -> None:
    upstream = Upstream([GOOD])
    own = {**BUILT_IN, "own": BUILT_IN["anthropic"]}
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
    assert running.run(CLERK, more).parsed["guests"] == 3


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
        (["schema"], "let it pass"),
        ([], "the plugin `schema` asks the model again"),
    ):
        running, upstream = runner(['{"number": 1}'])
        with pytest.raises(InvalidAnswer, match=said) as raised:
            running.run(persona(plugins=plugins), "Hi", output=Even)
        assert "$.number: Value error, is odd" in str(raised.value)
        assert len(upstream.requests) == 1
