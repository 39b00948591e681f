"""The fakes and checks for authors: they must fail where an author has gone wrong."""

from __future__ import annotations

import json
import socket
import struct
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Generator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from personakit import PluginError, Request, Response, Runner, Send, UsageError, hookimpl
from personakit.testing.checks import MODES, check_filter, check_plugin, in_mode
from personakit.testing.fake_backend import Upstream, persona, pieces, runner
from personakit.testing.server import Reply, Server

in_modes = pytest.mark.parametrize("mode", MODES)


@pytest.mark.parametrize(
    ("text", "size", "cut"),
    [
        ("abcde", 2, ["ab", "cd", "e"]),
        ("abc", 0, ["abc"]),
        ("", 0, []),
        ("", 3, []),
        (b"ab", 1, [b"a", b"b"]),
    ],
)
def test_pieces(text: Any, size: int, cut: list[Any]) -> None:
    assert list(pieces(text, size)) == cut


@in_modes
def test_the_upstream_answers_from_its_list_and_then_with_the_last(mode: str) -> None:
    whole = Response("response", finish_reason="length")
    running, upstream = runner(["text", whole, lambda request: request.system, ValueError("no")])
    assert [in_mode(mode, running, persona("You.")).text for _ in range(3)] == [
        "text",
        "response",
        "You.",
    ]
    for _ in range(2):
        with pytest.raises(ValueError, match="no"):
            in_mode(mode, running, persona())
    assert [request.model for request in upstream.requests] == ["test/model"] * 5


@in_modes
def test_an_answer_of_the_upstream_is_complete(mode: str) -> None:
    response = in_mode(mode, runner()[0], persona(), "Hi!")
    assert (response.text, response.finish_reason, response.model) == (
        "Hello!",
        "stop",
        "test/model",
    )
    assert response.usage is not None
    assert (
        response.usage.total_tokens
        == response.usage.prompt_tokens + response.usage.completion_tokens
    )
    assert response.request is not None
    assert [message.text for message in response.request.messages] == ["You are a test.", "Hi!"]


@in_modes
def test_the_upstream_can_break_off(mode: str) -> None:
    running, _ = runner()
    running = Runner(running.config, backend=Upstream(["abcdef"], fail_after=4))
    with pytest.raises(ConnectionError, match="the fake upstream fails after 4 characters"):
        in_mode(mode, running, persona())


class Lies:
    """A backend whose response is not what it streamed."""

    async def send(self, request: Request, emit: Any = None) -> Response:
        if emit is not None:
            await emit("streamed")
        return Response("said")


@pytest.mark.parametrize("mode", ["stream", "astream"])
def test_in_mode_checks_what_was_streamed(mode: str) -> None:
    running = Runner(runner()[0].config, backend=Lies())
    with pytest.raises(AssertionError, match="streamed 'streamedsaid', but the text is 'said'"):
        in_mode(mode, running, persona())


def test_a_runner_finds_the_personas_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "ann.yaml").write_text("system: You are Ann.")
    paths: list[list[str | Path]] = [[str(tmp_path)], [tmp_path]]
    for path in paths:
        running, upstream = runner(path=path)
        running.run("ann", "Hi!")
        assert upstream.requests[0].system == "You are Ann."
    with pytest.raises(UsageError, match="path must be a list"):
        runner(path=str(tmp_path))


def test_a_persona_of_keys() -> None:
    made = persona("You are {{ name }}.", variables={"name": "Ann"}, tags=["x"])
    assert (made.name, made.tags, made.path) == ("test", ("x",), "test.yaml")
    assert runner()[0].render(made).system == "You are Ann."


class Shout:
    @hookimpl
    async def chat(self, request: Request, send: Send) -> Response:
        response = await send(request)
        return response.replace(text=response.text.upper())


def test_check_plugin_returns_the_response() -> None:
    assert (
        check_plugin(Shout(), "Hi!", ["hello"]).text
        == check_plugin(Shout, "Hi!", ["hello"]).text
        == "HELLO"
    )


class CutsEachPiece:
    """A filter whose text depends on how the answer was cut."""

    def feed(self, text: str) -> str:
        return text[:2]

    def flush(self) -> str:
        return ""


async def depends_on_the_pieces(request: Request, send: Send) -> Response:
    return await send.live(request, filter=CutsEachPiece())


async def changes_what_went_out(request: Request, send: Send) -> Response:
    return (await send.live(request)).replace(text="other")


def counts() -> Any:
    calls: list[int] = []

    def differs_from_run_to_run(request: Request) -> Response:
        calls.append(1)
        return Response(str(len(calls)))

    return differs_from_run_to_run


