"""Over HTTP with the real client: what upstreams answer, how long to wait, and broken streams."""

import asyncio
import json
import random
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from email.utils import formatdate
from typing import Any

import pytest
from personakit_retry import Retry

from personakit import (
    AuthenticationFailed,
    BackendError,
    IncompleteAnswer,
    QuotaExhausted,
    RateLimited,
    Request,
    Response,
    Runner,
    Send,
    hookimpl,
)
from personakit.testing import MODES, Reply, Server, in_mode, persona, runner

STREAMED = MODES[2:]


def failed(status: int, code: str = "", **headers: str) -> Reply:
    body = b'{"error": {"message": "no", "code": "%s"}}' % code.encode()
    return Reply(body, status, {name.replace("_", "-"): value for name, value in headers.items()})


@contextmanager
def serving(answers: Sequence[Any], *outer: Any, **options: Any) -> Iterator[tuple[Runner, Server]]:
    plugins = [*outer, Retry(**options)]
    with (
        Server(answers) as server,
        closing(Runner(server.config(), plugins=plugins)) as running,
    ):
        yield running, server


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("status", [408, 429, 500])
def test_a_status_that_may_pass_is_tried_again(mode: str, status: int) -> None:
    with serving([failed(status), failed(status), "yes"], backoff=0) as (running, server):
        response = in_mode(mode, running, persona(), "Hi")
        assert response.text == "yes"
        assert response.metadata["retry"] == {"attempts": 3, "model": "openai/test-model"}
        assert len(server.requests) == 3


@pytest.mark.parametrize("mode", MODES)
def test_attempts_are_not_multiplied_by_those_of_the_client(mode: str) -> None:
    with (
        serving([failed(500)], backoff=0, attempts=2) as (running, server),
        pytest.raises(BackendError, match="500") as raised,
    ):
        in_mode(mode, running, persona(), "Hi")
    assert len(server.requests) == 2
    assert raised.value.status == 500
    assert len(raised.value.__notes__) == 1


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "headers",
    [
        {"retry_after": "0"},
        {"retry_after": formatdate(0, usegmt=True)},
        {"retry_after_ms": "0", "retry_after": "30"},
        {"retry_after_ms": "soon", "retry_after": "-1"},
    ],
)
def test_the_upstream_says_how_long_to_wait(mode: str, headers: dict[str, str]) -> None:
    random.seed(1)
    started = time.monotonic()
    with serving([failed(429, **headers), "yes"], backoff=1000, max_wait=30) as (running, _):
        assert in_mode(mode, running, persona(), "Hi").text == "yes"
    # Its own wait would be random up to 30 s, with this seed 4 s.
    assert time.monotonic() - started < 3


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("headers", [{"retry_after": "0.1"}, {"retry_after_ms": "100"}])
def test_what_the_upstream_asks_for_is_waited(mode: str, headers: dict[str, str]) -> None:
    started = time.monotonic()
    with serving([failed(429, **headers), "yes"], backoff=0) as (running, _):
        assert in_mode(mode, running, persona(), "Hi").text == "yes"
    assert time.monotonic() - started >= 0.1


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "value",
    ["31", "inf", formatdate(time.time() + 3600, usegmt=True), "9" * 400],
    ids=["seconds", "inf", "date", "digits"],
)
def test_an_upstream_that_asks_for_too_long_is_not_asked_again(mode: str, value: str) -> None:
    busy = failed(429, retry_after=value)
    with serving([busy, "yes"], fallback=["openai/other"]) as (running, server):
        assert in_mode(mode, running, persona(), "Hi").text == "yes"
        assert [r.body["model"] for r in server.requests] == ["test-model", "other"]
    with serving([busy, "yes"]) as (running, server), pytest.raises(RateLimited):
        in_mode(mode, running, persona(), "Hi")
    assert len(server.requests) == 1


@pytest.mark.parametrize("value", ["soon", "nan", "", "Mon, 99 Foo 2020 99:99:99 GMT"])
def test_a_wrong_header_is_not_heeded(value: str) -> None:
    with serving([failed(429, retry_after=value), "yes"], backoff=0) as (running, _):
        assert running.run(persona(), "Hi").text == "yes"


