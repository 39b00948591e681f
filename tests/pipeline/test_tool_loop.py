"""The tool loop: what the model calls is called, in all four modes."""

from __future__ import annotations

import asyncio
import copy
import functools
import json
import pickle
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from personakit import (
    Blocked,
    Config,
    ConfigError,
    Message,
    Provider,
    Registry,
    Request,
    Response,
    Runner,
    SendTool,
    Tool,
    ToolCall,
    ToolResult,
    TooManyRounds,
    Trace,
    Usage,
    hookimpl,
)
from personakit.testing import MODES, Server, in_mode, persona, runner

in_modes = pytest.mark.parametrize("mode", MODES)


def add(a: int, b: int = 1) -> int:
    """Add two numbers.

    Args:
        a: The first.
        b: The second.
    """
    return a + b


async def later(word: Literal["x", "y"]) -> dict[str, str]:
    """Say a word later."""
    await asyncio.sleep(0)
    return {"word": word}


def breaks() -> str:
    raise ValueError("no luck")


def refuses() -> str:
    raise Blocked("not for you")


def ends() -> str:
    raise SystemExit(3)


class Brings:
    def __init__(self, *tools: Any) -> None:
        self.tools = [tool if isinstance(tool, Tool) else Tool.of(tool) for tool in tools]

    @hookimpl
    def chat(self, request: Request) -> Request:
        return request.with_tools(*self.tools)


def calls(*wanted: tuple[str, Any], text: str = "") -> Response:
    made = tuple(
        ToolCall(f"c{i}", name, given if isinstance(given, str) else json.dumps(given))
        for i, (name, given) in enumerate(wanted)
    )
    return Response(text, made, "tool_calls", usage=Usage(1, 2, 3))


@in_modes
def test_a_tool_is_called_and_its_result_goes_back(mode: str) -> None:
    answers: list[Any] = [
        calls(("add", {"a": 2, "b": 3}), ("later", {"word": "y"}), text="Let me see."),
        "5.",
    ]
    running, upstream = runner(answers, plugins=[Brings(add, later)])
    response = in_mode(mode, running, persona(), "2 + 3?")
    assert response.text == "Let me see.\n\n5."
    first, second = upstream.requests
    assert [tool.name for tool in first.tools] == ["add", "later"]
    assert second.messages[len(first.messages) :] == response.messages[:-1]
    assert [(m.role, m.text) for m in response.messages] == [
        ("assistant", "Let me see."),
        ("tool", "5"),
        ("tool", '{"word": "y"}'),
        ("assistant", "5."),
    ]
    assert [m.tool_call_id for m in response.messages] == [None, "c0", "c1", None]
    assert response.usage == Usage(1, 2, 3) + Usage(4 + 1, 2, 4 + 1 + 2)


@in_modes
def test_through_the_openai_client(mode: str) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 41}'}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
    first: Any = {"id": "x", "model": "m", "choices": [choice]}
    if "stream" in mode:
        half = {"index": 0, "function": {"arguments": "1}"}}
        head = {**call, "index": 0, "function": {"name": "add", "arguments": '{"a":4'}}
        deltas = [{"tool_calls": [head]}, {"tool_calls": [half]}]
        chunks: list[Any] = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
        chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]})
        from personakit.testing import Reply

        body = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"
        first = Reply(body.encode(), headers={"content-type": "text/event-stream"})
    with Server([first, "It is 42."]) as server:
        running = Runner(server.config(), plugins=[Brings(add)])
        assert in_mode(mode, running, persona(), "41 + 1?").text == "It is 42."
        sent = server.requests[0].body["tools"][0]["function"]
        assert (sent["name"], sent["description"]) == ("add", "Add two numbers.")
        assert sent["parameters"] == {
            "type": "object",
            "properties": {
                "a": {"type": "integer", "description": "The first."},
                "b": {"type": "integer", "description": "The second.", "default": 1},
            },
            "required": ["a"],
            "additionalProperties": False,
        }
        said = server.requests[1].body["messages"][-2:]
        assert said[0]["tool_calls"][0]["function"]["arguments"].replace(" ", "") == '{"a":41}'
        assert said[1] == {"role": "tool", "content": "42", "tool_call_id": "c1"}
        running.close()


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (("ad", {}), "error: there is no tool 'ad'; did you mean 'add'?"),
        (("add", {"a": "two"}), "a: Input should be a valid integer"),
        (("add", {"b": 1}), "a: Field required"),
        (("add", {"a": 1, "c": 2}), "c: Extra inputs are not permitted"),
        (("add", "{"), "error: the arguments are not valid JSON"),
        (("add", "[1]"), "error: the arguments are not a JSON object"),
        (("later", {"word": "z"}), "word: Input should be 'x' or 'y'"),
        (("breaks", {}), "error: ValueError: no luck"),
        (("ends", {}), "error: SystemExit: 3"),
    ],
)
@in_modes
def test_a_call_that_goes_wrong_is_a_result_for_the_model(
    mode: str, call: tuple[str, Any], said: str
) -> None:
    running, upstream = runner([calls(call), "Sorry."], plugins=[Brings(add, later, breaks, ends)])
    assert in_mode(mode, running, persona(), "?").text == "Sorry."
    assert said in upstream.requests[1].messages[-1].text


