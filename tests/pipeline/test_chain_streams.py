"""Streams through a chain."""

from __future__ import annotations

import asyncio
import collections
from collections.abc import Callable
from typing import Any

import pytest
from helpers.chain import (
    KINDS,
    Replace,
    changes_request,
    flows,
    in_modes,
    passes_on,
    plugin,
    replaces,
    sends_then_flows,
)

from personakit import (
    Blocked,
    Config,
    PluginError,
    Request,
    Response,
    Runner,
    Send,
    StreamStarted,
)
from personakit.testing import (
    Upstream,
    check_plugin,
    in_mode,
    persona,
    runner,
)

in_streams = pytest.mark.parametrize("mode", ["stream", "astream"])


# --- streams -----------------------------------------------------------------------------------


def read(mode: str, running: Runner) -> tuple[str, BaseException | None]:
    """Return what came out of a stream, and what ended it."""
    made: Any = running.stream if mode == "stream" else running.astream
    stream = made(persona(), "Hi!")

    async def read_async() -> None:
        async for _ in stream:
            pass

    try:
        asyncio.run(read_async()) if mode == "astream" else collections.deque(stream, maxlen=0)
    except Exception as error:
        return stream.text, error
    return stream.text, None


@in_streams
def test_a_hook_without_send_and_live_let_text_flow_and_send_holds_it(mode: str) -> None:
    def out_before_the_end(*plugins: Any) -> str:
        out = []

        async def watches(request: Request, send: Send) -> Response:
            response = await send.live(request, filter=Notes())
            out.append("the end")
            return response

        class Notes(Replace):
            def __init__(self) -> None:
                super().__init__("never", "")

            def feed(self, text: str) -> str:
                out.append(text)
                return super().feed(text)

        running, _ = runner(["abcdef"], plugins=[plugin(watches), *plugins], size=2)
        read(mode, running)
        return " ".join(out)

    assert out_before_the_end() == "ab cd ef the end"
    assert out_before_the_end(plugin(changes_request), plugin(flows)) == "ab cd ef the end"
    assert out_before_the_end(plugin(flows), plugin(passes_on)) == "abcdef the end"


@in_streams
def test_a_caller_gets_text_before_the_answer_has_ended(mode: str) -> None:
    upstream = Upstream(["abcdef"], size=1, fail_after=4)
    running = Runner(Config(model="test/x", path=()), plugins=[plugin(flows)], backend=upstream)
    text, error = read(mode, running)
    assert text == "abcd"
    assert isinstance(error, ConnectionError)


@in_streams
def test_a_guard_that_waits_cannot_be_bypassed_by_streaming(mode: str) -> None:
    async def guard(request: Request, send: Send) -> None:
        raise Blocked((await send(request)).text)

    plugins = [plugin(flows), plugin(guard), plugin(flows)]
    running, _ = runner(["secret"], plugins=plugins, size=1)
    text, error = read(mode, running)
    assert text == ""
    assert isinstance(error, Blocked)


async def flows_then_sends(request: Request, send: Send) -> Response:
    await send.live(request)
    return await send(request)


async def flows_then_flows(request: Request, send: Send) -> Response:
    await send.live(request)
    return await send.live(request, filter=Replace("a", "b"))


async def retries_live(request: Request, send: Send) -> Response:
    try:
        return await send.live(request)
    except ConnectionError:
        return await send.live(request)


@pytest.mark.parametrize("chat", [flows_then_sends, flows_then_flows])
@in_modes
def test_sending_again_after_text_went_out(mode: str, chat: Callable[..., Any]) -> None:
    running, upstream = runner(["one", "two"], plugins=[plugin(flows), plugin(chat)])
    if mode in ("run", "arun"):
        assert in_mode(mode, running, persona()).text == "two"
        return
    text, error = read(mode, running)
    assert text == "one"
    assert isinstance(error, StreamStarted)
    assert "plugin 'it' sent again in its chat hook after text had been emitted" in str(error)
    assert len(upstream.requests) == 1


