"""A request of a kind that was sent before is prepared faster, and is the same."""

from __future__ import annotations

import asyncio
import datetime
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from types import CodeType, FrameType, SimpleNamespace
from typing import Any

import openai
import pytest

from personakit import Runner
from personakit.backend import retries
from personakit.backend.clients import Clients, http_library
from personakit.backend.requests.remembering import Kind, remembering
from personakit.base import Secret
from personakit.errors import Timeout
from personakit.providers import Endpoint, Provider
from personakit.testing import MODES, Received, Reply, Server, in_mode, persona

WHO = persona()
SLOW = {
    "_build_headers",
    "_prepare_url",
    "_send_handling_auth",
    "_send_with_auth_retry",
    "construct",
    "default_headers",
}
"""Functions of the libraries that a remembered request goes without."""


def sent(request: Received) -> tuple[str, str, dict[str, str], Any]:
    """Return what a server sees of a request."""
    headers = {name.lower(): value for name, value in request.headers.items()}
    return request.method, request.path, headers, request.body


def thrice(mode: str, running: Runner, **options: Any) -> None:
    """Run a persona three times, on one connection."""

    async def main() -> None:
        for _ in range(3):
            assert (await running.arun(WHO, "Grüße", **options)).text == "Hello!"
        await running.aclose()

    if mode == "arun":
        asyncio.run(main())
    else:
        for _ in range(3):
            assert in_mode(mode, running, WHO, "Grüße", **options).text == "Hello!"
        running.close()


@contextmanager
def calls() -> Iterator[set[str]]:
    """Collect the names of the functions of openai and its HTTP library that are called."""
    names: set[str] = set()

    def note(frame: FrameType, event: str, _: object) -> None:
        code: CodeType = frame.f_code
        module = str(frame.f_globals.get("__name__"))
        if event == "call" and module.partition(".")[0] in ("openai", "httpx", "httpx2"):
            names.add(code.co_name)

    sys.setprofile(note)
    try:
        yield names
    finally:
        sys.setprofile(None)


@pytest.mark.parametrize("timeout", [None, 5.0])
@pytest.mark.parametrize("mode", MODES)
def test_the_second_request_is_the_same(mode: str, timeout: float | None) -> None:
    with Server() as server:
        thrice(mode, Runner(server.config()), timeout=timeout)
    first, *others = map(sent, server.requests)
    assert others == [first, first]


@pytest.mark.parametrize("mode", ["run", "arun"])
def test_the_second_request_is_retried_as_the_first_is(mode: str) -> None:
    busy = Reply(b"busy", status=503, headers={"retry-after-ms": "1"})
    good = Reply(b'{"choices": [{"message": {"content": "Hello!"}, "finish_reason": "stop"}]}')
    with Server([busy, good, busy, busy, good, good]) as server:
        thrice(mode, Runner(server.config()))
    first, *others = map(sent, server.requests)
    assert others == [first] * 5


def test_a_remembered_request_takes_the_short_way() -> None:
    async def main() -> None:
        running = Runner(server.config())
        with calls() as before:
            await running.arun(WHO)
        with calls() as after:
            assert (await running.arun(WHO, "Hi")).text == "Hello!"
        assert before & SLOW == SLOW - {"_send_handling_auth", "_send_with_auth_retry"}
        assert not after & SLOW
        assert "request" in after  # it is the client that sends it
        await running.aclose()

    with Server() as server:
        asyncio.run(main())


def test_a_timeout_is_that_of_its_own_request() -> None:
    hurry = threading.Event()

    def silent() -> Generator[bytes]:
        hurry.wait(30)
        yield b"{}"

    async def main() -> None:
        running = Runner(server.config())
        for _ in range(2):
            await running.arun(WHO, timeout=20.0)
        began = time.monotonic()
        with pytest.raises(Timeout):
            await running.arun(WHO, timeout=0.2)
        assert time.monotonic() - began < 5
        hurry.set()
        await running.aclose()

    good = Reply(b'{"choices": [{"message": {"content": "Hello!"}, "finish_reason": "stop"}]}')
    with Server([good, good, *(Reply(silent()) for _ in range(3))]) as server:
        asyncio.run(main())


