"""Values that contain themselves, are nested too deep, or share their parts: one error for each."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest

from personakit import (
    ConfigError,
    Message,
    PersonakitError,
    PluginError,
    Request,
    Response,
    Runner,
    Send,
    Tool,
    ToolCall,
    UsageError,
    VariableError,
    hookimpl,
)
from personakit.persona import Variable
from personakit.testing import MODES, Reply, Server, in_mode, persona, runner


def cyclic_list() -> Any:
    value: list[Any] = [1]
    value.append(value)
    return value


def cyclic_mapping() -> Any:
    value: dict[str, Any] = {"a": 1}
    value["self"] = [value, value]
    return value


def deep_list() -> Any:
    value: list[Any] = []
    for _ in range(10_000):
        value = [value]
    return value


def deep_mapping() -> Any:
    value: dict[str, Any] = {}
    for _ in range(10_000):
        value = {"a": value}
    return value


def shared() -> Any:
    """Return a list of 60 levels with 2 ** 60 items."""
    value: Any = ["x"] * 100
    for _ in range(60):
        value = [value, value]
    return value


def deep_key() -> Any:
    key: Any = ()
    for _ in range(10_000):
        key = (key,)
    return {key: 1}


KINDS = [cyclic_list, cyclic_mapping, deep_list, deep_mapping, shared, deep_key]
TOO_DEEP = "nested more than 64 levels deep, or contains itself|nested items, or contains itself"
every_kind = pytest.mark.parametrize("make", KINDS)


@every_kind
@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("rule", [{}, {"enum": [[1], [2]]}])
def test_a_variable_is_named(make: Callable[[], Any], nested: bool, rule: dict[str, Any]) -> None:
    running, _ = runner()
    a = {"type": "array", "default": [1], **rule}
    b = {"type": "object", "default": {}}
    who = persona("{{ a }} {{ b }}", variables={"a": a, "b": b})
    value = [make()] if nested else make()
    for name in "ab":
        with pytest.raises(VariableError, match=f"variable '{name}'"):
            running.render(who, variables={name: value})
    with pytest.raises(VariableError, match=r"unknown variable 'c'"):
        running.render(who, variables={"c": value})


@every_kind
def test_a_value_of_another_type_is_shown_briefly(make: Callable[[], Any]) -> None:
    (fault,) = Variable("a", "string").faults(make())
    assert len(fault.message) < 150


@every_kind
@pytest.mark.parametrize("name", ["stop", "logit_bias", "response_format", "seed"])
def test_a_parameter_is_named(make: Callable[[], Any], name: str) -> None:
    running, _ = runner()
    value = make()
    values = [value, [value], {"type": "json_schema", "json_schema": value}]
    for one in values:
        with pytest.raises(UsageError, match=f"parameter '{name}'") as caught:
            running.run(persona(), "Hi", parameters={name: one})
        assert len(str(caught.value)) < 300


@every_kind
def test_fields_of_messages_and_requests_are_named(make: Callable[[], Any]) -> None:
    value = make()
    makers: dict[str, Callable[[], Any]] = {
        "Message.content": lambda: Message("user", [{"type": "text", "text": value}]),  # type: ignore[arg-type]
        "Message.items": lambda: Message("user", "Hi", items=({"a": value},)),
        "Request.parameters": lambda: Request("a/b").replace(parameters={"a": value}),
        "Request.variables": lambda: Request("a/b").replace(variables={"a": value}),
        "Response.metadata": lambda: Response("Hi").replace(metadata={"a": value}),
        "Response.raw": lambda: Response("Hi", raw={"a": value}),
        "tool 'f': parameters": lambda: Tool("f", str, "", {"a": value}),
    }
    for name, maker in makers.items():
        with pytest.raises(UsageError, match=f"{name} .*({TOO_DEEP})"):
            maker()


def wrap(request: Request) -> None:
    for _ in range(10_000):
        request = request.replace(parameters={"a": request.parameters})


def test_a_request_that_is_wrapped_again_and_again() -> None:
    request = Request("a/b")
    with pytest.raises(UsageError, match=r"Request\.parameters is nested more than 64 levels deep"):
        wrap(request)


@every_kind
@pytest.mark.parametrize("mode", MODES)
def test_a_plugin_is_named(make: Callable[[], Any], mode: str) -> None:
    class Deep:
        @hookimpl
        async def chat(self, request: Request, send: Send) -> Request:
            return request.replace(parameters={"extra_body": make()})

    running, _ = runner(plugins=[Deep()])
    with pytest.raises(PluginError, match=f"Deep.*Request.parameters.*({TOO_DEEP})"):
        in_mode(mode, running, persona(), "Hi")


@every_kind
def test_the_result_of_a_tool_is_an_error_for_the_model(make: Callable[[], Any]) -> None:
    def look() -> Any:
        """Look."""
        return make()

    call = Response("", tool_calls=(ToolCall("1", "look"),), finish_reason="tool_calls")
    running, _ = runner([call, "Done."])
    response = running.run(persona(), "Hi", tools=[look])
    assert response.text == "Done."
    assert "nested" in response.messages[1].text or "keys" in response.messages[1].text


@pytest.mark.parametrize("levels", [100, 900, 10_000])
def test_the_arguments_of_a_tool_are_an_error_for_the_model(levels: int) -> None:
    def look(at: list[Any]) -> str:
        """Look."""
        return "seen"

    arguments = f'{{"at": {"[" * levels}{"]" * levels}}}'
    call = Response("", tool_calls=(ToolCall("1", "look", arguments),), finish_reason="tool_calls")
    running, _ = runner([call, "Done."])
    response = running.run(persona(), "Hi", tools=[look])
    assert "the arguments are not valid JSON" in response.messages[1].text


@pytest.mark.parametrize("levels", [100, 900, 10_000])
@pytest.mark.parametrize("type_", ["string", "array", "object", "integer", "boolean"])
def test_a_text_from_the_command_line(levels: int, type_: str) -> None:
    running, _ = runner()
    who = persona("{{ a }}", variables={"a": {"type": type_, "required": True}})
    text = (
        "[" * levels + "]" * levels if type_ != "object" else '{"a":' * levels + "1" + "}" * levels
    )
    convert = who.variables["a"].convert
    if type_ == "string":
        assert running.render(who, variables={"a": convert(text)}).system == text
        return
    with pytest.raises(VariableError, match=r"^variable 'a'") as caught:
        running.render(who, variables={"a": convert(text)})
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("levels", [60, 200, 500, 900, 980, 10_000])
@pytest.mark.parametrize("mode", MODES)
def test_answers_with_deep_fields_end_in_text_or_one_error(levels: int, mode: str) -> None:
    lists, maps = "[" * levels + "]" * levels, '{"a":' * levels + "1" + "}" * levels
    for content in ('"Hi"', lists, maps):
        part = (
            f'{{"role":"assistant","content":{content},"extra":{lists},"reasoning_details":{maps}}}'
        )
        text = (
            f'{{"choices":[{{"index":0,"finish_reason":"stop","message":{part},"delta":{part}}}],'
            f'"more":{maps}}}'
        )
        stream = [f"data: {text}\n\n".encode()] * 3 + [b"data: [DONE]\n\n"]
        reply = Reply(b"".join(stream) if "stream" in mode else text.encode())
        with (
            Server([reply]) as server,
            Runner(server.config()) as running,
            contextlib.suppress(PersonakitError),
        ):
            in_mode(mode, running, persona(), "Hi")


def test_large_flat_values_are_no_fault() -> None:
    running, _ = runner()
    who = persona("{{ a | length }} {{ b | length }}", variables={
        "a": {"type": "array", "default": []}, "b": {"type": "array", "default": []}
    })  # fmt: skip
    rows = [{"name": str(number), "tags": ["a", "b"]} for number in range(20_000)]
    request = running.render(who, variables={"a": list(range(1_000_001)), "b": rows})
    assert request.messages[0].text == "1000001 20000"


def test_numbers_of_thousands_of_digits() -> None:
    running, _ = runner()
    number = 10**5000
    for type_ in ("string", "integer", "array"):
        who = persona("{{ a }}", variables={"a": {"type": type_, "required": True, "maximum": 9}})
        with pytest.raises(VariableError, match="variable 'a'"):
            running.render(who, variables={"a": number if type_ != "array" else [number] * 10})
    with pytest.raises(ConfigError, match="parameter 'seed'"):
        running.render(persona(), parameters={"seed": number})
