"""The drivers: waiting, contexts, cancellation and streams, in the sync and in the async API."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from types import SimpleNamespace
from typing import Any

import pytest

import personakit
from personakit import (
    Config,
    PersonakitError,
    PluginError,
    Request,
    Response,
    Runner,
    Send,
    StreamStarted,
    hookimpl,
)
from personakit.base import Emit
from personakit.testing import MODES, Upstream, in_mode, persona, runner

in_modes = pytest.mark.parametrize("mode", MODES)
in_sync_modes = pytest.mark.parametrize("mode", ["run", "stream"])
in_async_modes = pytest.mark.parametrize("mode", ["arun", "astream"])


def plugin(chat: Callable[..., Any], name: str = "it") -> Any:
    return SimpleNamespace(__name__=name, chat=hookimpl(chat))


# --- io and sleep ------------------------------------------------------------------------------


@in_modes
def test_io_calls_the_function_of_the_mode(mode: str) -> None:
    def sync(word: str, *, end: str) -> str:
        return f"sync {word}{end} in {threading.current_thread().name}"

    async def later(word: str, *, end: str) -> str:
        await asyncio.sleep(0)
        return f"async {word}{end}"

    async def chat(request: Request) -> Response:
        await personakit.sleep(0)
        return Response(await personakit.io(sync, later)("read", end="!"))

    text = in_mode(mode, runner(plugins=[plugin(chat)])[0], persona()).text
    assert text == ("sync read! in MainThread" if mode in ("run", "stream") else "async read!")


@in_modes
def test_io_without_an_async_function_runs_in_a_thread_of_the_async_api(mode: str) -> None:
    async def chat(request: Request) -> Response:
        current = await personakit.io(threading.current_thread)()
        return Response("same" if current is threading.main_thread() else "other")

    text = in_mode(mode, runner(plugins=[plugin(chat)])[0], persona()).text
    assert text == ("same" if mode in ("run", "stream") else "other")


# --- a real await under the sync API -----------------------------------------------------------


async def in_future() -> None:
    await asyncio.get_running_loop().create_future()


@in_sync_modes
@pytest.mark.parametrize("around", [False, True], ids=["no-loop", "in-loop"])
@pytest.mark.parametrize(
    "wait",
    [
        lambda: asyncio.sleep(0),
        lambda: asyncio.sleep(0.01),
        lambda: asyncio.to_thread(threading.current_thread),
        in_future,
    ],
)
def test_a_real_await_under_the_sync_api_names_the_way_out(
    mode: str, around: bool, wait: Callable[[], Awaitable[Any]]
) -> None:
    async def chat(request: Request, send: Send) -> Response:
        await wait()
        return await send(request)

    running, upstream = runner(plugins=[plugin(chat)])

    def fail() -> None:
        with pytest.raises(PluginError, match=r"personakit\.io and personakit\.sleep.*arun\(\)"):
            in_mode(mode, running, persona())

    async def fail_in_loop() -> None:
        fail()

    asyncio.run(fail_in_loop()) if around else fail()
    assert upstream.requests == []


def test_the_sync_api_works_inside_a_running_loop_as_in_a_notebook() -> None:
    async def cell() -> str:
        return runner()[0].run(persona()).text

    assert asyncio.run(cell()) == "Hello!"


# --- asyncio's own tools in the async modes ----------------------------------------------------


class Slow:
    """An upstream that says "ab" and then never anything again."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.left = 0

    async def send(self, request: Request, emit: Emit | None = None) -> Response:
        try:
            if emit is not None:
                await emit("ab")
            self.reached.set()
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            self.left += 1
        raise AssertionError


def slow(*plugins: Any) -> tuple[Runner, Slow]:
    upstream = Slow()
    return Runner(Config(model="test/x", path=()), plugins=plugins, backend=upstream), upstream


async def waits_for(request: Request, send: Send) -> Response:
    return await asyncio.wait_for(send.live(request), 60)


async def has_time_out(request: Request, send: Send) -> Response:
    async with asyncio.timeout(60):
        return await send.live(request)


async def asks_twice_at_once(request: Request, send: Send) -> Response:
    first, second = await asyncio.gather(send(request), send(request.with_system("b")))
    return first.replace(text=f"{first.text} {second.text}")


async def groups(request: Request, send: Send) -> Response:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(later(send(request)))
    return task.result()


async def later(sent: Awaitable[Response]) -> Response:
    return await sent


@in_async_modes
@pytest.mark.parametrize(
    ("chat", "text"),
    [
        (waits_for, "You are a test."),
        (has_time_out, "You are a test."),
        (asks_twice_at_once, "You are a test. You are a test.\n\nb"),
        (groups, "You are a test."),
    ],
)
def test_asyncio_works_around_send(mode: str, chat: Callable[..., Any], text: str) -> None:
    running, _ = runner([lambda request: request.system], plugins=[plugin(chat)])
    assert in_mode(mode, running, persona()).text == text


def test_text_out_of_another_task_comes_before_its_error() -> None:
    upstream = Upstream(["abcdef"], size=1, fail_after=4)
    config = Config(model="test/x", path=())
    running = Runner(config, plugins=[plugin(waits_for)], backend=upstream)
    stream = running.astream(persona())
    with pytest.raises(ConnectionError):
        asyncio.run(read(stream))
    assert stream.text == "abcd"


