"""The drivers: waiting, contexts, cancellation and streams, in the sync and in the async API."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import Any

import pytest
from helpers.drivers import in_sync_modes, plugin, read, slow

import personakit
from personakit import (
    Config,
    PluginError,
    Request,
    Response,
    Runner,
    Send,
    StreamStarted,
)
from personakit.testing import MODES, Upstream, in_mode, persona, runner

in_modes = pytest.mark.parametrize("mode", MODES)


in_async_modes = pytest.mark.parametrize("mode", ["arun", "astream"])


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
