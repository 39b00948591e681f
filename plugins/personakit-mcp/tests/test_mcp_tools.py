"""Personas as tools, with the client of `mcp` in both versions."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest
from mcp import MCPError
from serving_clients import COOK, MODES, PLAN, connected, library, process, run

from personakit import hookimpl
from personakit.testing import Reply, Server, runner

pytestmark = pytest.mark.parametrize("mode", MODES)
SHAPE = """\
system: You count.
output:
  type: object
  properties: {count: {type: integer}}
  required: [count]
  additionalProperties: false
"""
KEY = "sk-abcdefghij0123456789"


def test_there_are_tools_only_if_they_are_named(mode: str, tmp_path: Path) -> None:
    async def work() -> Any:
        async with connected(running, mode) as client:
            assert client.server_capabilities.tools is None
            with pytest.raises(MCPError):
                await client.call_tool("cook", {"tone": "kind", "input": "x"})

    running, upstream = runner(path=[library(tmp_path, cook=COOK)])
    run(work)
    assert upstream.requests == []


def test_a_tool_has_the_schema_of_the_variables(mode: str, tmp_path: Path) -> None:
    async def work() -> Any:
        async with connected(running, mode, tools=("cook", "shape", "hand")) as client:
            return {tool.name: tool for tool in (await client.list_tools()).tools}

    hand = "system: Hi!\ntools: [read_text]\n"
    running, _ = runner(path=[library(tmp_path, cook=COOK, shape=SHAPE, hand=hand, plan=PLAN)])
    tools = run(work)
    assert sorted(tools) == ["cook", "hand", "shape"]
    schema = tools["cook"].input_schema
    assert list(schema["properties"]) == ["tone", "guests", "vegan", "input"]
    assert schema["properties"]["tone"]["enum"] == ["kind", "rude", "formal"]
    assert schema["properties"]["guests"] == {
        "type": "integer",
        "minimum": 1,
        "maximum": 20,
        "default": 4,
        "description": "How many eat.",
    }
    assert schema["required"] == ["tone", "input"]
    assert schema["additionalProperties"] is False
    assert tools["cook"].output_schema is None
    assert tools["shape"].output_schema["properties"] == {"count": {"type": "integer"}}
    hints = {name: tool.annotations for name, tool in tools.items()}
    assert [hints[name].read_only_hint for name in ("cook", "hand")] == [True, False]
    assert all(each.open_world_hint for each in hints.values())


def test_a_call_runs_the_persona(mode: str, tmp_path: Path) -> None:
    async def work() -> Any:
        async with connected(running, mode, tools=("cook",)) as client:
            return await client.call_tool("cook", {"tone": "rude", "guests": 2, "input": "soup"})

    running, upstream = runner(["Boil it."], path=[library(tmp_path, cook=COOK)])
    result = run(work)
    assert (result.is_error, result.content[0].text) == (False, "Boil it.")
    texts = [message.text for message in upstream.requests[0].messages]
    assert texts == [
        "You cook for 2 guests in a rude tone.",
        "Hi!",
        "Hello!",
        "Cook: soup",
    ]


def test_an_answer_with_a_schema_is_structured(mode: str, tmp_path: Path) -> None:
    async def work() -> Any:
        async with connected(running, mode, tools=("shape",)) as client:
            first = await client.call_tool("shape", {"input": "one, two"})
            return first, await client.call_tool("shape", {"input": "one, two"})

    running, _ = runner(['{"count": 2}', "Two."], path=[library(tmp_path, shape=SHAPE)])
    good, bad = run(work)
    assert good.structured_content == {"count": 2}
    assert good.content[0].text == '{"count": 2}'
    assert bad.is_error
    assert "does not match the output" in bad.content[0].text


def test_an_answer_that_is_no_object_is_structured_where_the_version_has_it(
    mode: str, tmp_path: Path
) -> None:
    async def work() -> Any:
        async with connected(running, mode, tools=("names",)) as client:
            (tool,) = (await client.list_tools()).tools
            return tool, await client.call_tool("names", {"input": "x"})

    text = "system: You list names.\noutput: {type: array, items: {type: string}}\n"
    running, _ = runner(['["Ann"]'], path=[library(tmp_path, names=text)])
    tool, result = run(work)
    assert (result.is_error, result.content[0].text) == (False, '["Ann"]')
    if mode == "legacy":
        assert (tool.output_schema, result.structured_content) == (None, None)
    else:
        assert tool.output_schema["type"] == "array"
        assert result.structured_content == ["Ann"]


def test_a_pattern_that_javascript_lacks_is_left_to_the_server(mode: str, tmp_path: Path) -> None:
    async def work() -> Any:
        async with connected(running, mode, tools=("codes",)) as client:
            (tool,) = (await client.list_tools()).tools
            given = {"first": "x1", "second": "1", "input": "x"}
            return tool.input_schema["properties"], await client.call_tool("codes", given)

    text = """\
