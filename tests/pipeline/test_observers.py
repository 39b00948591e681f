"""The observe hook: what it sees, in which order, and that it can harm nothing."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

import personakit
from personakit import Blocked, Event, Request, Response, Send, ToolCall, hookimpl
from personakit.persona import PluginUse
from personakit.testing import MODES, in_mode, persona, runner

in_modes = pytest.mark.parametrize("mode", MODES)


def plugin(**hooks: Callable[..., Any]) -> Any:
    return SimpleNamespace(**{name: hookimpl(hook) for name, hook in hooks.items()})


class Notes:
    """Keeps the events."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    @hookimpl
    def observe(self, event: Event) -> None:
        self.events.append(event)

    @property
    def names(self) -> list[str]:
        return [event.name for event in self.events]


class NotesLater(Notes):
    @hookimpl
    async def observe(self, event: Event) -> None:  # type: ignore[override]
        await personakit.sleep(0)
        self.events.append(event)


@pytest.mark.parametrize("kind", [Notes, NotesLater])
@in_modes
def test_the_events_of_a_run(mode: str, kind: type[Notes]) -> None:
    async def changes(request: Request, send: Send) -> Response:
        response = await send(request.with_system("More."))
        return response.replace(text="changed")

    notes = kind()
    running, _ = runner(plugins=[plugin(chat=changes), notes])
    response = in_mode(mode, running, persona(), "Hi!")
    started, sent, answered, finished = notes.events
    assert notes.names == ["started", "sent", "answered", "finished"]
    assert len({event.run for event in notes.events}) == 1
    assert {event.persona for event in notes.events} == {"test"}
    assert started.time <= sent.time <= answered.time <= finished.time
    assert started.request is not None
    assert started.request.system == "You are a test."
    assert sent.request == answered.request == finished.request == response.request
    assert sent.request is not None
    assert sent.request.system.endswith("More.")
    assert answered.response is not None
    assert answered.response.text == "Hello!"
    assert finished.response == response
    in_mode(mode, running, persona(), "Hi!")
    assert notes.events[-1].run != started.run


@in_modes
def test_the_events_of_a_run_that_fails(mode: str) -> None:
    away, notes = ConnectionError("away"), Notes()
    with pytest.raises(ConnectionError):
        in_mode(mode, runner([away], plugins=[notes])[0], persona())
    assert notes.names == ["started", "sent", "failed"]
    assert notes.events[-1].error is away


@in_modes
def test_the_events_of_a_run_that_a_plugin_refuses_or_answers(mode: str) -> None:
    def refuses() -> None:
        raise Blocked("no")

    notes = Notes()
    with pytest.raises(Blocked):
        in_mode(mode, runner(plugins=[plugin(chat=refuses), notes])[0], persona())
    in_mode(mode, runner(plugins=[plugin(chat=lambda: Response("x")), notes])[0], persona())
    assert notes.names == ["started", "failed", "started", "finished"]
    last = notes.events[-1]
    assert last.request is not None
    assert last.response is not None
    assert last.response.request == last.request


class Breaks:
    @hookimpl
    def chat(self) -> None:
        raise RuntimeError("mine")


@in_modes
def test_a_plugin_that_is_passed_over_is_an_event_and_logged(
    mode: str, install: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    install(breaks=Breaks)
    notes = Notes()
    running, _ = runner(plugins=[PluginUse("breaks", on_error="skip"), notes])
    in_mode(mode, running, persona())
    assert notes.names == ["started", "skipped", "sent", "answered", "finished"]
    assert notes.events[1].plugin == "breaks"
    assert isinstance(notes.events[1].error, RuntimeError)
    assert ("personakit", logging.WARNING) in {record[:2] for record in caplog.record_tuples}
    assert "'breaks' failed and was skipped: mine" in caplog.text


@pytest.mark.parametrize("is_async", [False, True])
@in_modes
def test_what_an_observer_raises_is_logged_and_dropped(
    mode: str, is_async: bool, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(event: Event) -> None:
        raise RuntimeError("of an observer")

    async def fails_later(event: Event) -> None:
        fails(event)

    notes = Notes()
    breaks = plugin(observe=fails_later if is_async else fails)
    running, _ = runner(plugins=[breaks, notes])
    assert in_mode(mode, running, persona()).text == "Hello!"
    assert len(notes.names) == 4
    assert {record.name for record in caplog.records} == {"personakit"}
    assert caplog.text.count("RuntimeError: of an observer") == 4


@in_modes
def test_nothing_that_an_observer_returns_counts(mode: str) -> None:
    running, _ = runner(plugins=[plugin(observe=lambda event: Response("mine"))])
    assert in_mode(mode, running, persona()).text == "Hello!"


def test_an_abandoned_stream_is_a_failed_run() -> None:
    notes = Notes()
    running, _ = runner(plugins=[notes], size=1)
    with running.stream(persona()) as stream:
        next(stream)
    assert notes.names == ["started", "sent", "failed"]
    assert isinstance(notes.events[-1].error, GeneratorExit)

    async def main() -> None:
        async with running.astream(persona()) as stream:
            await anext(stream)

    asyncio.run(main())
    assert notes.names[3:] == ["started", "sent", "failed"]
    assert isinstance(notes.events[-1].error, asyncio.CancelledError)


def test_prepare_is_no_run_to_observe() -> None:
    notes = Notes()
    runner(plugins=[notes])[0].prepare(persona())
    assert notes.names == []


class Tools:
    @staticmethod
    @hookimpl
    def setup(registry: personakit.Registry) -> None:
        registry.tool(double)


def double(number: int) -> int:
    return 2 * number


def test_a_tool_call_is_an_event(install: Callable[..., None]) -> None:
    install(tools=Tools)
    notes, call = Notes(), ToolCall("1", "double", '{"number": 4}')
    result = runner(plugins=[notes])[0].call_tool(persona(), call)
    assert result.content == "8"
    assert [(e.name, e.call, e.result) for e in notes.events] == [
        ("calling", call, None),
        ("tool", call, result),
    ]


@pytest.mark.parametrize("mode", ["run", "arun"])
def test_a_whole_answer_has_no_first_text(mode: str) -> None:
    timings = in_mode(mode, runner()[0], persona()).timings
    assert timings is not None
    assert timings.first_text is None
    assert timings.total >= 0


@pytest.mark.parametrize("mode", ["stream", "astream"])
def test_the_timings_of_a_stream(mode: str) -> None:
    flowed = []

    async def adds(request: Request, send: Send) -> Response:
        response = await send.live(request)
        flowed.append(time.perf_counter())
        await personakit.sleep(0.05)
        return response.replace(text=response.text + " Bye!")

    running, _ = runner(plugins=[plugin(chat=adds)])
    in_mode(mode, running, persona())  # whatever is imported is imported now
    begun = time.perf_counter()
    timings = in_mode(mode, running, persona()).timings
    assert timings is not None
    assert timings.first_text is not None
    assert 0 <= timings.first_text <= flowed[1] - begun
    assert timings.first_text < timings.total
