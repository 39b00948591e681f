"""`personakit.gather`: what runs at the same time, which error is raised, and what is left over."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

import personakit
from personakit import (
    BackendError,
    Blocked,
    PluginError,
    Request,
    Response,
    Runner,
    Send,
    Timeout,
    UpstreamUnavailable,
    gather,
    hookimpl,
    io,
)
from personakit.testing import MODES, Reply, Server, check_plugin, in_mode, persona, runner

in_modes = pytest.mark.parametrize("mode", MODES)
HANG = 30
"""Seconds after which a wait has failed, on a machine however slow."""

judge = persona("You judge.")


async def forever(timeout: float | None = None) -> bool:
    return await asyncio.Event().wait()


def plugin(chat: Callable[..., Any]) -> Any:
    return SimpleNamespace(chat=hookimpl(chat))


class Meeting(Server):
    """Answers each of two requests when both have arrived."""

    def __init__(self) -> None:
        super().__init__()
        self._both = threading.Barrier(2, timeout=HANG)

    def reply(self, answer: Any, body: Any) -> Any:
        self._both.wait()
        return super().reply(body["messages"][0]["content"], body)


@in_modes
def test_a_sub_run_beside_the_call(mode: str) -> None:
    async def chat(request: Request, send: Send) -> Any:
        verdict, response = await gather(send.run(judge, request.messages[-1].text), send(request))
        return response.replace(text=f"{response.text} ({verdict.text})")

    with Meeting() as server, Runner(server.config(), plugins=[plugin(chat)]) as running:
        response = in_mode(mode, running, persona("You talk."), "Hi!")
    assert response.text == "You talk. (You judge.)"


@in_modes
def test_a_sub_run_beside_a_streamed_call_in_any_order(mode: str) -> None:
    async def verdict(send: Send) -> str:
        return (await send.run(judge, "?")).text

    async def before(request: Request, send: Send) -> Any:
        text, response = await gather(verdict(send), send.live(request))
        return response.replace(text=f"{response.text} ({text})")

    async def after(request: Request, send: Send) -> Any:
        response, text = await gather(send.live(request), verdict(send))
        return response.replace(text=f"{response.text} ({text})")

    for hook in (before, after):
        with Meeting() as server, Runner(server.config(), plugins=[plugin(hook)]) as running:
            response = in_mode(mode, running, persona("You talk."), "Hi!")
        assert response.text == "You talk. (You judge.)"


@in_modes
def test_two_calls(mode: str) -> None:
    async def chat(request: Request, send: Send) -> Any:
        ways = [send(request), send(request.with_system("Briefly."))]
        return max(await gather(*ways), key=lambda response: len(response.text))

    with Meeting() as server, Runner(server.config(), plugins=[plugin(chat)]) as running:
        assert in_mode(mode, running, persona("You talk.")).text == "You talk.\n\nBriefly."


@in_modes
def test_io_and_nested_gathers_overlap(mode: str) -> None:
    met = threading.Barrier(4, timeout=HANG)

    async def chat(request: Request, send: Send) -> Any:
        async def inner() -> tuple[Any, ...]:
            return await gather(io(met.wait)(), io(met.wait)())

        both, places, response = await gather(inner(), inner(), send(request))
        assert sorted((*both, *places)) == [0, 1, 2, 3]
        return response

    assert in_mode(mode, runner(plugins=[plugin(chat)])[0], persona()).text == "Hello!"


@in_modes
def test_results_are_in_order(mode: str) -> None:
    async def number(value: int) -> int:
        await personakit.sleep(0.02 if value == 0 else 0)
        return value

    async def chat(request: Request, send: Send) -> Any:
        assert await gather() == ()
        first, second, third = await gather(number(0), send(request), number(2))
        return second.replace(text=f"{first}{second.text}{third}")

    assert in_mode(mode, runner(plugins=[plugin(chat)])[0], persona()).text == "0Hello!2"


def test_what_it_does_is_the_same_in_every_mode() -> None:
    async def chat(request: Request, send: Send) -> Any:
        text, response = await gather(io(lambda: " Bye!")(), send.live(request))
        return response.replace(text=response.text + text)

    assert check_plugin(plugin(chat)).text == "Hello! Bye!"


@pytest.mark.parametrize("mode", ["stream", "astream"])
def test_text_streams_out_of_it(mode: str) -> None:
    """The second part of the answer is there only when the first one has been read."""
    read = threading.Event()

    async def chat(request: Request, send: Send) -> Any:
        async def answer() -> Response:
            await send.emit("first")
            await send.status("waiting")
            await personakit.io(wait)()
            return Response("first, second")

        _, response = await gather(io(wait)(), answer())
        return response

    def wait() -> None:
        assert read.wait(HANG)

    running, _ = runner(plugins=[plugin(chat)])
    if mode == "stream":
        stream = running.stream(persona())
        assert next(stream) == "first"
        read.set()
        assert "".join(stream) == ", second"
        return

    async def main() -> None:
        async with running.astream(persona()) as stream:
            assert await anext(stream) == "first"
            read.set()
            assert "".join([text async for text in stream]) == ", second"

    asyncio.run(main())


@in_modes
def test_a_refusal_beside_a_call_is_raised_unchanged(mode: str) -> None:
    refusal = Blocked("no")

    async def refuses() -> None:
        await io(time.sleep)(0)
        raise refusal

    async def chat(request: Request, send: Send) -> Any:
        _, response = await gather(refuses(), send.live(request))
        return response

    with pytest.raises(Blocked) as caught:
        in_mode(mode, runner(plugins=[plugin(chat)], size=1)[0], persona())
    assert caught.value is refusal


@pytest.mark.parametrize("mode", ["stream", "astream"])
def test_a_refusal_ends_a_stream_at_its_next_piece(mode: str) -> None:
    refuse, ended = threading.Event(), []

    async def refuses() -> None:
        await io(refuse.wait)(HANG)
        raise Blocked("no")

    async def answers(send: Send) -> Response:
        try:
            while True:
                await send.emit("more ")
                refuse.set()
                await personakit.sleep(0.001)
        finally:
            ended.append("the answer")

    async def chat(send: Send) -> Any:
        return (await gather(refuses(), answers(send)))[1]

    with pytest.raises(Blocked, match="no"):
        in_mode(mode, runner(plugins=[plugin(chat)])[0], persona(), deadline=HANG)
    assert ended == ["the answer"]


@in_modes
def test_the_error_of_a_call_ends_what_runs_beside_it(mode: str) -> None:
    away, ended, free = UpstreamUnavailable("away"), [], threading.Event()

    async def beside() -> None:
        try:
            await io(free.wait, forever)()
        finally:
            ended.append("beside")

    async def chat(request: Request, send: Send) -> Any:
        return (await gather(beside(), send.live(request)))[1]

    with pytest.raises(BackendError) as caught:
        in_mode(mode, runner([away], plugins=[plugin(chat)])[0], persona())
    assert caught.value is away
    assert ended == ["beside"]
    free.set()


@in_modes
def test_an_error_in_io_is_raised_by_its_await_and_can_be_handled(mode: str) -> None:
    def fails() -> str:
        raise OSError("no disk")

    async def handles() -> str:
        try:
            return await io(fails)()
        except OSError as error:
            return f"{error}, but"

    async def chat(request: Request, send: Send) -> Any:
        text, response = await gather(handles(), send(request))
        return response.replace(text=f"{text} {response.text}")

    assert in_mode(mode, runner(plugins=[plugin(chat)])[0], persona()).text == "no disk, but Hello!"

    async def lets_pass(request: Request, send: Send) -> Any:
        return (await gather(send(request), io(fails)()))[0]

    with pytest.raises(PluginError, match="OSError: no disk"):
        in_mode(mode, runner(plugins=[plugin(lets_pass)])[0], persona())


def test_the_earlier_error_is_raised_although_a_later_one_was_seen_first() -> None:
    """In the sync API the caller's thread is busy when an error occurs in another one."""
    failed = threading.Event()

    async def refuses() -> None:
        await io(failed.set)()
        raise Blocked("first")

    async def fails_later() -> None:
        assert failed.wait(HANG)  # blocks the thread
        time.sleep(0.05)
        raise OSError("second")

    async def chat() -> None:
        await gather(refuses(), fails_later())

    with pytest.raises(Blocked, match="first"):
        runner(plugins=[plugin(chat)])[0].run(persona())


