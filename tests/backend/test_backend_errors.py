"""Answers that are none, statuses, retries and connections that break."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Generator
from contextlib import closing
from typing import Any

import pytest
from helpers.backend import (
    DONE,
    EVENTS,
    STOP,
    WHO,
    chunk,
    fails,
    failure,
    in_modes,
    in_streams,
    once,
    plugin,
    read,
    says,
    serving,
    whole,
)

from personakit import (
    AuthenticationFailed,
    BackendError,
    BadRequest,
    Config,
    Endpoint,
    IncompleteAnswer,
    InvalidAnswer,
    ModelNotFound,
    PluginError,
    Provider,
    QuotaExhausted,
    RateLimited,
    Request,
    Response,
    Runner,
    Send,
    Timeout,
    UpstreamUnavailable,
    hookimpl,
)
from personakit.testing import Reply, Server, in_mode

# Whole and streamed, async and sync, where all four would only take longer.
in_two_modes = pytest.mark.parametrize("mode", ["arun", "stream"])


# --- answers that are none ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "kind", "match"),
    [
        (
            Reply(b"<html>Sign in", headers={"content-type": "text/html"}),
            InvalidAnswer,
            "'<html>Sign in'",
        ),
        (b"", InvalidAnswer, "it is empty"),
        (b"[]", InvalidAnswer, "the answer is '[]', not a JSON object"),
        (b"[" * 100_000, InvalidAnswer, "not valid JSON"),
        ({}, InvalidAnswer, "no choices"),
        ({"object": "list", "data": []}, InvalidAnswer, "no choices; its keys are object, data"),
        ({"choices": []}, InvalidAnswer, "no choices; `choices` is []"),
        ({"choices": None}, InvalidAnswer, "no choices; `choices` is null"),
        ({"choices": [], "prompt_filter_results": []}, InvalidAnswer, "content filter checked the"),
        ({"choices": {"a": 1}}, InvalidAnswer, "no choices"),
        ({"choices": [1]}, InvalidAnswer, "'1' where an object is expected"),
        ({"choices": [{}]}, InvalidAnswer, "where an object is expected"),
        (whole({"content": None}), InvalidAnswer, "neither content nor tool calls"),
        (whole({"content": 3}), InvalidAnswer, "the content is '3', not a string"),
        (whole({"content": "x", "tool_calls": 3}), InvalidAnswer, "'3' where a list is expected"),
        (whole({"content": "x", "tool_calls": [3]}), InvalidAnswer, "where an object is expected"),
        (
            whole({"content": "x", "tool_calls": [{"id": "a", "function": {"name": 4}}]}),
            InvalidAnswer,
            "'4' where a string is expected",
        ),
        (whole({"content": "x"}, None), IncompleteAnswer, "no finish reason"),
        ({"error": {"message": "overloaded", "code": 429}}, RateLimited, "error: overloaded"),
        ({"error": {"message": "gone", "code": "x"}}, UpstreamUnavailable, "error: gone"),
        ({"error": "plain"}, UpstreamUnavailable, "error: plain"),
    ],
)
@in_two_modes
def test_an_answer_that_is_none(
    mode: str, answer: Any, kind: type[BackendError], match: str
) -> None:
    error, text = fails(mode, kind, answer, match=match)
    assert text == (error.partial if "stream" in mode else "")
    assert error.partial == ("x" if "'content': 'x'" in str(answer) else "")


@pytest.mark.parametrize(
    ("end", "kind", "match"),
    [
        (b"", IncompleteAnswer, "ended before the answer did"),
        (DONE, IncompleteAnswer, "ended before the answer did"),
        (b'data: {"cho', IncompleteAnswer, "ended before the answer did"),
        (b"data: nonsense\n\n" + STOP, InvalidAnswer, "begins with 'nonsense'"),
        (b"data: 3\n\n" + STOP, InvalidAnswer, "'3', not a JSON object"),
        (b'data: {"choices": 3}\n\n' + STOP, InvalidAnswer, "'3' where a list is expected"),
        (b'data: {"choices": {"a": 1}}\n\n' + STOP, InvalidAnswer, "where a list is expected"),
        (b'data: {"choices": [3]}\n\n' + STOP, InvalidAnswer, "where an object is expected"),
        (chunk({"content": 3}) + STOP, InvalidAnswer, "not a string"),
        (
            chunk({"tool_calls": [{"index": "x"}]}) + STOP,
            InvalidAnswer,
            "a tool call without a name",
        ),
        (chunk({"tool_calls": 3}) + STOP, InvalidAnswer, "'3' where a list is expected"),
        (
            b'event: error\ndata: {"error": {"message": "full", "code": 503}}\n\n',
            UpstreamUnavailable,
            "full",
        ),
        (
            b'data: {"error": {"message": "slow down", "code": 429}}\n\n' + STOP,
            RateLimited,
            "slow down",
        ),
    ],
)
@in_streams
def test_a_stream_that_goes_wrong_gives_its_text_first(
    mode: str, end: bytes, kind: type[BackendError], match: str
) -> None:
    body = says("Hel") + says("lo") + end
    error, text = fails(mode, kind, Reply(body, headers=EVENTS), match=match)
    assert text == error.partial == "Hello"


def test_a_stream_cut_at_any_byte_is_never_a_shorter_answer() -> None:
    body = says("Hé") + says("llo") + chunk(reason="stop")
    end = body.rstrip()
    replies = [Reply(body[:at], headers=EVENTS) for at in range(len(end))]
    with serving(*replies, plugins=[once]) as (running, _):
        for at in range(len(end)):
            error, text = failure("stream", running)
            assert isinstance(error, IncompleteAnswer), at
            assert error.partial == text
            assert "Héllo".startswith(text)


@in_streams
def test_a_connection_that_breaks_keeps_what_had_arrived(mode: str) -> None:
    def breaks(*parts: bytes) -> Generator[bytes]:
        yield from parts
        raise ConnectionError

    error, text = fails(mode, IncompleteAnswer, Reply(breaks(says("Hello")), headers=EVENTS))
    assert text == error.partial == "Hello"
    error, text = fails(mode, UpstreamUnavailable, Reply(breaks(), headers=EVENTS))
    assert text == error.partial == ""


@pytest.mark.parametrize("mode", ["run", "arun"])
def test_a_whole_answer_that_breaks_off(mode: str) -> None:
    def breaks() -> Generator[bytes]:
        yield b'{"choices": ['
        raise ConnectionError

    fails(mode, UpstreamUnavailable, Reply(breaks()), match="test-model at http://127.0.0.1")


# --- statuses and retries ----------------------------------------------------------------------


QUOTA = b'{"error": {"message": "No credit left", "code": "insufficient_quota"}}'


@pytest.mark.parametrize(
    ("status", "kind", "body"),
    [
        (400, BadRequest, b'{"error": {"message": "Unknown parameter"}}'),
        (401, AuthenticationFailed, b'{"error": {"message": "Wrong key"}}'),
        (403, AuthenticationFailed, b""),
        (404, ModelNotFound, b'{"error": {"message": "No such model"}}'),
        (408, Timeout, b""),
        (413, BadRequest, b"too large"),
        (418, BadRequest, b"<html>"),
        (422, BadRequest, b"[]"),
        (429, RateLimited, b'{"error": {"message": "Slow down"}}'),
        (429, QuotaExhausted, QUOTA),
        (500, UpstreamUnavailable, b""),
        (503, UpstreamUnavailable, b'{"error": {"message": "Overloaded"}}'),
    ],
)
@in_two_modes
def test_a_status_is_an_error_of_its_family(
    mode: str, status: int, kind: type[BackendError], body: bytes
) -> None:
    reply = Reply(body, status, {"x-request-id": "req_1"})
    error, _ = fails(mode, kind, reply, match="test-model at http://127.0.0.1:")
    assert (error.status, error.request_id, error.partial) == (status, "req_1", "")
    assert f"status {status}" in str(error)
    if b"message" in body:
        assert json.loads(body)["error"]["message"] in str(error)
    assert "test-key" not in str(error) + repr(error)


@in_two_modes
def test_a_header_that_is_not_ascii_does_not_hide_an_error(mode: str) -> None:
    reply = Reply(b'{"error": {"message": "No."}}', 400, {"x-request-id": "r\xe9q"})
    error, _ = fails(mode, BadRequest, reply, match="status 400: No; ")
    assert error.request_id == "r\xe9q"


def retries(count: int | None) -> Any:
    return plugin(lambda request: request.replace(max_retries=count))


@pytest.mark.parametrize(("max_retries", "sent"), [(0, 1), (1, 2), (None, 3), (4, 5)])
@in_two_modes
def test_the_client_retries_as_often_as_the_request_says(
    mode: str, max_retries: int | None, sent: int
) -> None:
    busy = Reply(b"", 503, {"retry-after-ms": "1"})
    with serving(busy, plugins=[retries(max_retries)]) as (running, server):
        error, _ = failure(mode, running)
        assert isinstance(error, UpstreamUnavailable)
        assert len(server.requests) == sent
    with serving(*[busy] * (sent - 1), "Hello!", plugins=[retries(max_retries)]) as (running, _):
        assert in_mode(mode, running, WHO).text == "Hello!"


@in_modes
def test_a_redirect_is_not_followed(mode: str) -> None:
    with Server() as elsewhere:
        to = {"location": f"{elsewhere.base_url}/chat/completions"}
        error, _ = fails(
            mode, UpstreamUnavailable, Reply(b"", 307, to), match="redirects are not followed"
        )
    assert elsewhere.requests == []
    assert error.status == 307


@in_modes
def test_a_key_that_the_upstream_repeats_is_not_shown(mode: str) -> None:
    body = b'{"error": {"message": "Incorrect API key provided: test-key."}}'
    error, _ = fails(mode, AuthenticationFailed, Reply(body, 401), match="key provided: ***; ")
    assert "test-key" not in str(error) + repr(error)


@in_modes
@pytest.mark.parametrize("length", [0, 40, 480])
def test_a_key_that_a_message_cuts_is_not_shown(mode: str, length: int) -> None:
    key = "sk-" + "0123456789abcdef" * 3
    said = f"{'x' * length}{key}"
    for body in (json.dumps({"error": {"message": said}}), json.dumps(said), said):
        with Server([Reply(body.encode())]) as server:
            mine = Provider("mine", server.base_url, api_key=key)
            config = Config(providers={"mine": mine}, model="mine/m")
            with closing(Runner(config, plugins=[once])) as running:
                error, _ = failure(mode, running)
        assert key[:16] not in str(error) + repr(error)


@in_modes
def test_nobody_listens(mode: str) -> None:
    with Server() as server:
        config = server.config()
    error, _ = failure(mode, Runner(config, plugins=[once]))
    assert isinstance(error, UpstreamUnavailable)
    assert "check that the address is correct and the server is running" in str(error)
    assert error.__cause__ is not None


@in_modes
def test_an_upstream_that_stays_silent_for_too_long(mode: str) -> None:
    silence = threading.Event()

    def silent() -> Generator[bytes]:
        silence.wait(30)
        yield b" "

    with serving(Reply(silent(), headers=EVENTS)) as (running, _):
        error, _ = failure(mode, Runner(running.config, plugins=[plugin(impatient)]))
        silence.set()
    assert isinstance(error, Timeout)


def impatient(request: Request) -> Request:
    return request.replace(timeout=0.05, max_retries=0)


# --- live --------------------------------------------------------------------------------------


@in_streams
def test_text_reaches_the_caller_while_the_upstream_still_speaks(mode: str) -> None:
    heard = threading.Event()

    def speaks() -> Generator[bytes]:
        yield says("Hel")
        if heard.wait(30):
            yield says("lo!") + STOP

    async def listen(stream: Any) -> None:
        async for _ in stream:
            heard.set()

    with serving(Reply(speaks(), headers=EVENTS)) as (running, _):
        if mode == "stream":
            stream: Any = running.stream(WHO)
            for _ in stream:
                heard.set()
        else:
            stream = running.astream(WHO)
            asyncio.run(listen(stream))
    assert stream.response.text == "Hello!"


def endless(left: threading.Event, first: bytes) -> Generator[bytes]:
    """Stream until the client leaves."""
    try:
        yield first
        while not left.wait(0.001):
            yield b": \n\n"
    finally:
        left.set()


def leave_sync(running: Runner) -> None:
    with running.stream(WHO) as stream:
        assert next(stream) == "Hel"


def leave_async(running: Runner) -> None:
    async def main() -> None:
        async with running.astream(WHO) as stream:
            assert await anext(stream) == "Hel"

    asyncio.run(main())


def cancel_stream(running: Runner) -> None:
    async def main() -> None:
        stream = running.astream(WHO)
        task = asyncio.create_task(read(stream))
        while not stream.text:
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())


def cancel_whole(running: Runner) -> None:
    async def main() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(running.arun(WHO), 0.2)

    asyncio.run(main())


@pytest.mark.parametrize("leave", [leave_sync, leave_async, cancel_stream, cancel_whole])
def test_whoever_leaves_early_closes_the_connection(leave: Callable[[Runner], None]) -> None:
    left = threading.Event()
    first = b" " if leave is cancel_whole else says("Hel")
    with serving(Reply(endless(left, first), headers=EVENTS)) as (running, _):
        leave(running)
        assert left.wait(30)


class BreaksInFeed:
    def feed(self, text: str) -> str:
        raise ValueError("in the filter")

    def flush(self) -> str:
        return ""


@in_modes
def test_a_filter_that_fails_is_no_failure_of_the_upstream(mode: str) -> None:
    async def chat(request: Request, send: Send) -> Response:
        return await send.live(request, filter=BreaksInFeed())

    with serving(plugins=[plugin(chat)]) as (running, _):
        error, _ = failure(mode, running)
    assert isinstance(error, PluginError)
    assert isinstance(error.__cause__, ValueError)


def test_the_sync_api_needs_no_event_loop_and_no_thread() -> None:
    before = threading.active_count()
    with serving() as (running, _):
        threads = threading.active_count()
        running.run(WHO)
        for _ in running.stream(WHO):
            assert threading.active_count() <= threads + 1  # the server has one for a connection
    assert before <= threads


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        ({}, 40),
        ({"max_tokens": 9}, 9),
        ({"max_tokens": 99}, 40),
        ({"max_completion_tokens": 99}, 40),
    ],
)
def test_an_endpoint_may_limit_its_answers(asked: dict[str, int], sent: int) -> None:
    with Server() as server:
        provider = Provider("mine", connect=lambda _: Endpoint(server.base_url, None, "m", 40))
        running = Runner(Config(model="mine/x", path=(), providers={"mine": provider}))
        running.run(WHO, parameters=asked)
        running.close()
    body = server.requests[0].body
    assert (body["max_tokens"], "max_completion_tokens" in body) == (sent, False)


@pytest.mark.parametrize(
    ("asked", "sent"),
    [({}, [0.5, 9]), ({"temperature": 0.0}, [0.0, 9]), ({"max_tokens": 4}, [0.5, 4])],
)
def test_an_endpoint_may_have_defaults_for_what_a_request_does_not_set(
    asked: dict[str, float], sent: list[float]
) -> None:
    defaults = {"temperature": 0.5, "max_tokens": 9, "dry_sequence_breakers": ["#"]}
    with Server() as server:
        there = Endpoint(server.base_url, None, "m", defaults=defaults)
        provider = Provider("mine", connect=lambda _: there)
        with Runner(Config(model="mine/x", path=(), providers={"mine": provider})) as running:
            running.run(WHO, parameters=asked)
    body = server.requests[0].body
    assert [body["temperature"], body["max_tokens"]] == sent
    assert body["dry_sequence_breakers"] == ["#"]
    defaults["temperature"] = 1.0
    assert there.defaults != defaults
    assert hash(there) == hash(Endpoint(server.base_url, None, "m"))


@in_modes
def test_a_parameter_without_a_value_is_not_sent(mode: str) -> None:
    class Clears:
        @hookimpl
        def chat(self, request: Request) -> Request:
            return request.replace(parameters={**request.parameters, "stop": None})

    with Server() as server:
        running = Runner(server.config(), plugins=[Clears()])
        assert in_mode(mode, running, WHO, parameters={"temperature": 0.5}).text == "Hello!"
        running.close()
    assert server.requests[0].body["temperature"] == 0.5
    assert "stop" not in server.requests[0].body
