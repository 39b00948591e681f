"""Structured output: asked for as the provider takes it, and read as what was wanted."""

from __future__ import annotations

import json
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from helpers.output import CLERK, GOOD, ask
from hypothesis import given, settings
from hypothesis import strategies as st

from personakit import (
    Config,
    ConfigError,
    InvalidAnswer,
    Persona,
    PersonaError,
    Request,
    Response,
    Runner,
    Tool,
    ToolCall,
    hookimpl,
)
from personakit.linting.check import Linter
from personakit.testing import MODES, Reply, Server, in_mode, persona, runner

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
        ("Sure! I will.", "it is prose, not JSON; it begins with 'Sure! I will.'"),
        ('{"name": "Ann"', "it is not valid JSON"),
        ('{"name": "Ann", "guests": "two"}', r"\n- \$\.guests: 'two' is not of type 'integer'\n"),
        ('{"guests": 0}', r"- \$: 'name' is a required property\n- \$\.guests: 0 is less than"),
        ('{"name": "Ann", "guests": NaN}', "NaN is not JSON"),
        ('{"name": "Ann", "guests": -Infinity}', "-Infinity is not JSON"),
        ('{"name": "Ann", "guests": 1e999}', "the number 1e999 is too large"),
        ('{"name": "Ann", "guests": ' + "9" * 5000 + "}", "Exceeds the limit"),
        ("[" * 100_000, "nested too deep"),
        ("null", "None is not of type 'object'"),
        ("{}{}", r"- \$: 'name' is a required property"),
    ],
)
def test_an_answer_that_is_something_else(mode: str, answer: str, said: str) -> None:
    with pytest.raises(
        InvalidAnswer, match=f"(?s)the answer does not match the output 'test':.*{said}"
    ) as raised:
        ask(answer, mode=mode)
    assert raised.value.partial == answer
    assert "the plugin `schema` sends the faults to the model" in str(raised.value)
    assert len(str(raised.value)) < 1000
    assert pickle.loads(pickle.dumps(raised.value)).partial == answer


@pytest.mark.parametrize("mode", MODES)
def test_an_answer_that_was_cut_off_says_what_to_raise(mode: str) -> None:
    cut = Response('{"name": "Ann", "gue', finish_reason="length")
    with pytest.raises(InvalidAnswer, match="cut off at the token limit; increase max_tokens"):
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


OTHER = '{"guests": 9, "name": "Bob"}'


@pytest.mark.parametrize("answer", [f"{GOOD} or {OTHER}", f"```\n{GOOD}\n```\n{OTHER}"])
def test_of_two_values_none_is_chosen(answer: str) -> None:
    with pytest.raises(InvalidAnswer, match="different values that match") as raised:
        ask(answer)
    assert '"name": "Ann"' in str(raised.value)
    assert OTHER in str(raised.value)
    # The same value twice is one value, and what does not match is no answer.
    assert ask(answer.replace(OTHER, GOOD)).parsed == json.loads(GOOD)
    assert ask(answer.replace(OTHER, '{"guests": 9}')).parsed == json.loads(GOOD)


@pytest.mark.parametrize(
    "prose",
    [
        "As in [1] and [see below], use {}:",
        "{not: json} [1, 2",
        "[[[[",
        '{"guests": 9} is a draft:',
    ],
)
def test_brackets_in_prose_are_not_the_answer(prose: str) -> None:
    assert ask(f"{prose}\n{GOOD}\n(see [2])").parsed == json.loads(GOOD)


@pytest.mark.parametrize(
    "answer",
    [
        f'Example: {GOOD}. Answer: {{"name": "Bo',
        f'```json\n{GOOD}\n```\nFinal: {{"name": "Bob", "guests": 3',
        f"<think>maybe {GOOD}",
    ],
)
def test_a_draft_is_not_the_answer_if_that_has_no_end(answer: str) -> None:
    with pytest.raises(InvalidAnswer, match="it is not valid JSON"):
        ask(answer)


def test_a_closing_tag_in_a_value_is_no_end_of_thoughts() -> None:
    answer = 'Here: {"name": "</think>", "guests": 2}'
    assert ask(answer).parsed == {"name": "</think>", "guests": 2}
    assert ask(f"Maybe {OTHER}?\n</think>\n{GOOD}").parsed == json.loads(GOOD)


def test_a_text_of_brackets_is_refused_soon() -> None:
    with pytest.raises(InvalidAnswer):
        ask("x" + "[{" * 300_000)


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
    with pytest.raises(
        ConfigError, match=r"JSON Schema: \$\.type: expected one of array, .* 'text'"
    ):
        running.run(persona(), "Hi", output={"type": "text"})
    with pytest.raises(
        PersonaError, match=r"2:36: output: not a valid JSON Schema: \$\.properties"
    ):
        Persona.parse("system: x\noutput: {type: object, properties: 5}", "who.yaml")
    assert upstream.requests == []


def test_lint_tells_an_output_that_is_no_schema(tmp_path: Path) -> None:
    file = tmp_path / "who.yaml"
    file.write_text("description: x\nsystem: x\noutput: {type: objekt}\n")
    found = Linter(Runner(Config(path=()))).check([file])
    assert [(one.line, one.code) for one in found] == [(3, "PK012")]
    assert "not a valid JSON Schema: $.type: expected one of array, boolean" in found[0].message
    file.write_text("description: x\nsystem: x\noutput: {type: object}\n")
    assert Linter(Runner(Config(path=()))).check([file]) == []


def test_nothing_is_fetched_for_a_reference() -> None:
    schema = {"$ref": "https://example.com/booking.json"}
    running, upstream = runner([GOOD])
    with pytest.raises(ConfigError, match=r"refers to no subschema of this schema \(nothing is"):
        running.run(persona(), "Hi", output=schema)
    with pytest.raises(PersonaError, match="refers to no subschema"):
        persona(output=schema)
    assert upstream.requests == []


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
