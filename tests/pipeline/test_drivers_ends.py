"""How runs end that somebody leaves, and what other loops and threads do to them."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Iterable,
    Iterator,
)
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any

import pytest
from helpers.drivers import in_sync_modes, plugin, read, slow

import personakit
from personakit import (
    Config,
    PersonakitError,
    Request,
    Response,
    Runner,
    Send,
    hookimpl,
)
from personakit.testing import Upstream, in_mode, persona, runner


@in_sync_modes
def test_a_sync_plugin_may_start_a_loop_of_its_own(mode: str) -> None:
    def which(request: Request) -> Any:
        return personakit.io(lambda: Response("sync"), in_loop)()

    async def in_loop() -> Response:
        await asyncio.sleep(0)
        return Response("async")

    def asks(request: Request) -> Response:
        return asyncio.run(other.arun(persona()))

    other, _ = runner(plugins=[plugin(which)])
    assert in_mode(mode, runner(plugins=[plugin(asks)])[0], persona()).text == "async"
    assert in_mode(mode, other, persona()).text == "sync"


# --- the end of a run before its time ----------------------------------------------------------


class Cleans:
    """Notes how a run ended, after an await in its `finally`."""

    def __init__(self) -> None:
        self.ended: list[str] = []

    @hookimpl
    async def chat(self, request: Request, send: Send) -> Response:
        try:
            return await send.live(request)
        except BaseException as error:
            self.ended.append(type(error).__name__)
            raise
        finally:
            await personakit.sleep(0)
            self.ended.append("clean")


def test_cancelling_an_arun_lets_finally_blocks_await() -> None:
    async def main() -> None:
        cleans = Cleans()
        running, upstream = slow(cleans)
        task = asyncio.create_task(running.arun(persona()))
        await upstream.reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert cleans.ended == ["CancelledError", "clean"]
        assert upstream.left == 1

    asyncio.run(main())


def test_cancelling_the_reader_of_an_astream_ends_the_request() -> None:
    async def main() -> None:
        cleans = Cleans()
        running, upstream = slow(cleans)
        stream = running.astream(persona())
        task = asyncio.create_task(read(stream))
        await upstream.reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert stream.text == "ab"
        assert cleans.ended == ["CancelledError", "clean"]
        assert upstream.left == 1

    asyncio.run(main())


def test_a_cancelled_run_leaves_no_send_behind(recwarn: pytest.WarningsRecorder) -> None:
    async def two(request: Request, send: Send) -> Response:
        first, second = send(request), send(request)
        await first
        return await second

    async def main() -> None:
        running, upstream = slow(plugin(two))
        task = asyncio.create_task(running.arun(persona()))
        await upstream.reached.wait()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    asyncio.run(main())
    gc.collect()
    assert not recwarn.list


@pytest.mark.parametrize("way", ["aclose", "with", "drop"])
def test_leaving_an_astream_early_ends_the_request(way: str) -> None:
    async def main() -> None:
        cleans = Cleans()
        running, upstream = slow(cleans)
        stream = running.astream(persona())
        async with contextlib.AsyncExitStack() as stack:
            if way == "with":
                assert await stack.enter_async_context(stream) is stream
            async for piece in stream:
                assert piece == "ab"
                break
            if way == "aclose":
                await stream.aclose()
        del stream
        async with asyncio.timeout(30):
            while way == "drop" and "clean" not in cleans.ended:
                await asyncio.sleep(0)
        assert upstream.left == 1
        assert cleans.ended == ["CancelledError", "clean"]

    asyncio.run(main())


def test_a_plugin_may_answer_when_the_caller_has_left() -> None:
    async def insists(request: Request, send: Send) -> Response:
        try:
            return await send.live(request)
        except asyncio.CancelledError:
            return Response("abc")

    async def main() -> None:
        running, upstream = slow(plugin(insists))
        async with running.astream(persona()) as stream:
            assert await anext(stream) == "ab"
        assert upstream.left == 1
        assert stream.text == "ab"

    asyncio.run(main())


def test_whoever_closes_a_stream_can_be_cancelled_too() -> None:
    async def never_ends(request: Request, send: Send) -> Response:
        try:
            return await send.live(request)
        finally:
            closing.set()
            await asyncio.Event().wait()

    async def main() -> None:
        running, _ = slow(plugin(never_ends))
        stream = running.astream(persona())
        await anext(stream)
        task = asyncio.create_task(stream.aclose())
        await closing.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    closing = asyncio.Event()
    asyncio.run(main())


@pytest.mark.parametrize("way", ["close", "with", "drop"])
def test_leaving_a_stream_early_ends_the_request(way: str) -> None:
    cleans = Cleans()
    running, _ = runner(plugins=[cleans], size=1)
    stream = running.stream(persona())
    with contextlib.ExitStack() as stack:
        if way == "with":
            assert stack.enter_context(stream) is stream
        assert next(stream) == "H"
        if way == "close":
            stream.close()
    assert stream.text == "H"
    del stream
    assert cleans.ended == ["GeneratorExit", "clean"]


def test_a_stream_that_is_closed_stays_closed_and_has_no_response() -> None:
    stream = runner(size=1)[0].stream(persona())
    next(stream)
    stream.close()
    stream.close()
    assert list(stream) == []
    with pytest.raises(PersonakitError, match="has not ended"):
        _ = stream.response


def test_a_stream_that_nobody_reads_sends_nothing(recwarn: pytest.WarningsRecorder) -> None:
    running, upstream = runner()
    running.stream(persona()).close()
    asyncio.run(running.astream(persona()).aclose())
    running.astream(persona())
    gc.collect()
    assert upstream.requests == []
    assert not recwarn.list


def test_the_response_is_there_when_the_stream_has_ended_and_not_before() -> None:
    stream = runner(size=3)[0].stream(persona())
    for _ in stream:
        with pytest.raises(PersonakitError, match="has not ended; read it to the end"):
            _ = stream.response
    assert stream.response.text == stream.text == "Hello!"


def test_a_stream_is_read_the_way_it_was_made() -> None:
    running, _ = runner()
    made: list[Any] = [running.stream(persona()), running.conversation(persona()).stream()]
    amade: list[Any] = [running.astream(persona()), running.conversation(persona()).astream()]
    for stream, astream in zip(made, amade, strict=True):
        for each in (stream, stream.pieces()):
            assert isinstance(each, Iterator)
            assert not isinstance(each, AsyncIterable | AbstractAsyncContextManager)
        for aeach in (astream, astream.pieces()):
            assert isinstance(aeach, AsyncIterator)
            assert not isinstance(aeach, Iterable | AbstractContextManager)
        assert isinstance(stream, AbstractContextManager)
        assert isinstance(astream, AbstractAsyncContextManager)
        assert (hasattr(stream, "aclose"), hasattr(astream, "close")) == (False, False)


@pytest.mark.parametrize("fail_after", [0, 3])
def test_the_upstream_is_told_of_nothing_after_an_error(fail_after: int) -> None:
    upstream = Upstream(["abcdef"], size=1, fail_after=fail_after)
    stream = Runner(Config(model="test/x", path=()), backend=upstream).stream(persona())
    with pytest.raises(ConnectionError):
        for _ in stream:
            pass
    assert list(stream) == []
    assert stream.text == "abcdef"[:fail_after]
