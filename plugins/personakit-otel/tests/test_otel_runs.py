"""What is recorded of whole runs: in all four modes, of streams that end early, side by side."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import context, trace
from opentelemetry.trace import SpanKind, StatusCode

from personakit import (
    Blocked,
    Config,
    RateLimited,
    Request,
    Response,
    Runner,
    Send,
    Usage,
    hookimpl,
)
from personakit.testing import MODES, Upstream, in_mode, runner
from personakit.testing import persona as a_persona

if TYPE_CHECKING:
    from tests.conftest import Recorded


PARAMETERS = {
    "temperature": 0.5,
    "top_p": 0.9,
    "max_tokens": 50,
    "seed": 7,
    "stop": ["END"],
    "frequency_penalty": 0.1,
    "presence_penalty": 0.2,
}


@pytest.mark.parametrize("mode", MODES)
def test_a_model_call_is_a_span(recorded: Recorded, mode: str) -> None:
    answer = Response(
        "Hello!", finish_reason="stop", model="m-2025", id="r1", usage=Usage(11, 22, 33)
    )
    running, _ = runner([answer], plugins=[recorded.plugin()])
    in_mode(mode, running, a_persona(version="1.2"), "Hi", parameters=PARAMETERS)
    span, attributes = recorded.one()
    streamed = mode.endswith("stream")
    assert (span.name, span.kind) == ("chat model", SpanKind.CLIENT)
    assert span.status.status_code is StatusCode.UNSET
    assert span.parent is None
    first = attributes.pop("gen_ai.response.time_to_first_chunk", None)
    assert (first is not None) == streamed
    assert attributes.pop("gen_ai.request.stream", False) == streamed
    assert attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "test",
        "gen_ai.request.model": "model",
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.top_p": 0.9,
        "gen_ai.request.max_tokens": 50,
        "gen_ai.request.seed": 7,
        "gen_ai.request.stop_sequences": ("END",),
        "gen_ai.request.frequency_penalty": 0.1,
        "gen_ai.request.presence_penalty": 0.2,
        "gen_ai.response.model": "m-2025",
        "gen_ai.response.id": "r1",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 11,
        "gen_ai.usage.output_tokens": 22,
        "personakit.persona": "test",
        "personakit.persona_version": "1.2",
    }


@pytest.mark.parametrize("mode", MODES)
def test_metrics(recorded: Recorded, mode: str) -> None:
    running, _ = runner([Response("Hi", usage=Usage(11, 22, 33))], plugins=[recorded.plugin()])
    in_mode(mode, running, a_persona(), "Hi")
    in_mode(mode, running, a_persona(), "Hi")
    known = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "test",
        "gen_ai.request.model": "model",
    }
    found = recorded.metrics()
    (duration,) = found["gen_ai.client.operation.duration"]
    assert (dict(duration.attributes), duration.count) == (known, 2)
    boundaries = "0.01 0.02 0.04 0.08 0.16 0.32 0.64 1.28 2.56 5.12 10.24 20.48 40.96 81.92"
    assert duration.explicit_bounds == tuple(float(bound) for bound in boundaries.split())
    tokens = {
        dict(point.attributes)["gen_ai.token.type"]: point
        for point in found["gen_ai.client.token.usage"]
    }
    assert {kind: point.sum for kind, point in tokens.items()} == {"input": 22, "output": 44}
    assert dict(tokens["input"].attributes) == {**known, "gen_ai.token.type": "input"}
    assert tokens["input"].explicit_bounds[:3] == (1, 4, 16)
    assert tokens["input"].explicit_bounds[-1] == 67108864
    firsts = found.get("gen_ai.client.operation.time_to_first_chunk", [])
    assert [point.count for point in firsts] == ([2] if mode.endswith("stream") else [])
    assert all(point.sum <= duration.sum for point in firsts)


def test_usage_that_nobody_told_is_not_made_up(recorded: Recorded) -> None:
    running, _ = runner([Response("Hi")], plugins=[recorded.plugin()])
    running.run(a_persona(), "Hi")
    assert "gen_ai.client.token.usage" not in recorded.metrics()
    assert not [name for name in recorded.one()[1] if "usage" in name]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("error", "kind"),
    [(RateLimited("my secret is too long"), "RateLimited"), (Blocked("a secret"), "Blocked")],
)
@pytest.mark.parametrize("content", [False, True])
def test_failures(recorded: Recorded, mode: str, error: Any, kind: str, content: bool) -> None:
    running, _ = runner([error], plugins=[recorded.plugin(content=content)])
    with pytest.raises(type(error)):
        in_mode(mode, running, a_persona(), "Hi")
    span, attributes = recorded.one()
    assert span.status.status_code is StatusCode.ERROR
    assert span.status.description == (str(error) if content else None)
    assert attributes["error.type"] == kind
    assert span.events == ()
    (duration,) = recorded.metrics()["gen_ai.client.operation.duration"]
    assert dict(duration.attributes)["error.type"] == kind


@pytest.mark.parametrize("mode", ["stream", "astream"])
def test_an_error_in_the_middle_of_a_stream(recorded: Recorded, mode: str) -> None:
    upstream = Upstream(["Hello!"], size=1, fail_after=3)
    config = Config(model="test/m", path=())
    running = Runner(config, plugins=[recorded.plugin()], backend=upstream)
    with pytest.raises(ConnectionError):
        in_mode(mode, running, a_persona(), "Hi")
    span, attributes = recorded.one()
    assert attributes["error.type"] == "ConnectionError"
    assert attributes["gen_ai.request.stream"] is True
    assert span.status.status_code is StatusCode.ERROR


def abandoned(recorded: Recorded) -> None:
    gc.collect()
    span, attributes = recorded.one()
    assert attributes["personakit.abandoned"] is True
    assert attributes["gen_ai.request.stream"] is True
    assert span.status.status_code is StatusCode.UNSET
    (duration,) = recorded.metrics()["gen_ai.client.operation.duration"]
    assert dict(duration.attributes)["personakit.abandoned"] is True


def close(stream: Any) -> None:
    stream.close()


def drop(stream: Any) -> None:
    """The caller's variable is the last one: nothing to do."""