@in_modes
def test_a_tool_may_refuse(mode: str) -> None:
    running, _ = runner([calls(("refuses", {})), "never"], plugins=[Brings(refuses)])
    with pytest.raises(Blocked, match="not for you"):
        in_mode(mode, running, persona(), "?")


@in_modes
def test_a_refusal_among_several_calls(mode: str) -> None:
    both = calls(("refuses", {}), ("add", {"a": 1}))
    running, _ = runner([both, "never"], plugins=[Brings(refuses, add)])
    with pytest.raises(Blocked, match="not for you"):
        in_mode(mode, running, persona(), "?")


@in_modes
def test_rounds_are_bounded_and_what_was_said_is_kept(mode: str) -> None:
    running, upstream = runner([calls(("add", {"a": 1}), text="again")], plugins=[Brings(add)])
    with pytest.raises(TooManyRounds, match="after 3 rounds") as caught:
        in_mode(mode, running, persona(), "?", max_rounds=3)
    assert len(upstream.requests) == 3
    assert caught.value.response is not None
    assert caught.value.response.text == "again\n\nagain\n\nagain"
    copied = pickle.loads(pickle.dumps(caught.value))
    assert (str(copied), copied.response.text) == (str(caught.value), caught.value.response.text)


@in_modes
def test_a_slow_tool_is_given_up(mode: str) -> None:
    release = threading.Event()
    slow = Tool("slow", lambda: release.wait(20), timeout=0.05)
    running, upstream = runner([calls(("slow", {})), "Too slow."], plugins=[Brings(slow)])
    assert in_mode(mode, running, persona(), "?").text == "Too slow."
    release.set()
    assert "did not end within 0.05 s" in upstream.requests[1].messages[-1].text


@in_modes
@pytest.mark.parametrize("limit", [None, 30])
def test_a_timeout_inside_a_tool_is_told_as_what_it_is(mode: str, limit: float | None) -> None:
    def ask_database() -> None:
        raise TimeoutError("the database is silent")

    async def ask_later() -> None:
        ask_database()

    running, upstream = runner([calls(("ask_database", {}), ("ask_later", {})), "Sorry."])
    tools = [Tool.of(function, timeout=limit) for function in (ask_database, ask_later)]
    in_mode(mode, running, persona("x"), "Hi", tools=tools)
    said = [message.text for message in upstream.requests[1].messages[-2:]]
    assert said == ["error: TimeoutError: the database is silent"] * 2


@in_modes
def test_tool_hooks_stand_around_every_call(mode: str) -> None:
    class Doubles:
        @hookimpl
        async def tool(self, call: ToolCall, send: SendTool) -> ToolResult:
            result = await send(call.replace(arguments='{"a": 10}'))
            return result.replace(content=result.content * 2)

    running, upstream = runner([calls(("add", {"a": 1})), "ok"], plugins=[Brings(add), Doubles()])
    trace = Trace()
    in_mode(mode, running, persona(), "?", trace=trace)
    assert upstream.requests[1].messages[-1].text == "1111"
    assert [(s.plugin, s.hook, s.way) for s in trace.steps if s.hook == "tool"] == [
        ("Doubles", "tool", "held"),
        ("", "tool", "answered"),
    ]
    assert '+  "content": "1111"' in trace.steps[2].response_diff()