async def read(stream: Any) -> None:
    async for _ in stream:
        pass


@pytest.mark.parametrize("live", [False, True])
def test_a_timeout_of_a_plugin_ends_the_request(live: bool) -> None:
    async def gives_up(request: Request, send: Send) -> Response:
        try:
            async with asyncio.timeout(0.01):
                return await (send.live(request) if live else send(request))
        except TimeoutError:
            return Response("too slow")

    async def main() -> None:
        running, upstream = slow(plugin(gives_up))
        assert (await running.arun(persona())).text == "too slow"
        assert upstream.left == 1

    asyncio.run(main())


def test_two_live_answers_at_once_are_refused() -> None:
    async def both(request: Request, send: Send) -> Response:
        await asyncio.gather(send.live(request), send.live(request))
        raise AssertionError

    async def waits(request: Request) -> None:
        await asyncio.sleep(0)

    running, upstream = runner(plugins=[plugin(both), plugin(waits)])
    with pytest.raises(StreamStarted):
        in_mode("astream", running, persona())
    assert len(upstream.requests) <= 1


# --- contexts ----------------------------------------------------------------------------------

seen_outside: ContextVar[str] = ContextVar("seen_outside", default="")
set_inside: ContextVar[str] = ContextVar("set_inside", default="")


@in_modes
def test_a_run_sees_the_context_it_was_started_in_and_keeps_its_own_inside(mode: str) -> None:
    seen: list[tuple[str, str]] = []

    async def outer(request: Request, send: Send) -> Response:
        set_inside.set("outer")
        response = await send.live(request)
        seen.append((seen_outside.get(), set_inside.get()))
        return response

    async def inner(request: Request, send: Send) -> Response:
        seen.append((seen_outside.get(), set_inside.get()))
        set_inside.set("inner")
        return await send(request)

    running, _ = runner(plugins=[plugin(outer), plugin(inner)])
    token = seen_outside.set("caller")
    in_mode(mode, running, persona())
    seen_outside.reset(token)
    assert seen == [("caller", "outer"), ("caller", "inner")]
    assert set_inside.get() == ""


def test_two_streams_read_in_turn_do_not_see_each_other() -> None:
    async def marks(request: Request, send: Send) -> Response:
        set_inside.set(set_inside.get() + "x")
        response = await send.live(request)
        return response.replace(metadata={"mark": set_inside.get()})

    running, _ = runner(plugins=[plugin(marks)], size=1)
    one, two = running.stream(persona()), running.stream(persona())
    assert "".join(a + b for a, b in zip(one, two, strict=True)) == "HHeelllloo!!"
    assert next(two, None) is None
    assert one.response.metadata == two.response.metadata == {"mark": "x"}


def test_a_runner_serves_many_threads_and_tasks() -> None:
    running, upstream = runner([lambda request: request.messages[-1].text])
    who = persona()
    with ThreadPoolExecutor(8) as pool:
        texts = list(pool.map(lambda n: running.run(who, str(n)).text, range(40)))
    assert texts == [str(n) for n in range(40)]

    async def many() -> list[Response]:
        return await asyncio.gather(*(running.arun(who, str(n)) for n in range(40)))

    assert [response.text for response in asyncio.run(many())] == texts
    assert len(upstream.requests) == 80


@in_modes
@pytest.mark.parametrize("inside", ["run", "arun", "stream"])
def test_a_plugin_may_run_another_persona(mode: str, inside: str) -> None:
    other, _ = runner(["a", "b"])

    async def asks(request: Request, send: Send) -> Response:
        if inside == "run":
            text = other.run(persona()).text
        elif inside == "arun":
            text = (await other.arun(persona())).text
        else:
            text = "".join(other.stream(persona()))
        response = await send.live(request.with_system(text))
        await personakit.sleep(0)  # still the outer run's API
        return response

    running, upstream = runner(plugins=[plugin(asks)])
    assert in_mode(mode, running, persona()).text == "Hello!"
    assert upstream.requests[0].system.endswith("a")


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
        with pytest.raises(PersonakitError, match="has not ended; read it to its end"):
            _ = stream.response
    assert stream.response.text == stream.text == "Hello!"


def test_a_stream_is_read_the_way_it_was_made() -> None:
    running, _ = runner()
    stream, astream = running.stream(persona()), running.astream(persona())
    for use in (iter, next, lambda s: s.close(), lambda s: s.__enter__()):
        with pytest.raises(TypeError, match=r"made by astream\(\): read it with `async for`"):
            use(astream)
    for ause in (
        lambda s: s.__aiter__().__anext__(),
        anext,
        lambda s: s.aclose(),
        lambda s: s.__aenter__(),
    ):
        with pytest.raises(TypeError, match=r"made by stream\(\): read it with `for`"):
            asyncio.run(awaited(ause, stream))


async def awaited(call: Callable[[Any], Awaitable[Any]], value: Any) -> Any:
    return await call(value)


@pytest.mark.parametrize("fail_after", [0, 3])
def test_the_upstream_is_told_of_nothing_after_an_error(fail_after: int) -> None:
    upstream = Upstream(["abcdef"], size=1, fail_after=fail_after)
    stream = Runner(Config(model="test/x", path=()), backend=upstream).stream(persona())
    with pytest.raises(ConnectionError):
        for _ in stream:
            pass
    assert list(stream) == []
    assert stream.text == "abcdef"[:fail_after]
