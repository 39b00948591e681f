"""The contract of a plugin's backend: errors, answers, deadline, cancellation and streams."""

from __future__ import annotations

import asyncio
import threading
import time
import traceback
from typing import Any

import pytest
from helpers.backend import WHO, in_modes, in_streams
from hypothesis import given
from hypothesis import strategies as st

import personakit
from personakit import (
    BackendError,
    Blocked,
    Config,
    IncompleteAnswer,
    PluginError,
    Provider,
    RateLimited,
    Response,
    Runner,
    Timeout,
    ToolCall,
    UpstreamUnavailable,
    Usage,
)
from personakit.testing import MODES, in_mode, pieces

KEY = "sk-1234567890"


async def nap(seconds: Any) -> None:
    # personakit.sleep would raise at once if the deadline is nearer.
    await asyncio.sleep(seconds)


class Backend:
    """Emits texts, and then returns a response or raises an error."""

    def __init__(self, end: Any, texts: Any = ("Hel", "lo"), nap: float = 0.0) -> None:
        self.end, self.texts, self.nap = end, texts, nap
        self.ended: list[str] = []

    async def send(self, request: Any, emit: Any) -> Response:
        try:
            for text in self.texts:
                if self.nap:
                    await personakit.io(lambda: time.sleep(self.nap), lambda: nap(self.nap))()
                if emit is not None:
                    await emit(text)
            if isinstance(self.end, BaseException):
                raise self.end
            return self.end  # type: ignore[no-any-return]
        except BaseException as error:
            self.ended.append(type(error).__name__)
            raise


HELLO = Response("Hello", finish_reason="stop")


def running(backend: Any, **fields: Any) -> Runner:
    provider = Provider("mine", backend=lambda _: backend, **fields)
    return Runner(Config(model="mine/small", path=(), providers={"mine": provider}), log=False)


def failure(mode: str, backend: Any, kind: type[Exception], **options: Any) -> Any:
    with pytest.raises(kind) as raised:
        in_mode(mode, running(backend, api_key=KEY), WHO, "Hi!", **options)
    assert type(raised.value) is kind
    return raised.value


# --- errors ---------------------------------------------------------------------------------------


class Status(Exception):
    status_code = 429