@in_streams
def test_a_retry_may_flow_as_long_as_nothing_went_out(mode: str) -> None:
    running, _ = runner([ConnectionError(), "second"], plugins=[plugin(retries_live)])
    assert read(mode, running) == ("second", None)
    upstream = Upstream(["abcdef"], size=1, fail_after=2)
    broken = Runner(
        Config(model="test/x", path=()), plugins=[plugin(retries_live)], backend=upstream
    )
    text, error = read(mode, broken)
    assert (text, type(error)) == ("ab", StreamStarted)


@pytest.mark.parametrize("text", ["other", "", "Hell"])
@in_modes
def test_other_text_after_text_went_out(mode: str, text: str) -> None:
    async def changes(request: Request, send: Send) -> Response:
        return (await send.live(request)).replace(text=text)

    running, _ = runner(plugins=[plugin(flows), plugin(changes, "culprit")])
    if mode in ("run", "arun"):
        with pytest.raises(PluginError) as caught:
            in_mode(mode, running, persona())
        error: BaseException | None = caught.value
    else:
        went_out, error = read(mode, running)
        assert went_out == "Hello!"
    assert isinstance(error, PluginError)
    message = "plugin 'culprit' returned text from its chat hook that does not begin with the text "
    assert f"{message}already emitted" in str(error)
    assert error.plugin == "culprit"
    assert error.response is not None


class BreaksInFeed(Replace):
    def feed(self, text: str) -> str:
        raise ValueError("in the filter")


class BreaksInFlush(Replace):
    def flush(self) -> str:
        raise ValueError("in the filter")


class ReturnsNothing(Replace):
    def feed(self, text: str) -> Any:
        super().feed(text)


async def retries(request: Request, send: Send) -> Response:
    try:
        return await send.live(request)
    except Exception:
        return await send.live(request)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (BreaksInFeed, "ValueError: in the filter"),
        (BreaksInFlush, "ValueError: in the filter"),
        (ReturnsNothing, "its filter returned NoneType, expected str"),
    ],
)
@in_modes
def test_a_filter_that_fails_is_its_plugin_s_failure(
    mode: str, broken: type[Replace], message: str
) -> None:
    async def chat(request: Request, send: Send) -> Response:
        return await send.live(request, filter=broken("a", "b"))

    plugins = [flows, chat, replaces, retries]
    running, upstream = runner(plugins=[plugin(it, it.__name__) for it in plugins])
    with pytest.raises(PluginError, match=message) as caught:
        in_mode(mode, running, persona())
    assert caught.value.plugin == "chat"
    assert isinstance(caught.value.__cause__, ValueError | TypeError)
    assert len(upstream.requests) == 1  # an inner retry must not take it for the upstream's


@in_modes
def test_a_plugin_may_end_an_answer_that_broke_off(mode: str) -> None:
    async def ends(request: Request, send: Send) -> Response:
        flow = Keeps()
        try:
            return await send.live(request, filter=flow)
        except ConnectionError:
            return Response(flow.text + " [broken off]")

    class Keeps:
        text = ""

        def feed(self, text: str) -> str:
            self.text += text
            return text

        def flush(self) -> str:
            return ""

    upstream = Upstream(["abcdef"], size=1, fail_after=4)
    running = Runner(Config(model="test/x", path=()), plugins=[plugin(ends)], backend=upstream)
    partial = "abcd" if "stream" in mode else ""
    assert in_mode(mode, running, persona()).text == partial + " [broken off]"


@pytest.mark.parametrize("chat", [k for k in KINDS if k not in (None, sends_then_flows)])
def test_each_of_the_plugins_holds_by_the_check_for_authors(chat: Callable[..., Any]) -> None:
    check_plugin(plugin(chat), "Hi!", ["aab ab€"])