def test_calls_of_one_round_run_at_the_same_time_in_the_async_api() -> None:
    meet = threading.Barrier(3, timeout=10)
    tools = [Tool(name, meet.wait) for name in ("a", "b", "c")]
    running, upstream = runner(
        [calls(("a", {}), ("b", {}), ("c", {})), "met"], plugins=[Brings(*tools)]
    )
    assert in_mode("arun", running, persona(), "?").text == "met"
    assert {m.text for m in upstream.requests[1].messages[-3:]} == {"0", "1", "2"}


class Contributes:
    @staticmethod
    @hookimpl
    def setup(registry: Registry) -> None:
        registry.tool(add, name="sum", description="Sums.", timeout=5)
        registry.tool(Tool("now", time.time))


def test_a_persona_lists_tools_that_packages_contribute(install: Callable[..., None]) -> None:
    install(contributes=Contributes)
    running, upstream = runner([calls(("sum", {"a": 1})), "2"])
    assert running.run(persona(tools=["sum"]), "?").text == "2"
    (tool,) = upstream.requests[0].tools
    assert (tool.name, tool.description, tool.timeout) == ("sum", "Sums.", 5)
    assert running.prepare(persona(tools=["now", "sum"])).tools[0].name == "now"


@in_modes
def test_a_plugin_given_in_code_contributes_as_one_that_is_installed(mode: str) -> None:
    running, _ = runner([calls(("sum", {"a": 1})), "2"], plugins=[Contributes()])
    assert in_mode(mode, running, persona(tools=["sum"]), "?").text == "2"


@in_modes
def test_a_tool_that_nobody_brings(mode: str) -> None:
    running, upstream = runner(plugins=[Brings(add)])
    message = r"test.yaml: no installed plugin provides tools 'fly', 'swim'"
    with pytest.raises(ConfigError, match=message):
        in_mode(mode, running, persona(tools=["fly", "add", "swim"]), "?")
    assert upstream.requests == []


def test_calls_without_tools_are_left_to_the_caller() -> None:
    running, upstream = runner([calls(("mine", {}))])
    assert running.run(persona(), "?").tool_calls[0].name == "mine"
    assert len(upstream.requests) == 1


def test_a_provider_that_takes_no_tools() -> None:
    provider = Provider("plain", "http://127.0.0.1:9/v1", key_required=False, tools=False)
    running = Runner(Config(path=(), providers={"plain": provider}), plugins=[Brings(add)])
    with pytest.raises(ConfigError, match=r"provider 'plain' does not support tools \(add\)"):
        running.run(persona(), "?", model="plain/m")


def by_position(a: int, /) -> int:
    return a


def many(*words: str) -> int:
    return len(words)


def odd(thread: threading.Thread) -> None:
    thread.join()


@pytest.mark.parametrize("function", [by_position, many, odd])
def test_a_function_that_is_no_tool(function: Any) -> None:
    with pytest.raises(ConfigError, match=f"^tool '{function.__name__}': "):
        Tool.of(function)


@pytest.mark.parametrize("name", ["", "a b", "ü", "x" * 65])
def test_a_name_that_no_upstream_takes(name: str) -> None:
    with pytest.raises(ConfigError, match=r"invalid tool name .*: use 1 to 64 letters"):
        Tool(name, add)


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), True, "5"])
def test_the_time_of_a_tool_is_a_number_of_seconds(seconds: Any) -> None:
    message = "tool 'f': timeout must be a number of seconds above 0 or None, found "
    with pytest.raises(ConfigError, match=message):
        Tool("f", print, timeout=seconds)


def test_a_tool_travels_without_its_function() -> None:
    tool = Tool("far", lambda: 1, "Is far.", {"type": "object"}, timeout=2, touches=["files"])
    copied = pickle.loads(pickle.dumps(tool))
    assert copied == pickle.loads(pickle.dumps(copied)) == tool
    assert (copied.to_api(), copied.timeout) == (tool.to_api(), 2)
    with pytest.raises(RuntimeError, match="'far' belongs to another process"):
        copied.function()
    assert copy.deepcopy(tool) is tool