@in_modes
def test_exit_in_it_ends_only_the_run(mode: str) -> None:
    async def leaves() -> None:
        raise SystemExit(3)

    async def chat(request: Request, send: Send) -> Any:
        return (await gather(send(request), leaves()))[0]

    with pytest.raises(PluginError, match="SystemExit: 3"):
        in_mode(mode, runner(plugins=[plugin(chat)])[0], persona())


@in_modes
@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_wrong_arguments(mode: str) -> None:
    async def check() -> None: ...

    def failure(make: Callable[[Request, Send], Any]) -> str:
        async def chat(request: Request, send: Send) -> None:
            await make(request, send)

        with pytest.raises(PluginError) as caught:
            in_mode(mode, runner(plugins=[plugin(chat)])[0], persona())
        return str(caught.value)

    missing: Any = check
    text = failure(lambda request, send: gather(check(), send.run(judge), missing))
    assert "argument 3 must be awaitable, found function; call it: check(…)" in text
    text = failure(lambda request, send: gather(send(request), [send(request)]))  # type: ignore[call-overload]
    assert "argument 2 must be awaitable, found list" in text

    def twice(request: Request, send: Send) -> Any:
        same = check()
        return gather(same, same)

    assert "argument 2 is given twice" in failure(twice)


@in_modes
@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_what_has_not_begun_is_closed_after_an_error(mode: str) -> None:
    async def refuses() -> None:
        raise Blocked("at once")

    async def chat(request: Request, send: Send) -> None:
        await gather(refuses(), send.run(judge), refuses(), send.live(request))

    with pytest.raises(Blocked):
        in_mode(mode, runner(plugins=[plugin(chat)])[0], persona())