@pytest.mark.parametrize(
    ("chat", "error"),
    [
        (depends_on_the_pieces, AssertionError),
        (changes_what_went_out, PluginError),
        (counts(), AssertionError),
    ],
)
def test_check_plugin_fails_a_plugin_that_breaks_the_invariant(
    chat: Any, error: type[Exception]
) -> None:
    with pytest.raises(error):
        check_plugin(SimpleNamespace(chat=hookimpl(chat)))


class Upper:
    def feed(self, text: str) -> str:
        return text.upper()

    def flush(self) -> str:
        return ""


class Forgets(Upper):
    """Holds the last character back and never lets it go."""

    held = ""

    def feed(self, text: str) -> str:
        out, self.held = (self.held + text)[:-1], text[-1:]
        return out


class SeesNoBorders(Upper):
    def feed(self, text: str) -> str:
        return text.replace("ab", "x")


def test_check_filter() -> None:
    check_filter(Upper, "abc€", "ABC€")
    for broken, text, expected in ((Forgets, "abc", "abc"), (SeesNoBorders, "aab", "ax")):
        with pytest.raises(AssertionError, match="cut as"):
            check_filter(broken, text, expected)
    with pytest.raises(AssertionError, match="expected 'ABD', found 'ABC'"):
        check_filter(Upper, "abc", "ABD")


# --- the server --------------------------------------------------------------------------------


def post(server: Server, body: Any) -> tuple[int, dict[str, str], bytes]:
    url = f"{server.base_url}/chat/completions"
    request = urllib.request.Request(url, json.dumps(body).encode(), {"X-Test": "1"})
    try:
        with urllib.request.urlopen(request, timeout=30) as reply:
            return reply.status, dict(reply.headers), reply.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, dict(error.headers), error.read()


def test_the_server_answers_from_its_list() -> None:
    empty = Reply(status=503, headers={"retry-after": "1"})
    with Server(["text", {"a": 1}, b"<html>", empty]) as server:
        status, headers, body = post(server, {"model": "m"})
        assert (status, headers["content-type"]) == (200, "application/json")
        assert json.loads(body)["choices"][0]["message"]["content"] == "text"
        assert json.loads(post(server, {})[2]) == {"a": 1}
        assert post(server, {})[2] == b"<html>"
        for _ in range(2):
            status, headers, body = post(server, {})
            assert (status, headers["retry-after"], body) == (503, "1", b"")
    first = server.requests[0]
    assert (first.method, first.path, first.body) == (
        "POST",
        "/v1/chat/completions",
        {"model": "m"},
    )
    assert first.headers["X-Test"] == "1"
    assert len({received.port for received in server.requests}) == 5


@pytest.mark.parametrize("usage", [True, False])
def test_the_server_streams_events(usage: bool) -> None:
    body = {"stream": True, "stream_options": {"include_usage": usage}}
    with Server(["abcd"], size=3, cut=5) as server:
        _, headers, events = post(server, body)
    assert headers["content-type"].startswith("text/event-stream")
    *chunks, done, end = events.decode().split("\n\n")
    assert (done, end) == ("data: [DONE]", "")
    data = [json.loads(chunk.removeprefix("data: ")) for chunk in chunks]
    assert [d["usage"]["completion_tokens"] for d in data if "usage" in d] == [4] * usage
    choices = [choice for d in data for choice in d["choices"]]
    assert "".join(choice["delta"].get("content", "") for choice in choices) == "abcd"
    assert [choice["finish_reason"] for choice in choices] == [None, None, None, "stop"]


def test_the_server_streams_pieces_until_the_client_leaves() -> None:
    closed = threading.Event()

    def endless() -> Generator[bytes]:
        try:
            while True:
                yield b"data: x\n\n" * 1000
        finally:
            closed.set()

    with Server([Reply(endless())]) as server:
        url = f"{server.base_url}/chat/completions"
        with urllib.request.urlopen(url, b"{}", timeout=30) as reply:
            assert reply.read(4) == b"data"
        assert closed.wait(30)


def test_the_server_prints_nothing_about_a_client_that_leaves(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with Server() as server:
        url = urllib.parse.urlsplit(server.base_url)
        for sent in (b"", b"POST /v1/chat/completions HTTP/1.1\r\n"):
            with socket.create_connection((url.hostname, url.port)) as client:
                client.sendall(sent)
                # Closing then resets the connection.
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        post(server, {})
    assert "Traceback" not in capfd.readouterr().err