def authorizations(server: Server, url: str) -> list[str]:
    """Send two requests to a URL and return how they were authorized."""

    async def main() -> None:
        clients = Clients()
        retries.current.set(retries.Attempt())
        for _ in range(2):
            endpoint = Endpoint(url, Secret("k"), "m")
            with await clients.asynchronous(Provider("here"), endpoint) as one:
                reply = await one.post("chat/completions", {"model": "m", "messages": []})
                await reply.aclose()
        await clients.aclose()

    asyncio.run(main())
    sent_headers = [sent(request)[2] for request in server.requests]
    return [headers["authorization"] for headers in sent_headers]


@pytest.mark.skipif(find_spec("aiohttp") is not None, reason="aiohttp refuses such a URL")
def test_a_password_in_the_url_is_sent() -> None:
    with Server() as server:
        url = server.base_url.replace("://", "://user:pass@")
        assert authorizations(server, url) == ["Basic dXNlcjpwYXNz"] * 2


def test_the_log_of_the_http_library_has_each_request(caplog: pytest.LogCaptureFixture) -> None:
    name = http_library().__name__
    with caplog.at_level("INFO", logger=name), Server() as server:
        assert authorizations(server, server.base_url) == ["Bearer k"] * 2
    lines = [record.getMessage() for record in caplog.records if record.name == name]
    assert sum("chat/completions" in line and "200" in line for line in lines) == 2


def client(server: Server) -> Any:
    """Return an openai client that remembers."""
    return remembering(openai.OpenAI)(api_key="k", base_url=server.base_url, max_retries=0)


def kinds(server: Server) -> list[Kind]:
    """Return a kind that is remembered, and the same in a version that has no such options."""
    options: Any = {
        "follow_redirects": False,
        "headers": {"X-Own": "yes", "User-Agent": openai.omit},
        "max_retries": 0,
        "params": {},
        "security": {"bearer_auth": True},
        "timeout": 5.0,
    }
    url = server.base_url + "/chat/completions"
    return [Kind.of(package, url, options) for package in (openai, SimpleNamespace())]


@pytest.mark.parametrize(
    "body",
    [
        {"model": "m", "messages": [{"role": "user", "content": "ä\x00\u2028 \U0001f600"}]},
        {"model": "m", "messages": [], "n": 1.5, "big": 2**70, "none": None, "yes": True},
        {"model": "m", "messages": [], "at": datetime.datetime(2026, 1, 2)},
    ],
    ids=["text", "numbers", "an object"],
)
def test_a_body_is_as_openai_writes_it(body: dict[str, Any]) -> None:
    with Server() as server, client(server) as one:
        kept, plain = kinds(server)
        assert kept.template is not None
        assert plain.template is None
        kept.send(one, {"model": "m", "messages": []}, object)
        for kind in (kept, kept, plain):
            kind.send(one, body, object)
    _, first, second, third = map(sent, server.requests)
    assert first == second == third


@pytest.mark.parametrize("value", [float("nan"), {1, 2}], ids=["nan", "a set"])
def test_a_body_that_is_not_json_is_the_error_of_openai(value: Any) -> None:
    def error(send: Callable[[], Any]) -> tuple[type[Exception], str]:
        with pytest.raises((TypeError, ValueError)) as caught:
            send()
        return caught.type, str(caught.value)

    with Server() as server, client(server) as one:
        kept, plain = kinds(server)
        kept.send(one, {"model": "m", "messages": []}, object)
        body = {"model": "m", "messages": [], "value": value}
        assert error(lambda: kept.send(one, body, object)) == error(
            lambda: plain.send(one, body, object)
        )
    assert len(server.requests) == 1