@pytest.mark.parametrize("mode", ["run", "stream"])
def test_the_deadline_does_not_wait_for_a_thread(mode: str) -> None:
    free, ended = threading.Event(), threading.Event()

    def blocks() -> None:
        free.wait(HANG)
        ended.set()

    async def chat(request: Request, send: Send) -> Any:
        return (await gather(send(request), io(blocks)()))[0]

    with pytest.raises(Timeout, match=r"the run's deadline of 0\.1 s has passed"):
        in_mode(mode, runner(plugins=[plugin(chat)])[0], persona(), deadline=0.1)
    assert not ended.is_set()
    free.set()
    assert ended.wait(HANG)


@in_modes
def test_a_deadline_of_a_sub_run_stays_in_it(mode: str) -> None:
    async def chat(request: Request, send: Send) -> Any:
        await gather(send.run(judge, deadline=HANG), send.run(judge, deadline=HANG))
        left = personakit.time_left()
        assert left is not None
        assert left > HANG
        return await send(request)

    in_mode(mode, runner(plugins=[plugin(chat)])[0], persona(), deadline=10 * HANG)


@pytest.mark.parametrize("first", [True, False])
def test_a_dry_run_shows_the_same_request_each_time(first: bool) -> None:
    async def chat(request: Request, send: Send) -> Any:
        changed, beside = send(request.with_system("More.")), io(time.sleep)(0)
        return (await gather(*((changed, beside) if first else (beside, changed))))[0]

    prepared = runner(plugins=[plugin(chat)])[0].prepare(persona(), "Hi!")
    assert prepared.system.endswith("More.")
    assert threading.active_count() < 50


def test_an_abandoned_stream_ends_everything_in_it() -> None:
    ended: list[str] = []
    free = threading.Event()

    async def runs(name: str, waits: Any) -> None:
        try:
            await waits
        finally:
            ended.append(name)

    async def chat(request: Request, send: Send) -> None:
        beside = io(free.wait, forever)()
        await gather(runs("beside", beside), runs("answer", send.live(request)))

    running, _ = runner(plugins=[plugin(chat)], size=1)
    with running.stream(persona()) as stream:
        next(stream)
    assert sorted(ended) == ["answer", "beside"]

    async def main() -> None:
        async with running.astream(persona()) as stream:
            await anext(stream)
        assert sorted(ended[2:]) == ["answer", "beside"]

    asyncio.run(main())
    free.set()


def test_an_error_beside_a_stream_does_not_cancel_its_reader() -> None:
    """A reader may be anywhere when it occurs, such as in a slow write to its own client."""

    async def main() -> list[str]:
        failed, read = asyncio.Event(), []

        async def fails() -> None:
            try:
                await failed.wait()
            finally:
                failed.clear()
            raise Blocked("no")

        async def chat(request: Request, send: Send) -> Any:
            return (await gather(send.live(request), fails()))[0]

        async def reads() -> None:
            async for text in runner(plugins=[plugin(chat)], size=2)[0].astream(persona()):
                read.append(text)
                failed.set()
                for _ in range(20):
                    await asyncio.sleep(0)

        with pytest.raises(Blocked):
            await reads()
        return read

    assert asyncio.run(main()) == ["He"]


def test_it_works_in_any_coroutine_of_an_event_loop() -> None:
    async def main() -> None:
        future = asyncio.get_running_loop().create_future()
        future.set_result(1)
        assert await gather(future, asyncio.sleep(0, 2)) == (1, 2)

    asyncio.run(main())


def test_what_needs_an_event_loop_is_an_error_that_says_so() -> None:
    async def chat(request: Request, send: Send) -> None:
        await gather(asyncio.sleep(0), send(request))

    with pytest.raises(PluginError, match="in the sync API a hook can await only"):
        runner(plugins=[plugin(chat)])[0].run(persona())


def test_a_refusal_is_raised_before_the_text_that_came_after_it() -> None:
    """A server that sends its answer in one piece must not get past a moderation."""
    judged = threading.Event()

    class Moderates:
        @hookimpl
        async def chat(self, request: Request, send: Send) -> Response:
            async def check() -> None:
                await send.run(persona("Judge."), "ok?")
                raise Blocked("no")

            if request.system == "Judge.":
                return await send(request)
            _, response = await gather(check(), send.live(request))
            return response

    class Slow(Server):
        def reply(self, answer: Any, body: Any) -> Reply:
            if body["messages"][0]["content"] == "Judge.":
                judged.set()
                return super().reply("no", body)

            def late() -> Any:
                judged.wait(5)
                time.sleep(0.3)
                yield b"".join(self.events("SECRET", usage=True))

            return Reply(late(), headers={"content-type": "text/event-stream"})

    shown: list[str] = []
    with Slow() as server:
        running = Runner(server.config(), plugins=[Moderates()])
        with pytest.raises(Blocked):
            shown.extend(running.stream(persona(), "Hi"))
        running.close()
    assert shown == []
