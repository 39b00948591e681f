"""A filter that is slow stops at the deadline, whole or streamed."""

from __future__ import annotations

import time
from typing import Any

import pytest

from personakit import Request, Response, Send, Timeout, hookimpl, time_left
from personakit.testing import MODES, in_mode, persona, runner


class Slow:
    """A filter that takes a time for each piece."""

    def __init__(self, sizes: list[int], seconds: float) -> None:
        self.sizes = sizes
        self.seconds = seconds

    def feed(self, text: str) -> str:
        self.sizes.append(len(text))
        time.sleep(self.seconds)
        return text

    def flush(self) -> str:
        return ""


class Plugin:
    def __init__(self, seconds: float = 0) -> None:
        self.sizes: list[int] = []
        self.seconds = seconds

    @hookimpl
    async def chat(self, request: Request, send: Send) -> Response:
        return await send.live(request, filter=Slow(self.sizes, self.seconds))


@pytest.mark.parametrize("mode", MODES)
def test_a_slow_filter_stops_at_the_deadline(mode: str) -> None:
    plugin = Plugin(0.01)
    running, _ = runner(["x" * 1_000_000], plugins=[plugin])
    with pytest.raises(Timeout, match=r"the run's deadline of 0\.2 s has passed"):
        in_mode(mode, running, persona(), "Hi", deadline=0.2)
    assert max(plugin.sizes) <= 16_384
    assert len(plugin.sizes) < 100


@pytest.mark.parametrize("mode", MODES)
def test_a_long_answer_comes_through_a_filter_whole(mode: str) -> None:
    answer = "".join(map(str, range(10_000)))
    running, _ = runner([answer], plugins=[Plugin()])
    assert in_mode(mode, running, persona(), "Hi").text == answer


@pytest.mark.parametrize("mode", MODES)
def test_a_hook_that_computes_can_stop_at_the_deadline(mode: str) -> None:
    class Computes:
        @hookimpl
        def chat(self, request: Request) -> Any:
            assert 0 < (time_left() or 0) <= 0.05
            while True:
                time_left()

    running, upstream = runner(["x"], plugins=[Computes()])
    with pytest.raises(Timeout, match="increase `deadline`"):
        in_mode(mode, running, persona(), "Hi", deadline=0.05)
    assert upstream.requests == []


def test_without_a_deadline_there_is_no_limit() -> None:
    assert time_left() is None


class Again:
    """Sends the request, or runs another persona, without end."""

    def __init__(self, *, nested: bool) -> None:
        self.nested = nested

    @hookimpl
    async def chat(self, request: Request, send: Send) -> Response:
        while True:
            await (send.run(persona(), "Hi") if self.nested else send(request))


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("mode", MODES)
def test_a_hook_that_sends_without_end_stops(mode: str, nested: bool) -> None:
    running, _ = runner(plugins=[Again(nested=nested)])
    with pytest.raises(Timeout, match="increase `deadline`"):
        in_mode(mode, running, persona(), "Hi", deadline=0.2)
