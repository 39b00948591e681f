"""`personakit serve` as raw sockets see it: slow, broken and hostile clients."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Generator, Iterator
from typing import Any

import pytest
from helpers.raw import Answer, Client, serving

from personakit.testing import Reply, Server

IDLE = 1
BODY = 20_000
ASKED: dict[str, Any] = {"model": "plain", "messages": [{"role": "user", "content": "Hello"}]}


class Upstream:
    """A provider whose streams have no end, and which notes when they are left."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.left = threading.Event()
        self.at = 0.0
        self.events = 0

    def __call__(self, size: int = 10, pause: float = 0.01) -> Reply:
        self.begun.clear()
        self.left.clear()
        return Reply(self._endless(size, pause), headers={"content-type": "text/event-stream"})

    def _endless(self, size: int, pause: float) -> Generator[bytes]:
        delta = {"choices": [{"index": 0, "delta": {"content": "x" * size}}]}
        event = f"data: {json.dumps(delta)}\n\n".encode()
        try:
            while True:
                yield event
                self.begun.set()
                self.events += 1
                time.sleep(pause)
        finally:
            self.at = time.monotonic()
            self.left.set()


@pytest.fixture(scope="module")
def provider() -> Iterator[Server]:
    with Server() as server:
        yield server


@pytest.fixture
def upstream(provider: Server) -> Iterator[Server]:
    yield provider
    provider.answers = ["Hello!"]


