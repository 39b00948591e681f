"""`send.status`, and the events before a tool or a model is called."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from personakit import (
    Event,
    PluginError,
    Request,
    Response,
    Send,
    SendTool,
    ToolCall,
    ToolResult,
    hookimpl,
)
from personakit.testing import MODES, check_plugin, in_mode, persona, runner

in_modes = pytest.mark.parametrize("mode", MODES)
other = persona("You search.", name="other")


class Seen:
    """Keeps the names and texts of events."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    @hookimpl
    def observe(self, event: Event) -> None:
        self.events.append(event)

    @property
    def names(self) -> list[str]:
        return [event.text or event.name for event in self.events]


class Searches:
    @hookimpl
    async def chat(self, request: Request, send: Send) -> Response:
        await send.status("searching…")
        response = await send.live(request)
        await send.status("checking…")
        return response


def double(number: int) -> int:
    """Return the number doubled."""
    return 2 * number


@in_modes
def test_a_status_is_an_event_and_no_output(mode: str) -> None:
    seen = Seen()
    response = in_mode(mode, runner(plugins=[seen, Searches()])[0], persona())
    assert response.text == "Hello!"
    assert seen.names == "started searching… sent answered checking… finished".split()
    status = seen.events[1]
    assert (status.name, status.persona, status.run) == ("status", "test", seen.events[0].run)
    assert status.time >= seen.events[0].time


def test_it_costs_no_mode_anything() -> None:
    assert check_plugin(Searches).text == "Hello!"


class Before:
    """Sends after a status, which must not count as started."""

    @hookimpl
    async def tool(self, call: ToolCall, send: SendTool) -> ToolResult:
        await send.status(f"looking up {call.arguments}")
        return await send(call)


@in_modes
def test_the_events_of_tool_calls(mode: str) -> None:
    seen, call = Seen(), ToolCall("1", "double", '{"number": 4}')
    answers: list[Any] = [Response("", tool_calls=(call,)), "8"]
    running, _ = runner(answers, plugins=[seen, Before()])
    in_mode(mode, running, persona(), tools=[double])
    calling = 'started sent answered calling|looking up {"number": 4}|tool sent answered finished'
    assert seen.names == [
        name for part in calling.split("|") for name in ([part] if "{" in part else part.split())
    ]
    begun = next(event for event in seen.events if event.name == "calling")
    assert (begun.call, begun.result) == (call, None)


@in_modes
def test_a_status_of_a_sub_run_reaches_the_runs_around_it_once(mode: str) -> None:
    outer, both = Seen(), Seen()

    class Asks:
        @hookimpl
        async def chat(self, request: Request, send: Send, persona: Any) -> Response | None:
            if persona.name != "other":
                await send.run(other, "?")
                return await send.live(request)
            return None

    class Inner(Searches):
        @hookimpl
        async def chat(self, request: Request, send: Send, persona: Any) -> Any:  # type: ignore[override]
            return await super().chat(request, send) if persona.name == "other" else None

    class Outer(Seen):
        """Has a hook, so that it is not in the run that it starts."""

        @hookimpl
        async def chat(self, request: Request, send: Send, persona: Any) -> Any:
            if persona.name != "other":
                await send.run(other, "?")

        @hookimpl
        def observe(self, event: Event) -> None:
            outer.events.append(event)

    running, _ = runner(plugins=[Outer(), both, Inner()])
    in_mode(mode, running, persona())
    assert outer.names == "started searching… checking… sent answered finished".split()
    assert both.names.count("searching…") == 1
    assert {event.persona for event in outer.events} == {"test"}
    assert next(e for e in both.events if e.name == "status").persona == "other"


@in_modes
def test_a_status_must_be_text(mode: str) -> None:
    class Wrong:
        @hookimpl
        async def chat(self, send: Send) -> None:
            await send.status(5)  # type: ignore[arg-type]

    with pytest.raises(PluginError, match=r"called send\.status\(\) with int, expected str"):
        in_mode(mode, runner(plugins=[Wrong()])[0], persona())


def test_nothing_is_observed_in_a_dry_run() -> None:
    seen = Seen()
    runner(plugins=[seen, Searches()])[0].prepare(persona())
    assert seen.events == []


def test_without_observers_a_status_is_dropped() -> None:
    plain = SimpleNamespace(chat=Searches().chat)
    assert runner(plugins=[plain])[0].run(persona()).text == "Hello!"