def test_a_response_of_a_run_with_tools_is_equal_to_itself_after_a_pickle() -> None:
    running, _ = runner([Response("", (ToolCall("c1", "add", '{"a": 1, "b": 2}'),)), "3"])
    response = running.run(persona(), "Hi!", tools=[add])
    assert response.text == "3"
    assert pickle.loads(pickle.dumps(response)) == copy.deepcopy(response) == response


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e999"])
def test_the_arguments_of_a_call_are_json(number: str) -> None:
    call = ToolCall("c1", "half", f'{{"of": {number}}}')
    running, upstream = runner([Response("", (call,)), "Sorry."])

    def half(of: float) -> float:
        return of / 2

    running.run(persona(), "Hi!", tools=[half])
    assert "arguments are not valid JSON: " in upstream.requests[1].messages[-1].text


def test_a_request_runs_as_it_is() -> None:
    running, upstream = runner()
    request = running.render(persona("You."), "Hi!").with_messages(Message("user", "And?"))
    assert running.run(persona("Another."), request).text == "Hello!"
    assert [m.text for m in upstream.requests[0].messages] == ["You.", "Hi!", "And?"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("timeout", [60, None])
@pytest.mark.parametrize("kind", ["def", "async def"])
def test_a_timeout_of_the_tool_itself_is_told_as_the_tool_told_it(
    mode: str, timeout: float | None, kind: str
) -> None:
    def fetch() -> str:
        raise TimeoutError("no connection within 2 s")

    async def afetch() -> str:
        return fetch()

    function = fetch if kind == "def" else afetch
    tool = Tool.of(function, name="fetch", timeout=timeout)
    running, upstream = runner([Response("", tool_calls=(ToolCall("1", "fetch"),)), "Sorry."])
    in_mode(mode, running, persona(), "Hi", tools=[tool])
    told = upstream.requests[1].messages[-1].text
    assert told == "error: TimeoutError: no connection within 2 s"


def test_a_tool_may_return_what_pydantic_makes_json_of() -> None:
    class Place(BaseModel):
        city: str

    @dataclass
    class Stay:
        place: Place
        since: date

    def stay() -> Stay:
        return Stay(Place(city="Orléans"), date(2026, 1, 2))

    # Its type cannot be looked up by name, which is nobody's business.
    def stays() -> list[Place | set[date]]:
        return [Place(city="Lyon"), {date(2026, 1, 2)}]

    def nothing() -> object:
        return object()

    calls = tuple(ToolCall(name, name) for name in ("stay", "stays", "nothing"))
    running, upstream = runner([Response("", tool_calls=calls), "Done."])
    running.run(persona(), "Hi", tools=[stay, stays, nothing])
    assert [message.text for message in upstream.requests[1].messages[-3:]] == [
        '{"place": {"city": "Orléans"}, "since": "2026-01-02"}',
        '[{"city": "Lyon"}, ["2026-01-02"]]',
        "error: TypeError: object cannot be converted to JSON",
    ]


def test_what_has_no_name_is_refused_as_a_tool() -> None:
    given = functools.partial(int, base=2)
    running, upstream = runner()
    with pytest.raises(ConfigError, match="cannot be a tool: wrap it in a function"):
        running.run(persona(), "Hi", tools=[given])
    assert upstream.requests == []


@pytest.mark.parametrize("mode", MODES)
def test_an_argument_may_be_called_as_pydantic_calls_its_own(mode: str) -> None:
    def look(schema: str, json: int, _hidden: str = "-", model_config: str = "m") -> str:
        return f"{schema} {json} {_hidden} {model_config}"

    given = '{"schema": "s", "json": 2, "_hidden": "h"}'
    calls = (ToolCall("1", "look", given), ToolCall("2", "look", '{"json": "x"}'))
    running, upstream = runner([Response("", tool_calls=calls), "Done."])
    in_mode(mode, running, persona(), "Hi", tools=[look])
    sent = upstream.requests[0].tools[0].parameters
    assert list(sent["properties"]) == ["schema", "json", "_hidden", "model_config"]
    good, bad = (message.text for message in upstream.requests[1].messages[-2:])
    assert good == "s 2 h m"
    assert "schema: Field required; json: Input should be a valid integer" in bad


def test_two_tools_of_one_name_are_refused() -> None:
    def look() -> str:
        return "one"

    running, upstream = runner()
    with pytest.raises(ConfigError, match="two functions named 'look'"):
        running.run(persona(), "Hi", tools=[look, Tool("look", lambda: "two")])
    assert upstream.requests == []
    assert len(running.prepare(persona(), "Hi", tools=[look, look]).tools) == 1