@pytest.fixture(scope="module")
def port(provider: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    limits = {"body": BODY, "idle": IDLE}
    env = {"PERSONAKIT_MODEL": "openai/test-model", **provider.environ()}
    with serving(tmp_path_factory.mktemp("server"), limits, **env) as port:
        yield port


@pytest.fixture
def client(port: int) -> Iterator[Client]:
    with Client(port) as client:
        yield client


def post(
    body: Any = None, *headers: str, version: str = "1.1", length: int | None = None, **more: Any
) -> bytes:
    """Return a chat completion's request."""
    data = body if isinstance(body, bytes) else json.dumps({**ASKED, **more}).encode()
    lines = [f"POST /v1/chat/completions HTTP/{version}", "Host: localhost", *headers]
    if not any(line.startswith("Transfer-Encoding") for line in headers):
        lines.append(f"Content-Length: {len(data) if length is None else length}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + data


def get(path: str, *headers: str, host: str = "localhost") -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", f"Host: {host}", *headers, "", ""]).encode()


def refusal(answer: Answer) -> tuple[int, str]:
    error = answer.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    return answer.status, error["code"]


def refused(port: int) -> dict[str, int]:
    with Client(port) as client:
        client.send(get("/metrics"))
        lines = client.answer().body.decode()
    found = re.findall(r'^personakit_refused_total\{reason="(\w+)"\} (\d+)', lines, re.MULTILINE)
    return {reason: int(count) for reason, count in found}


def test_an_answer_and_a_stream_on_one_connection(client: Client) -> None:
    client.send(post())
    assert client.answer().json()["choices"][0]["message"]["content"] == "Hello!"
    client.send(post(stream=True))
    assert client.answer().body.endswith(b"data: [DONE]\n\n")
    client.send(get("/health"))
    assert client.answer().json() == {"status": "alive"}


def test_a_body_in_chunks_of_one_byte(client: Client) -> None:
    data = json.dumps(ASKED).encode()
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in data)
    client.send(post(chunks + b"0\r\n\r\n", "Transfer-Encoding: chunked"))
    assert client.answer().status == 200


def test_a_body_in_many_packets(client: Client) -> None:
    data = post()
    for at in range(0, len(data), 20):
        client.send(data[at : at + 20])
        time.sleep(0.005)
    assert client.answer().status == 200


@pytest.mark.parametrize("chunked", [True, False])
def test_a_body_that_stops_is_408(port: int, client: Client, chunked: bool) -> None:
    before = len(json.dumps(ASKED))
    client.send(
        post(b'10\r\n{"model": "', "Transfer-Encoding: chunked")
        if chunked
        else post(length=before + 1)
    )
    answer = client.answer()
    assert refusal(answer) == (408, "timeout")
    assert answer.headers["connection"] == "close"
    assert client.rest() == b""
    assert refused(port)["timeout"] >= 1


def test_a_body_that_is_shorter_than_it_says_ends_without_a_run(
    client: Client, upstream: Server
) -> None:
    before = len(upstream.requests)
    client.send(post(length=1000))
    client.socket.shutdown(socket.SHUT_WR)
    assert client.rest() == b""
    assert len(upstream.requests) == before


def test_a_body_that_is_longer_than_it_says_is_cut(client: Client, upstream: Server) -> None:
    before = len(upstream.requests)
    client.send(post(length=20))
    assert refusal(client.answer()) == (400, "invalid_json")
    assert len(upstream.requests) == before


@pytest.mark.parametrize("size", [BODY + 1, 5_000_000])
@pytest.mark.parametrize("chunked", [True, False])
def test_a_large_body_is_413_and_the_client_can_read_it(
    port: int, client: Client, size: int, chunked: bool
) -> None:
    data = b"x" * size
    if chunked:
        data = b"%x\r\n%b\r\n0\r\n\r\n" % (size, data)
    client.send(post(data, "Transfer-Encoding: chunked") if chunked else post(data))
    assert refusal(client.answer()) == (413, "request_too_large")
    assert refused(port)["request_too_large"] >= 1


def test_a_body_up_to_the_limit_passes(client: Client) -> None:
    data = json.dumps(ASKED).encode()
    client.send(post(data + b" " * (BODY - len(data))))
    assert client.answer().status == 200


def test_expect_100_continue(client: Client, port: int) -> None:
    data = post(None, "Expect: 100-continue")
    at = data.index(b"\r\n\r\n") + 4
    client.send(data[:at])
    assert client.answer().status == 100
    client.send(data[at:])
    assert client.answer().status == 200
    with Client(port) as other:
        other.send(post(b"", "Expect: 100-continue", length=BODY + 1))
        assert refusal(other.answer()) == (413, "request_too_large")
        assert other.rest() == b""


def test_requests_on_one_connection_are_answered_in_turn(client: Client) -> None:
    client.send(post(model="chef") + post(stream=True) + get("/health") + post(model="nobody"))
    assert client.answer().json()["model"] == "chef"
    assert client.answer().body.endswith(b"[DONE]\n\n")
    assert client.answer().json() == {"status": "alive"}
    assert refusal(client.answer()) == (404, "model_not_found")


@pytest.mark.parametrize("size", [65_536, 10_000_000])
def test_large_headers_are_431(port: int, client: Client, size: int) -> None:
    client.send(get("/health", "x-large: " + "a" * size))
    assert refusal(client.answer()) == (431, "headers_too_large")
    assert client.rest() == b""
    assert refused(port)["headers"] >= 1


SMUGGLED = {
    "two lengths": post(None, "Content-Length: 3"),
    "length and coding": post(b"0\r\n\r\n", "Content-Length: 5", "Transfer-Encoding: chunked"),
    "an unknown coding": post(b"0\r\n\r\n", "Transfer-Encoding: xchunked"),
    "two codings": post(b"0\r\n\r\n", "Transfer-Encoding: identity", "Transfer-Encoding: chunked"),
    "a folded header": get("/health", "A: b", " c"),
    "space before the colon": post(None, "Content-Length : 3"),
    "bare LF": get("/health").replace(b"\r\n", b"\n"),
    "two Hosts": get("/health", "Host: localhost"),
    "no Host": b"GET /health HTTP/1.1\r\n\r\n",
}


@pytest.mark.parametrize("data", SMUGGLED.values(), ids=list(SMUGGLED))
def test_a_request_that_could_smuggle_another_is_400(
    port: int, client: Client, upstream: Server, data: bytes
) -> None:
    before = len(upstream.requests)
    client.send(data + post())
    assert refusal(client.answer()) == (400, "invalid_http")
    assert client.rest() == b""
    assert len(upstream.requests) == before
    assert refused(port)["invalid"] >= 1


@pytest.mark.parametrize("path", ["/health", "/v1/models", "/metrics", "/nothing"])
@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "10.0.0.1:8111"])
def test_a_server_without_keys_is_called_by_a_name_of_its_machine(
    client: Client, path: str, host: str
) -> None:
    client.send(get(path, host=host))
    assert refusal(client.answer()) == (403, "host_not_allowed")
    client.send(get("/health", host="127.0.0.1:1"))
    assert client.answer().status == 200


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("TRACE /v1/models HTTP/1.1", 405),
        ("OPTIONS * HTTP/1.1", 404),
        ("DELETE /v1/chat/completions HTTP/1.1", 405),
        ("GET /v1/chat/completions HTTP/1.1", 405),
        ("CONNECT localhost:443 HTTP/1.1", 400),
        ("get /health HTTP/1.1", 400),
        ("GET //health HTTP/1.1", 404),
        ("GET /%68ealth HTTP/1.1", 200),
        ("GET /health%00 HTTP/1.1", 404),
        ("GET /v1/models/..%2f..%2fetc%2fpasswd HTTP/1.1", 404),
        ("GET /v1/models/%ff%fe HTTP/1.1", 404),
        ("GET /v1/models/%0d%0ax HTTP/1.1", 404),
        ("GET /v1/models/ HTTP/1.1", 404),
        ("GET http://localhost/health HTTP/1.1", 200),
        ("GET /health?a=%zz HTTP/1.1", 200),
    ],
)
def test_methods_and_paths(client: Client, line: str, status: int) -> None:
    client.send(f"{line}\r\nHost: localhost\r\n\r\n".encode())
    answer = client.answer()
    assert answer.status == status
    if status != 200:
        refusal(answer)
    assert ("allow" in answer.headers) is (status == 405)