def close_in_thread(stream: Any) -> None:
    thread = threading.Thread(target=stream.close)
    thread.start()
    thread.join()


@pytest.mark.parametrize("leave", [close, drop, close_in_thread])
def test_an_abandoned_stream(recorded: Recorded, leave: Callable[[Any], None]) -> None:
    running, _ = runner(["Hello!"], plugins=[recorded.plugin()], size=1)
    stream = running.stream(a_persona(), "Hi")
    assert next(stream) == "H"
    assert recorded.spans == ()
    leave(stream)
    del stream
    abandoned(recorded)


async def in_another_task(stream: Any) -> None:
    token = context.attach(context.set_value("elsewhere", True))
    await asyncio.create_task(stream.aclose())
    assert context.get_value("elsewhere") is True
    context.detach(token)


@pytest.mark.parametrize("way", ["close", "drop", "task", "shutdown"])
def test_an_abandoned_async_stream(recorded: Recorded, way: str) -> None:
    running, _ = runner(["Hello!"], plugins=[recorded.plugin()], size=1)
    kept: list[Any] = []

    async def read() -> None:
        stream = running.astream(a_persona(), "Hi")
        assert await anext(stream) == "H"
        assert recorded.spans == ()
        if way == "close":
            await stream.aclose()
        elif way == "task":
            await in_another_task(stream)
        elif way == "shutdown":
            kept.append(stream)  # the loop closes what is left when it ends

    asyncio.run(read())
    abandoned(recorded)


def test_a_stream_that_is_dropped_without_a_loop(recorded: Recorded) -> None:
    running, _ = runner(["Hello!"], plugins=[recorded.plugin()], size=1)
    stream = running.astream(a_persona(), "Hi")
    with pytest.raises(StopIteration):
        stream.__anext__().send(None)
    with recorded.tracer.start_as_current_span("other") as other:
        del stream
        gc.collect()
        assert trace.get_current_span() is other
    assert [span.name for span in recorded.spans] == ["chat model", "other"]


class NeverAnswers:
    """A `send` whose answer does not come."""

    started = False

    async def live(self, request: Request, filter: object = None) -> Response:  # noqa: A002
        while True:
            await asyncio.sleep(0)


