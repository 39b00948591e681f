"""`check_backend` accepts backends that keep the contract, and names the rule that one breaks."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

import personakit
from personakit import BackendError, Blocked, Endpoint, RateLimited, Response, Usage
from personakit.testing import check_backend

NAP = 0.001


def text_of(request: Any) -> str:
    return f"You said: {request.messages[-1].text}"


class Words:
    """A backend that keeps the contract; the broken ones change one method of it."""

    def __init__(self, endpoint: Endpoint | None = None) -> None:
        self.endpoint = endpoint

    async def send(self, request: Any, emit: Any = None) -> Response:
        text = self.text(request)
        await personakit.sleep(NAP)
        for piece in text.split(" "):
            if emit is not None:
                await self.emit(emit, piece if piece == text.split(" ")[0] else f" {piece}")
            await personakit.sleep(NAP)
        return self.response(text)

    def text(self, request: Any) -> str:
        if request.messages[-1].text == "fail":
            raise KeyError("the model")
        return text_of(request)

    async def emit(self, emit: Any, piece: str) -> None:
        await emit(piece)

    def response(self, text: str) -> Response:
        return Response(text, finish_reason="stop", usage=Usage(1, 2, 3))


class Plain:
    """The shortest backend: it neither streams nor waits."""

    async def send(self, request: Any, emit: Any) -> Response:
        return Response(text_of(request), finish_reason="stop")


class Threaded:
    """A blocking model, whose pieces come from an iterator."""

    async def send(self, request: Any, emit: Any) -> Response:
        pieces, text = iter(text_of(request)), ""
        while piece := await personakit.io(lambda: next(pieces, ""))():
            text += piece
            if emit is not None:
                await emit(piece)
        return Response(text, finish_reason="stop")


def made(endpoint: Endpoint) -> Words:
    return Words(endpoint)


@pytest.mark.parametrize("backend", [Words, Words(), made, Plain(), Threaded()])
def test_a_backend_that_keeps_the_contract(backend: Any) -> None:
    response = check_backend(backend, ("Hi!", "Well?"))
    assert response.text == "You said: Hi!"


def test_the_factory_gets_the_endpoint_with_the_key() -> None:
    endpoints: list[Endpoint] = []

    def factory(endpoint: Endpoint) -> Words:
        endpoints.append(endpoint)
        return Words(endpoint)

    check_backend(factory, failing="fail", model="m", base_url="grpc://[::1]:80", api_key="k3y")
    assert endpoints == [Endpoint("grpc://[::1]:80", "k3y", "m")]


def test_features_are_those_of_the_provider() -> None:
    class Endless(Words):
        def response(self, text: str) -> Response:
            return Response(text)

    check_backend(Endless, finish_reason=False)


class OtherStream(Words):
    async def emit(self, emit: Any, piece: str) -> None:
        await emit(piece.upper())


class ByMode(Words):
    async def send(self, request: Any, emit: Any = None) -> Response:
        return Response("whole" if emit is None else "streamed", finish_reason="stop")


class Text(Words):
    def response(self, text: str) -> Any:
        return text


class Endless(Words):
    def response(self, text: str) -> Response:
        return Response(text)


class NoCoroutine(Words):
    def send(self, request: Any, emit: Any = None) -> Any:
        return Response("Hi", finish_reason="stop")


class Generator(Words):
    async def send(self, request: Any, emit: Any = None) -> Any:
        yield "Hi"


class NeedsLoop(Words):
    async def send(self, request: Any, emit: Any = None) -> Response:
        await asyncio.sleep(NAP)
        return Response("Hi", finish_reason="stop")


class OneLoop(Words):
    loop: Any = None

    async def send(self, request: Any, emit: Any = None) -> Response:
        return await personakit.io(lambda: self.response("Hi"), self.later)()

    async def later(self) -> Response:
        self.loop = self.loop or asyncio.get_running_loop()
        await asyncio.wrap_future(self.loop.run_in_executor(None, int))
        return self.response("Hi")


class OneThread(Words):
    def __init__(self, _: Any) -> None:
        self.thread = threading.get_ident()

    async def send(self, request: Any, emit: Any = None) -> Response:
        if personakit.base.in_sync() and threading.get_ident() != self.thread:
            raise RuntimeError("objects of a thread can only be used there")
        return self.response("Hi")


class Swallows(Words):
    async def send(self, request: Any, emit: Any = None) -> Response:
        try:
            await personakit.sleep(NAP)
        except asyncio.CancelledError:
            await personakit.sleep(NAP)
        return self.response("Hi")


class GoesOn(Words):
    async def send(self, request: Any, emit: Any = None) -> Response:
        for piece in ("H", "i") if emit else ():
            with contextlib.suppress(Exception):
                await emit(piece)
        return self.response("Hi")


class NeverEnds(Words):
    async def emit(self, emit: Any, piece: str) -> None:
        try:
            await emit(piece)
        except BaseException as error:
            if not isinstance(error, Exception):
                await emit(piece)
            raise


class Mixed(Words):
    def text(self, request: Any) -> str:
        self.last = text_of(request)
        return self.last

    def response(self, text: str) -> Response:
        return Response(self.last, finish_reason="stop")

    async def emit(self, emit: Any, piece: str) -> None:
        await personakit.sleep(NAP)


class Zero(Words):
    def response(self, text: str) -> Response:
        return Response(text, finish_reason="stop", usage=Usage(0, 0, 0))


class Changes(Words):
    def text(self, request: Any) -> str:
        object.__setattr__(request, "model", "mine")
        return text_of(request)


class Assigns(Words):
    def text(self, request: Any) -> str:
        request.model = "mine"
        return text_of(request)


class Answers(Words):
    def text(self, request: Any) -> str:
        return text_of(request)


class Blocks(Words):
    def text(self, request: Any) -> str:
        if request.messages[-1].text == "fail":
            raise Blocked("no")
        return text_of(request)


class Leaves(Words):
    async def send(self, request: Any, emit: Any = None) -> Response:
        if not personakit.base.in_sync():
            self.task = asyncio.create_task(asyncio.sleep(60))
        return self.response("Hi")


class Computes(Words):
    async def send(self, request: Any, emit: Any = None) -> Response:
        if request.messages[-1].text == "Hi!":
            time.sleep(0.6)
        return self.response(text_of(request))


class Bytes(Words):
    async def emit(self, emit: Any, piece: str) -> None:
        await emit(piece.encode())


async def asynchronous(endpoint: Endpoint) -> Text:
    return Text(endpoint)


def nothing(endpoint: Endpoint) -> None: ...


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (OtherStream, r"stream\('Hi!'\).*emitted 'YOU SAID: HI!', but the text .* 'You said: Hi!'"),
        (ByMode, "`text` differs: stream gave 'streamed', run gave 'whole'"),
        (Text, "its `send` returned 'You said: Hi!'; it must return a personakit.Response"),
        (Endless, r"no finish reason; .*finish_reason='stop'"),
        (NoCoroutine, "its `send` returned Response; write `async def send"),
        (Generator, "its `send` returned async_generator; write `async def send"),
        (NeedsLoop, r"run\('Hi!'\).* in the sync API a backend can await only emit, personakit.io"),
        (OneLoop, "astream"),
        (OneThread, "run.. in another thread; one backend serves all threads: it raised"),
        (Swallows, "a cancelled arun.*it caught CancelledError"),
        (GoesOn, "stream.. after the deadline: it went on after emit.. had raised Timeout"),
        (Computes, "run.. after the deadline: it went on for .* s without a deadline; call `p"),
        (NeverEnds, "closed after its first text: it went on after emit.. had raised Generator"),
        (Mixed, "concurrent calls of arun.*the answer to 'Hi!' .*local variables of `send`"),
        (Zero, "the usage of its response is zero tokens; if it is not known, it must be None"),
        (Changes, "it changed the request"),
        (Assigns, "tried to change an argument"),
        (Answers, "expected a BackendError, but it answered 'You said: fail'"),
        (Blocks, "expected a BackendError, it raised Blocked: no"),
        (Leaves, "it left a task running"),
        (Bytes, "called emit.. with b'You'; expected a string"),
        (asynchronous, "its factory is `async def`; write `def`"),
        (nothing, "its factory returned None; it must return an object with `async def send"),
    ],
)
def test_a_broken_backend_fails_with_the_rule(broken: Callable[..., Any], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_backend(broken, failing="fail")


def test_what_is_not_a_backend_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="found str"):
        check_backend("Words")
    with pytest.raises(TypeError, match="two or more"):
        check_backend(Words, ("Hi!",))


def test_an_error_of_a_backend_may_be_one_of_personakit() -> None:
    class Busy(Words):
        def text(self, request: Any) -> str:
            if request.messages[-1].text == "fail":
                raise RateLimited("wait", retry_after=3)
            return text_of(request)

    check_backend(Busy, failing="fail")
    with pytest.raises(AssertionError) as raised:
        check_backend(Busy, ("fail", "Hi!"))
    assert isinstance(raised.value.__cause__, BackendError)
