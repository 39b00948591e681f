"""The state of a run: what the hooks of one plugin share, and nobody else sees."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from personakit import (
    Blocked,
    Event,
    PluginError,
    Request,
    Response,
    Send,
    SendTool,
    Tool,
    ToolCall,
    ToolResult,
    hookimpl,
)
from personakit.testing import MODES, in_mode, persona, runner

in_modes = pytest.mark.parametrize("mode", MODES)
LOOK = Tool.of(lambda: "seen", name="look", description="Look.")


@dataclass(eq=False)
class Limit:
    """Blocks the tool calls of a run beyond a number."""

    most: int = 3
    finished: list[int] = field(default_factory=list)

    @dataclass
    class State:
        calls: int = 0

    @hookimpl
    def chat(self, request: Request) -> Request:
        return request.with_tools(LOOK)

    @hookimpl
    async def tool(self, call: ToolCall, send: SendTool, state: State) -> ToolResult:
        state.calls += 1
        if state.calls > self.most:
            raise Blocked(f"more than {self.most} tool calls")
        return await send(call)

    @hookimpl
    def observe(self, event: Event, state: State) -> None:
        if event.name in ("finished", "failed"):
            self.finished.append(state.calls)


def calls(count: int) -> Response:
    return Response("", tuple(ToolCall(str(number), "look") for number in range(count)))


@in_modes
def test_parallel_tool_calls_of_all_rounds_share_it(mode: str) -> None:
    limit = Limit()
    running, _ = runner([calls(2), calls(1), "Done."], plugins=[limit])
    assert in_mode(mode, running, persona(), "?").text == "Done."
    running, _ = runner([calls(2), calls(2), "Done."], plugins=[limit])
    with pytest.raises(Blocked, match="more than 3 tool calls"):
        in_mode(mode, running, persona(), "?")
    assert limit.finished == [3, 4]


@in_modes
def test_each_run_and_each_instance_has_its_own(mode: str) -> None:
    one, two = Limit(), Limit()
    running, _ = runner([calls(2), "Done."] * 3, plugins=[one, two])
    for _ in range(3):
        in_mode(mode, running, persona(), "?")
    assert one.finished == two.finished == [2, 2, 2]


@in_modes
def test_a_run_inside_has_its_own(mode: str) -> None:
    seen: list[tuple[str, int]] = []

    class Counts:
        class State:
            def __init__(self) -> None:
                self.calls = 0

        @hookimpl
        def chat(self, request: Request, state: State) -> None:
            state.calls += 1
            seen.append((request.system, state.calls))

    class Asks:
        @hookimpl
        async def run(self, request: Request, send: Send) -> Response:
            await send.run(persona("Other."), "?")
            return await send.live(request)

    running, _ = runner(plugins=[Counts(), Asks()])
    in_mode(mode, running, persona(), "?")
    assert seen == [("Other.", 1), ("You are a test.", 1)]


@in_modes
def test_all_hooks_of_a_plugin_see_the_same(mode: str) -> None:
    class Notes:
        State = list

        @hookimpl
        async def run(self, request: Request, send: Send, state: list[str]) -> Response:
            state.append("run")
            response = await send.live(request)
            return response.replace(metadata={"notes": state})

        @hookimpl
        def chat(self, request: Request, state: list[str]) -> Request:
            state.append("chat")
            return request.with_tools(LOOK)

        @hookimpl
        def tool(self, state: list[str]) -> None:
            state.append("tool")

    running, _ = runner([calls(2), "Done."] * 2, plugins=[Notes()])
    for _ in range(2):
        response = in_mode(mode, running, persona(), "?")
        assert response.metadata["notes"] == ("run", "chat", "tool", "tool", "chat")


def test_a_tool_call_outside_of_a_run_has_one() -> None:
    running, _ = runner(plugins=[Limit(most=0)])
    with pytest.raises(Blocked):
        running.call_tool(persona(), ToolCall("1", "look"))


def test_the_argument_without_the_class_is_an_error() -> None:
    class Forgot:
        @hookimpl
        def chat(self, request: Request, state: Any) -> None: ...

    with pytest.raises(
        PluginError, match="names the argument `state`, but the plugin has no class `State`"
    ):
        runner(plugins=[Forgot()])[0].run(persona(), "?")


def test_a_class_that_cannot_be_made_is_an_error_of_the_plugin() -> None:
    class Needs:
        @dataclass
        class State:
            calls: int

        @hookimpl
        def chat(self, request: Request, state: State) -> None: ...

    with pytest.raises(PluginError, match=r"'Needs' failed in its chat hook: TypeError: .*calls"):
        runner(plugins=[Needs()])[0].run(persona(), "?")


def test_it_is_the_same_error_in_a_run_inside() -> None:
    class Every:
        every_call = True

        @dataclass
        class State:
            calls: int

        @hookimpl
        def chat(self, request: Request, state: State) -> None: ...

    class Asks:
        @hookimpl
        async def run(self, request: Request, send: Send) -> Response:
            return await send.run(persona("Other."), "?")

    with pytest.raises(PluginError, match=r"'Every' failed: its State cannot be made: TypeError"):
        runner(plugins=[Every(), Asks()])[0].run(persona(), "?")


def test_an_observer_whose_state_cannot_be_made_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    class Watches:
        @dataclass
        class State:
            calls: int

        @hookimpl
        def observe(self, event: Event, state: State) -> None: ...

    assert runner(plugins=[Watches()])[0].run(persona(), "?").text == "Hello!"
    assert "plugin 'Watches' failed in its observe hook" in caplog.text


def test_it_may_be_none() -> None:
    made = []

    class Nothing:
        @staticmethod
        def State() -> None:  # noqa: N802 - a function instead of a class
            made.append(1)

        @hookimpl
        def run(self, state: None) -> None: ...

        @hookimpl
        def chat(self, state: None) -> None: ...

    runner(plugins=[Nothing()])[0].run(persona(), "?")
    assert made == [1]