def test_head_has_the_headers_of_get(client: Client) -> None:
    client.send(get("/v1/models").replace(b"GET", b"HEAD") + get("/v1/models"))
    head, body = client.answer("HEAD"), client.answer()
    assert head.status == body.status == 200
    assert head.headers["content-length"] == str(len(body.body))


@pytest.mark.parametrize("stream", [True, False])
def test_http_1_0(client: Client, stream: bool) -> None:
    client.send(post(stream=stream, version="1.0"))
    lines, _, body = client.rest().partition(b"\r\n\r\n")
    assert lines.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"connection: close" in lines
    assert b"chunked" not in lines
    if stream:
        assert body.startswith(b"data: {")
        assert body.endswith(b"data: [DONE]\n\n")
    else:
        assert json.loads(body)["object"] == "chat.completion"


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("half", [True, False], ids=["half-closed", "closed"])
def test_a_client_that_leaves_ends_the_request_upstream(
    client: Client, upstream: Server, half: bool, stream: bool
) -> None:
    endless = Upstream()
    upstream.answers = [endless()]
    client.send(post(stream=stream))
    assert endless.begun.wait(20)
    if stream:
        client.until(b"xxx")
    time.sleep(0.05)
    gone = time.monotonic()
    if half:
        client.socket.shutdown(socket.SHUT_WR)
    else:
        client.socket.close()
    assert endless.left.wait(20)
    assert endless.at - gone < 0.5


def test_a_client_that_does_not_read_stops_its_own_stream_alone(
    port: int, upstream: Server
) -> None:
    endless = Upstream()
    upstream.answers = [endless(100_000, 0.0)]
    with Client(port, buffer=4096) as slow:
        slow.send(post(stream=True))
        assert endless.begun.wait(20)
        upstream.answers = [Upstream()(10, 0.01)]
        with Client(port) as quick:
            quick.send(post(stream=True))
            quick.until(b"xxx")
            begun = last = moved = time.monotonic()
            longest = stood = 0.0
            events = 0
            while time.monotonic() - begun < 2 * IDLE and not endless.left.is_set():
                quick.until(b"xxx")
                longest, last = max(longest, time.monotonic() - last), time.monotonic()
                if endless.events > events:
                    moved, events = last, endless.events
                stood = max(stood, last - moved)
            assert longest < IDLE / 2
            # The provider waits: what it has sent is in the buffers of sockets.
            assert stood > IDLE / 5
        assert endless.left.wait(20)
        assert not slow.rest().endswith(b"0\r\n\r\n")


def test_noise_is_refused_and_the_server_goes_on(client: Client, port: int) -> None:
    client.send(bytes.fromhex("16030100c8010000c40303") + bytes(300))
    assert refusal(client.answer()) == (400, "invalid_http")
    with Client(port) as other:
        other.send(post())
        assert other.answer().status == 200