@in_modes
@pytest.mark.parametrize(
    ("error", "whole", "streamed", "words"),
    [
        (KeyError("x"), UpstreamUnavailable, IncompleteAnswer, "mine/small: KeyError: 'x'; "),
        (ConnectionResetError("gone"), UpstreamUnavailable, IncompleteAnswer, "was closed: gone"),
        (TimeoutError("slow"), Timeout, Timeout, "mine/small: timed out"),
        (Status("busy"), RateLimited, RateLimited, "mine/small: status 429: busy"),
        (SystemExit(3), UpstreamUnavailable, IncompleteAnswer, "SystemExit: 3"),
        (RateLimited("busy", retry_after=3), RateLimited, RateLimited, "busy; wait 3 s and"),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
def test_any_error_is_a_backend_error(
    mode: str, error: Any, whole: Any, streamed: Any, words: str
) -> None:
    if isinstance(error, RateLimited):
        error = RateLimited(error.message, retry_after=3)
    is_stream = "stream" in mode
    result = failure(mode, Backend(error), streamed if is_stream else whole)
    assert words in str(result)
    assert result.partial == ("Hello" if is_stream else "")
    assert result is error or result.__cause__ is error


@in_modes
@pytest.mark.parametrize("error", [Blocked("no"), personakit.ConfigError("install it")])
def test_other_errors_of_personakit_pass(mode: str, error: Exception) -> None:
    assert failure(mode, Backend(error), type(error)) is error


@in_modes
def test_the_same_error_raised_again_stays_as_it_is(mode: str) -> None:
    backend = Backend(UpstreamUnavailable("down"), ())
    first = str(failure(mode, backend, UpstreamUnavailable))
    assert str(failure(mode, backend, UpstreamUnavailable)) == first
    assert first.startswith("mine/small: down; ")


@in_modes
def test_a_key_is_in_no_message_and_in_no_frame(mode: str) -> None:
    class Leaks:
        async def send(self, request: Any, emit: Any) -> Response:
            headers = {"authorization": f"Bearer {KEY}"}
            try:
                raise OSError(f"refused {headers}")
            except OSError as error:
                raise ValueError(f"key {KEY}") from error

    error = failure(mode, Leaks(), UpstreamUnavailable)
    lines = traceback.TracebackException.from_exception(error, capture_locals=True).format()
    # The frames of this test hold the text of the key in the source alone.
    shown = "".join(line for line in lines if __file__ not in line)
    assert KEY not in shown
    assert "key ***" in str(error)


# --- answers --------------------------------------------------------------------------------------


@in_modes
@pytest.mark.parametrize(
    ("response", "words"),
    [
        (None, "its `send` returned None; it must return a personakit.Response"),
        ({"text": "Hello"}, "its `send` returned {'text': 'Hello'}; it must"),
        (Response(None), "`text` of its response is None; expected a string"),  # type: ignore[arg-type]
        (Response("Hello", finish_reason=0), "`finish_reason` of its response is 0"),  # type: ignore[arg-type]
        (Response("Hello", usage={}), "`usage` of its response is {}; expected a personakit.Usage"),  # type: ignore[arg-type]
        (Response("", (ToolCall("", "x"),)), "`tool_calls` of its response contains ToolCall"),
        (Response("", ("x",)), "contains 'x'; expected personakit.ToolCall"),  # type: ignore[arg-type]
    ],
)
def test_what_is_no_response_is_the_fault_of_the_plugin(
    mode: str, response: Any, words: str
) -> None:
    error = failure(mode, Backend(response, ()), PluginError)
    assert str(error).startswith("the backend of provider 'mine' broke its contract: ")
    assert words in str(error)


@in_modes
@pytest.mark.parametrize(
    ("response", "kind", "words"),
    [
        (Response("Hello"), IncompleteAnswer, "no finish reason"),
        (Response("Hello", finish_reason="odd"), IncompleteAnswer, "unknown finish reason 'odd'"),
        (Response("Hello", finish_reason="error"), UpstreamUnavailable, "failed during the answer"),
        (Response("", finish_reason="length"), IncompleteAnswer, "before the answer began"),
        (Response("", finish_reason="content_filter"), IncompleteAnswer, "held the answer back"),
    ],
)
def test_an_answer_that_is_not_whole(
    mode: str, response: Response, kind: type[BackendError], words: str
) -> None:
    error = failure(mode, Backend(response, ()), kind)
    assert words in str(error)
    assert error.partial == response.text
    assert error.response.text == response.text


@in_modes
def test_what_a_response_holds_passes_on(mode: str) -> None:
    given = Response(
        "Hello",
        finish_reason="end_turn",
        model="upstream",
        id="1",
        raw={"a": 1},
        reasoning="Hm.",
        annotations=({"url": "x"},),
        cost=0.5,
    )
    response = in_mode(mode, running(Backend(given)), WHO, "Hi!", timeout=5)
    assert response.request is not None
    assert response.request.timeout == 5
    assert response.request.model == "mine/small"
    assert response.finish_reason == "stop"
    assert response.usage is None
    names = ("text", "model", "id", "raw", "reasoning", "annotations", "cost")
    assert [getattr(response, name) for name in names] == [getattr(given, name) for name in names]


def test_no_finish_reason_is_right_if_the_provider_says_so() -> None:
    for mode in MODES:
        runner = running(Backend(Response("Hello")), finish_reason=False)
        assert in_mode(mode, runner, WHO, "Hi!").finish_reason is None


# --- streams --------------------------------------------------------------------------------------


@given(text=st.text(st.characters(), max_size=40), size=st.integers(0, 7), sent=st.integers(0, 40))
def test_streamed_is_whole_for_every_text_and_cut(text: str, size: int, sent: int) -> None:
    backend = Backend(Response(text, finish_reason="stop"), list(pieces(text[:sent], size)))
    results = {in_mode(mode, running(backend), WHO, "Hi!").text for mode in ("run", "stream")}
    assert len(results) == 1
    results.pop().encode()  # no half of a surrogate pair is left


@in_streams
def test_a_text_that_was_not_emitted_is_the_fault_of_the_plugin(mode: str) -> None:
    error = failure(mode, Backend(Response("Bye", finish_reason="stop")), PluginError)
    assert "it emitted 'Hello', but the text of its response is 'Bye'" in str(error)
    assert error.response.text == "Bye"


@in_streams
def test_an_error_of_emit_cannot_be_swallowed(mode: str) -> None:
    class GoesOn:
        emits = 0

        async def send(self, request: Any, emit: Any) -> Response:
            for _ in range(3):
                try:
                    await emit(b"Hello")
                except Exception:
                    self.emits += 1
            return HELLO

    backend = GoesOn()
    error = failure(mode, backend, PluginError)
    assert "called emit() with b'Hello'; expected a string" in str(error)
    assert backend.emits == 3


@in_streams
def test_an_error_of_emit_is_not_replaced_by_one_of_the_backend(mode: str) -> None:
    class Wraps:
        async def send(self, request: Any, emit: Any) -> Response:
            try:
                await emit(7)
            except Exception as error:
                raise OSError("cannot write") from error
            return HELLO

    assert "called emit() with 7; expected a string" in str(failure(mode, Wraps(), PluginError))


# --- deadline and cancellation --------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["arun", "astream", "stream"])
def test_a_deadline_ends_a_backend_that_does_not_look(mode: str) -> None:
    backend = Backend(HELLO, ["x"] * 600, nap=0.05)
    error = failure(mode, backend, Timeout, deadline=0.2)
    assert "the run's deadline of 0.2 s" in str(error)
    assert backend.ended == ["Timeout" if mode == "stream" else "CancelledError"]
    assert error.partial == ("" if mode == "arun" else "x" * len(error.partial))
    assert str(error).count("; ") == 1


@pytest.mark.parametrize("mode", ["arun", "astream"])
def test_a_silent_backend_ends_after_the_timeout_of_the_request(mode: str) -> None:
    error = failure(mode, Backend(HELLO, ["x"], nap=60), Timeout, timeout=0.05)
    assert "`timeout` is 0.05 s" in str(error)


def test_time_in_which_the_reader_has_a_text_is_not_silence() -> None:
    async def read() -> str:
        stream = running(Backend(HELLO, nap=0.001)).astream(WHO, "Hi!", timeout=0.2)
        async for _ in stream:
            await asyncio.sleep(0.3)
        return stream.response.text

    assert asyncio.run(read()) == "Hello"


def test_the_deadline_does_not_cancel_the_reader() -> None:
    async def read() -> str:
        stream = running(Backend(HELLO, nap=0.001)).astream(WHO, "Hi!", deadline=0.1)
        assert await anext(stream) == "Hel"
        await asyncio.sleep(0.2)
        with pytest.raises(Timeout):
            await anext(stream)
        return stream.text

    assert asyncio.run(read()) == "Hel"


def test_the_time_left_is_known_in_a_thread_of_the_backend() -> None:
    class Looks:
        async def send(self, request: Any, emit: Any) -> Response:
            left = await personakit.io(personakit.time_left)()
            return Response(str(left), finish_reason="stop")

    for mode in MODES:
        assert 50 < float(in_mode(mode, running(Looks()), WHO, "Hi!", deadline=60).text) <= 60


def test_a_cancelled_run_ends_its_backend() -> None:
    backend = Backend(HELLO, nap=60)

    async def cancel() -> None:
        runner = running(backend)
        await runner.warm(WHO)
        task = asyncio.create_task(runner.arun(WHO, "Hi!"))
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    assert backend.ended == ["CancelledError"]


def test_the_cleanup_of_a_backend_may_await() -> None:
    class Cleans(Backend):
        async def send(self, request: Any, emit: Any) -> Response:
            try:
                return await super().send(request, emit)
            finally:
                await asyncio.sleep(0.01)
                self.ended.append("clean")

    async def leave(backend: Backend) -> None:
        async with running(backend).astream(WHO, "Hi!") as stream:
            await anext(stream)

    backend = Cleans(HELLO, nap=0.001)
    asyncio.run(leave(backend))
    assert backend.ended == ["CancelledError", "clean"]
    backend = Cleans(HELLO, nap=60)
    failure("arun", backend, Timeout, deadline=0.05)
    assert backend.ended == ["CancelledError", "clean"]


def test_a_closed_stream_ends_its_backend() -> None:
    backend = Backend(HELLO)
    with running(backend).stream(WHO, "Hi!") as stream:
        assert next(stream) == "Hel"
    assert backend.ended == ["GeneratorExit"]


def test_an_answer_that_comes_although_it_was_cancelled_is_kept() -> None:
    class Stubborn:
        async def send(self, request: Any, emit: Any) -> Response:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                return Response("at last", finish_reason="stop", usage=Usage(1, 2, 3))
            raise AssertionError

    runner = running(Stubborn())
    response = in_mode("arun", runner, WHO, "Hi!", deadline=0.05)
    assert response.text == "at last"


def test_an_await_that_needs_an_event_loop_in_the_sync_api() -> None:
    class Sleeps:
        async def send(self, request: Any, emit: Any) -> Response:
            await asyncio.sleep(0)
            return HELLO

    for mode in ("run", "stream"):
        error = failure(mode, Sleeps(), PluginError)
        assert "in the sync API a backend can await only emit, personakit.io" in str(error)
    for mode in ("arun", "astream"):
        assert in_mode(mode, running(Sleeps()), WHO, "Hi!").text == "Hello"


def test_runs_in_many_threads_and_tasks_do_not_mix() -> None:
    class Says:
        async def send(self, request: Any, emit: Any) -> Response:
            text = request.messages[-1].text
            for piece in text:
                await personakit.sleep(0.001)
                await emit(piece)
            return Response(text, finish_reason="stop")

    runner, texts = running(Says()), []

    async def read(name: str) -> str:
        stream = runner.astream(WHO, name)
        return "".join([piece async for piece in stream])

    async def read_all() -> list[str]:
        return await asyncio.gather(*(read(f"task {n}") for n in range(5)))

    def work(name: str) -> None:
        texts.append("".join(runner.stream(WHO, name)))

    threads = [threading.Thread(target=work, args=[f"thread {n}"]) for n in range(5)]
    for thread in threads:
        thread.start()
    assert asyncio.run(read_all()) == [f"task {n}" for n in range(5)]
    for thread in threads:
        thread.join()
    assert sorted(texts) == [f"thread {n}" for n in range(5)]