def test_waits_grow_and_are_random() -> None:
    random.seed(7)
    expected = sum(random.uniform(0, 0.02 * 2**n) for n in range(4))
    random.seed(7)
    running, _ = runner([*[RateLimited("no")] * 4, "yes"], plugins=[Retry(5, 0.02)])
    started = time.monotonic()
    assert running.run(persona(), "Hi").text == "yes"
    assert time.monotonic() - started >= expected


def test_no_wait_is_longer_than_the_longest() -> None:
    running, _ = runner([*[RateLimited("no")] * 9, "yes"], plugins=[Retry(10, 1e300, 0.001)])
    started = time.monotonic()
    assert running.run(persona(), "Hi").text == "yes"
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (failed(429, "insufficient_quota"), QuotaExhausted),
        (failed(401), AuthenticationFailed),
    ],
)
def test_another_model_answers(mode: str, reply: Reply, kind: type[BackendError]) -> None:
    with serving([reply, "yes"], fallback=["openai/other"]) as (running, server):
        assert in_mode(mode, running, persona(), "Hi").text == "yes"
        assert [r.body["model"] for r in server.requests] == ["test-model", "other"]
    with serving([reply, "yes"]) as (running, server), pytest.raises(kind):
        in_mode(mode, running, persona(), "Hi")
    assert len(server.requests) == 1


def broken(text: str) -> Reply:
    """Return a streamed reply whose connection is cut after some text."""
    event = {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]}

    def body() -> Generator[bytes]:
        yield b"data: " + json.dumps(event).encode() + b"\n\n"
        raise ConnectionResetError

    return Reply(body(), headers={"content-type": "text/event-stream"})


@pytest.mark.parametrize("mode", MODES)
def test_a_stream_that_breaks_before_any_text_is_tried_again(mode: str) -> None:
    with serving([broken(""), "yes"], backoff=0) as (running, server):
        assert in_mode(mode, running, persona(), "Hi").text == "yes"
        assert len(server.requests) == 2


@pytest.mark.parametrize("mode", STREAMED)
def test_nothing_is_sent_again_after_text_went_out(mode: str) -> None:
    with (
        serving([broken("some text"), "yes"], backoff=0, fallback=["openai/other"]) as (
            running,
            server,
        ),
        pytest.raises(IncompleteAnswer) as raised,
    ):
        in_mode(mode, running, persona(), "Hi")
    assert raised.value.partial == "some text"
    assert len(server.requests) == 1


class Hold:
    @hookimpl
    async def chat(self, request: Request, send: Send) -> Response:
        return await send(request)


@pytest.mark.parametrize("mode", MODES)
def test_what_an_outer_plugin_holds_back_is_tried_again(mode: str) -> None:
    with serving([broken("some text"), "yes"], Hold(), backoff=0) as (running, server):
        assert in_mode(mode, running, persona(), "Hi").text == "yes"
        assert len(server.requests) == 2


def test_text_flows_while_it_arrives() -> None:
    with serving([failed(500)], backoff=0) as (running, server):
        left = threading.Event()

        def slowly() -> Generator[bytes]:
            first, second, *rest = server.events("a long answer", usage=True)
            yield first + second
            left.wait(10)
            yield b"".join(rest)

        events = {"content-type": "text/event-stream"}
        server.answers = [failed(500), Reply(slowly(), headers=events)]
        stream = running.stream(persona(), "Hi")
        assert next(stream) == "a l"
        stream.close()
        left.set()


def test_a_wait_can_be_cancelled() -> None:
    running, upstream = runner([RateLimited("no")], plugins=[Retry(backoff=1000, max_wait=1000)])

    async def cancel() -> None:
        random.seed(1)
        task = asyncio.create_task(running.arun(persona(), "Hi"))
        while not upstream.requests:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.01)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancel())
    assert len(upstream.requests) == 1


def test_an_async_stream_can_be_left() -> None:
    async def leave() -> str:
        running, _ = runner([RateLimited("no"), "a long answer"], plugins=[Retry(backoff=0)])
        async with running.astream(persona(), "Hi") as stream:
            return await anext(stream)

    assert asyncio.run(leave()) == "a l"


def test_a_dry_run_shows_what_would_leave() -> None:
    running, upstream = runner(plugins=[Retry()])
    assert running.prepare(persona(), "Hi").max_retries == 0
    assert upstream.requests == []