def test_a_run_that_is_closed_in_another_context(recorded: Recorded) -> None:
    send: Any = NeverAnswers()
    hook = recorded.plugin().chat(Request("test/m"), send, a_persona())
    copy_context().run(hook.send, None)
    with recorded.tracer.start_as_current_span("other") as other:
        hook.close()
        assert trace.get_current_span() is other
    assert [span.name for span in recorded.spans] == ["chat m", "other"]


def test_a_cancelled_task(recorded: Recorded) -> None:
    entered = asyncio.Event()

    class Slow:
        every_call = True

        @hookimpl
        async def chat(self, request: Request) -> None:
            entered.set()
            await asyncio.sleep(60)

    running, _ = runner(plugins=[recorded.plugin(), Slow()])

    async def cancel() -> None:
        task = asyncio.create_task(running.arun(a_persona(), "Hi"))
        await entered.wait()
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancel())
    assert recorded.one()[1]["personakit.abandoned"] is True


class Inner:
    """Stands for an instrumented HTTP client."""

    every_call = True

    def __init__(self, recorded: Recorded) -> None:
        self.recorded = recorded

    @hookimpl
    def chat(self, request: Request) -> None:
        with self.recorded.tracer.start_as_current_span("POST"):
            pass


@pytest.mark.parametrize("mode", MODES)
def test_spans_nest(recorded: Recorded, mode: str) -> None:
    running, _ = runner(plugins=[recorded.plugin(), Inner(recorded)])
    with recorded.tracer.start_as_current_span("caller") as caller:
        in_mode(mode, running, a_persona(), "Hi")
        assert trace.get_current_span() is caller
    post, chat, _ = recorded.spans
    assert chat.parent == caller.get_span_context()
    assert post.parent == chat.context


def test_the_caller_does_not_see_the_span_of_a_stream(recorded: Recorded) -> None:
    running, _ = runner(["Hello!"], plugins=[recorded.plugin()], size=1)
    for _ in running.stream(a_persona(), "Hi"):
        assert not trace.get_current_span().get_span_context().is_valid


def test_tasks_have_their_own_traces(recorded: Recorded) -> None:
    running, _ = runner(plugins=[recorded.plugin(), Inner(recorded)], size=1)

    async def one(number: int) -> str:
        if number % 2:
            return (await running.arun(a_persona(), "Hi")).text
        return "".join([text async for text in running.astream(a_persona(), "Hi")])

    async def every() -> list[str]:
        return await asyncio.gather(*(one(number) for number in range(20)))

    assert asyncio.run(every()) == ["Hello!"] * 20
    check_traces(recorded, 20)


def test_threads_have_their_own_traces(recorded: Recorded) -> None:
    running, _ = runner(plugins=[recorded.plugin(), Inner(recorded)], size=1)

    def read() -> None:
        list(running.stream(a_persona(), "Hi"))

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    check_traces(recorded, 8)


@pytest.mark.parametrize("mode", MODES)
def test_the_calls_of_a_run_inside_and_embeddings_are_counted(
    recorded: Recorded, mode: str
) -> None:
    class Asks:
        @hookimpl
        async def run(self, request: Request, send: Send) -> Response:
            await send.embed(["one", "two"], model="test/small")
            await send.run(a_persona("Other.", name="other"), "?")
            return await send.live(request)

    answer = Response("Hi", usage=Usage(11, 22, 33))
    running, _ = runner([answer], plugins=[Asks(), recorded.plugin()])
    response = in_mode(mode, running, a_persona(), "Hi")
    assert [span.name for span in recorded.spans] == [
        "embeddings small",
        "chat model",
        "chat model",
    ]
    counted = recorded.metrics()["gen_ai.client.token.usage"]
    spent = response.spent.usage
    assert spent is not None
    assert sum(point.sum for point in counted) == spent.total_tokens


def check_traces(recorded: Recorded, count: int) -> None:
    chats = {s.context.trace_id: s.context for s in recorded.spans if s.name == "chat model"}
    posts = [span for span in recorded.spans if span.name == "POST"]
    assert len(chats) == len(posts) == count
    assert all(span.parent == chats[span.context.trace_id] for span in posts)