system: "{{ first }} {{ second }}"
variables:
  first: {pattern: "^(?i)X[0-9]$"}
  second: {pattern: "^(?:a|b)[0-9]$"}
"""
    running, _ = runner(path=[library(tmp_path, codes=text)])
    schema, result = run(work)
    assert "pattern" not in schema["first"]
    assert schema["second"]["pattern"] == "^(?:a|b)[0-9]$"
    assert "argument 'second': '1' does not match the pattern" in result.content[0].text
    assert "'first'" not in result.content[0].text


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"days": 3, "input": "x"}, "argument 'who' is required: Who travels"),
        ({"who": "Ann", "days": None, "input": "x"}, "argument 'days' is required"),
        ({"who": "Ann", "days": 3}, "argument 'input' is required"),
        (
            {"who": "Ann", "days": "3", "input": "x"},
            "argument 'days': expected an integer, found a string '3'; write 3 without quotes",
        ),
        ({"who": {"a": [1]}, "days": 3, "input": "x"}, "argument 'who': expected a string"),
        ({"who": "Ann", "days": 10**400, "input": "x"}, "argument 'days': it is 1000"),
        ({"who": "Ann", "days": 3, "input": 4}, "argument 'input': expected a string, found int"),
        ({"who": "Ann", "days": 3, "input": "x", "whom": 1}, "unknown argument 'whom'"),
        ({"who": "A" * 5_000_000, "days": 3, "input": "x"}, "more than 4,000,000 characters"),
    ],
)
def test_a_wrong_argument_is_told_to_the_model_before_anything_is_sent(
    mode: str, tmp_path: Path, given: dict[str, Any], message: str
) -> None:
    async def work() -> Any:
        async with connected(running, mode, tools=("plan",)) as client:
            return await client.call_tool("plan", given)

    running, upstream = runner(path=[library(tmp_path, plan=PLAN)])
    result = run(work)
    assert result.is_error
    assert message in result.content[0].text
    assert upstream.requests == []


def test_a_run_that_fails_is_an_error_without_keys_and_folders(mode: str, tmp_path: Path) -> None:
    async def work() -> Any:
        async with connected(running, mode, tools=("cook",)) as client:
            return await client.call_tool("cook", {"tone": "rude", "input": "soup"})

    class Fails:
        @hookimpl
        def chat(self) -> None:
            raise RuntimeError(f"the key {KEY} in {tmp_path}/keys.txt is wrong")

    running, _ = runner(plugins=[Fails()], path=[library(tmp_path, cook=COOK)])
    result = run(work)
    assert result.is_error
    assert "keys.txt is wrong" in result.content[0].text
    assert KEY not in result.content[0].text
    assert str(tmp_path) not in result.content[0].text


def test_a_plugin_whose_task_was_cancelled_does_not_end_the_connection(
    mode: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Waits:
        @hookimpl
        async def chat(self) -> None:
            task = asyncio.ensure_future(asyncio.sleep(60))
            task.cancel()
            await task

    async def work() -> None:
        async with connected(running, mode, tools=("cook",)) as client:
            with pytest.raises(MCPError, match="its log has the reason"):
                await client.call_tool("cook", {"tone": "rude", "input": "soup"})
            assert [each.name for each in (await client.list_tools()).tools] == ["cook"]

    running, _ = runner(plugins=[Waits()], path=[library(tmp_path, cook=COOK)])
    run(work)
    assert "tools/call failed" in caplog.text


@pytest.mark.parametrize("status", [400, 500])
def test_a_run_that_fails_is_told_without_options_of_the_command_line(
    mode: str, status: int, tmp_path: Path
) -> None:
    body = json.dumps({"error": {"message": "No."}}).encode()
    with Server([Reply(body, status=status)] * 9) as upstream:
        folder = library(tmp_path, plan=PLAN)
        options: dict[str, Any] = {"environ": upstream.environ(), "is_new": mode == MODES[0]}
        with process(folder, "--tools", "plan", **options) as client:
            arguments = {"who": "Ann", "days": 3, "input": "Go!"}
            client.ask("tools/call", {"name": "plan", "arguments": arguments})
            message = client.read()["result"]["content"][0]["text"]
    assert f"status {status}: No" in message
    assert " -m" not in message
    assert "--" not in message


def test_one_tool_asks_any_of_the_named_personas(mode: str, tmp_path: Path) -> None:
    async def work() -> Any:
        offer: dict[str, Any] = {"tools": ("plan", "cook"), "one_tool": True}
        async with connected(running, mode, **offer) as client:
            tools = (await client.list_tools()).tools
            variables = {"who": "Ann", "days": 3}
            given = {"persona": "plan", "input": "Go!", "variables": variables}
            result = await client.call_tool("ask", given)
            wrong = await client.call_tool("ask", {"persona": "plan", "variables": {"days": 3}})
            with pytest.raises(MCPError, match="unknown tool 'plan'"):
                await client.call_tool("plan", {"input": "x"})
            return tools, result, wrong

    folder = library(tmp_path, plan=PLAN, cook=COOK, shape=SHAPE)
    running, _ = runner(["We go."], path=[folder])
    (tool,), result, wrong = run(work)
    assert tool.name == "ask"
    assert tool.input_schema["properties"]["persona"]["enum"] == ["cook", "plan"]
    assert "- cook: Cooks for guests." in tool.description
    assert result.content[0].text == "We go."
    assert "argument 'who' is required" in wrong.content[0].text


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"persona": "paln"}, "no persona 'paln'; did you mean 'plan'? (known: cook, plan)"),
        ({"persona": "shape"}, "no persona 'shape' (known: cook, plan)"),
        ({"persona": 3}, "no persona '3' (known: cook, plan)"),
        ({}, "argument 'persona' is required (known: cook, plan)"),
        ({"persona": "plan", "days": 3}, "unknown argument 'days'"),
        ({"persona": "plan", "variables": "days: 3"}, "expected an object, found str"),
        ({"persona": "plan", "variables": {"input": "x"}}, "write 'input' beside it"),
        ({"persona": "cook", "variables": {"tone": "kid"}}, "one of kind, rude, formal"),
        ({"persona": "cook", "variables": {"tone": "kind", "guests": 99}}, "argument 'guests'"),
        ({"persona": "cook", "variables": {"tone": "kind", "x": "\ud800"}}, "unknown argument 'x'"),
    ],
)
def test_the_model_is_told_what_is_wrong_with_a_call(
    mode: str, tmp_path: Path, given: dict[str, Any], message: str
) -> None:
    async def work() -> Any:
        offer: dict[str, Any] = {"tools": ("plan", "cook"), "one_tool": True}
        async with connected(running, mode, **offer) as client:
            return await client.call_tool("ask", {"input": "x", **given})

    folder = library(tmp_path, plan=PLAN, cook=COOK, shape=SHAPE)
    running, upstream = runner(path=[folder])
    result = run(work)
    assert result.is_error
    assert message in result.content[0].text
    assert upstream.requests == []


def test_100_calls_do_not_wait_for_each_other(mode: str, tmp_path: Path) -> None:
    async def work() -> Any:
        async with connected(running, mode, tools=("plan",)) as client:
            given = {"who": "Ann", "days": 3, "input": "x"}
            await client.call_tool("plan", given)
            started = time.monotonic()
            calls = (client.call_tool("plan", given) for _ in range(100))
            results = await asyncio.gather(*calls)
            return time.monotonic() - started, results

    class Slow:
        @hookimpl
        async def chat(self) -> None:
            await asyncio.sleep(0.5)

    running, _ = runner(["Go."], plugins=[Slow()], path=[library(tmp_path, plan=PLAN)])
    seconds, results = run(work)
    assert [each.content[0].text for each in results] == ["Go."] * 100
    # One after the other would take 50 s.
    assert seconds < 10


def test_a_caller_uses_only_what_it_may(mode: str, tmp_path: Path) -> None:
    from personakit_mcp.serving import Caller

    class Guest(Caller):
        def allows(self, persona: str) -> bool:
            return persona == "plan"

    async def work() -> None:
        offer: dict[str, Any] = {"tools": ("*",), "caller": lambda ctx: Guest()}
        async with connected(running, mode, **offer) as client:
            assert [each.name for each in (await client.list_prompts()).prompts] == ["plan"]
            assert [each.name for each in (await client.list_tools()).tools] == ["plan"]
            assert len((await client.list_resources()).resources) == 2
            with pytest.raises(MCPError, match="unknown prompt 'cook'"):
                await client.get_prompt("cook", {"tone": "kind", "input": "x"})
            with pytest.raises(MCPError, match="unknown resource"):
                await client.read_resource("persona://cook")
            with pytest.raises(MCPError, match="unknown tool 'cook'"):
                await client.call_tool("cook", {"tone": "kind", "input": "x"})

    running, upstream = runner(path=[library(tmp_path, plan=PLAN, cook=COOK)])
    run(work)
    assert upstream.requests == []
