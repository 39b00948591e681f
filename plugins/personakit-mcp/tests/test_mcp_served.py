"""`/mcp` of `personakit serve`: its keys, allow-lists, budgets and limits."""

import asyncio
import contextlib
import dataclasses
import http.client
import json
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from helpers.serving import Answer, Served, served
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from serving_clients import COOK, MODES, library, run

from personakit import Request, Response, Runner, Usage
from personakit.ledger import KeyBudget, Ledger
from personakit.log import RunLog
from personakit.server import Limits, Settings
from personakit.testing import runner

BOTH = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
NEW = {**BOTH, "mcp-protocol-version": "2026-07-28"}

ODD = ("", "{", "null", "[]", '{"id": 1}', b"\xff\xfe", '"\\ud800"', '{"jsonrpc": "2.0", "id": 9}')
"""Bodies that are no message."""


class Model:
    """A model that answers at once, or, while it is `held`, begins and goes on until cancelled."""

    def __init__(self) -> None:
        self.held = False
        self.go = threading.Event()
        self.requests: list[Request] = []
        self.cancelled: list[float] = []

    async def send(self, request: Request, emit: Any = None) -> Response:
        self.requests.append(request)
        try:
            if emit is not None:
                await emit("Hel")
            while self.held and not self.go.is_set():
                await asyncio.sleep(0.005)
        except BaseException:
            self.cancelled.append(time.monotonic())
            raise
        return Response("Hello!", usage=Usage(5, 7))


class Place:
    """A server with the personas `cook`, `plain` and `secret`."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        plain = "model: openai/gpt-4o-mini\ndescription: Plain.\nsystem: You help.\n"
        library(folder, cook=COOK, plain=plain, secret=plain)
        self.ledger, self.model = Ledger(folder / "ledger.db"), Model()
        self.log = RunLog(folder / "log.sqlite3")
        config = dataclasses.replace(runner()[0].config, select=frozenset({"mcp"}))
        self.runner = Runner(
            config, path=[folder], plugins=[KeyBudget(self.ledger)], backend=self.model,
            log=self.log,
        )  # fmt: skip
        given = {"ledger": folder / "ledger.db", "mcp": True, "mcp_tools": ("*",), **settings}
        self.settings = Settings(**given)

    def key(self, name: str, **limits: Any) -> str:
        return self.ledger.new_key(name, **limits)[1]

    @contextlib.contextmanager
    def serving(self) -> Iterator[Served]:
        with served(self.runner, self.settings) as server:
            try:
                yield server
            finally:
                self.model.go.set()

    def rows(self) -> list[Any]:
        self.runner.close()
        return list(self.log.find())


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@contextlib.asynccontextmanager
async def connected(server: Served, key: str, mode: str) -> AsyncIterator[Client]:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    async with httpx2.AsyncClient(headers=headers, timeout=30) as web:
        transport = streamable_http_client(f"{server.url}/mcp", http_client=web)
        async with Client(transport, mode=mode, cache=None) as client:
            yield client


def asked(method: str, params: Any = None, *, is_new: bool = True) -> tuple[str, dict[str, str]]:
    """Return the body and the headers of a request."""
    given = dict(params or {})
    headers = dict(BOTH)
    if is_new:
        given["_meta"] = {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": {},
            **given.get("_meta", {}),
        }
        headers = {**NEW, "mcp-method": method}
        if "name" in given:
            headers["mcp-name"] = given["name"]
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": given}
    return json.dumps(body), headers


def post(server: Served, body: Any, headers: Any) -> Answer:
    return server.request("POST", "/mcp", body, headers)


def text(result: Any) -> str:
    return "".join(part.text for part in result.content)


def eventually(check: Any, seconds: float = 5.0) -> None:
    until = time.monotonic() + seconds
    while not check() and time.monotonic() < until:
        time.sleep(0.002)
    assert check()


@pytest.mark.parametrize("mode", MODES)
def test_a_key_sees_and_uses_its_personas_alone(place: Place, mode: str) -> None:
    anna = place.key("anna", personas=("cook", "plain"))

    async def work() -> None:
        async with connected(server, anna, mode) as client:
            prompts = [each.name for each in (await client.list_prompts()).prompts]
            tools = [each.name for each in (await client.list_tools()).tools]
            uris = [str(each.uri) for each in (await client.list_resources()).resources]
            assert (prompts, tools) == (["cook", "plain"], ["cook", "plain"])
            assert [uri for uri in uris if "secret" in uri] == []
            errors = []
            for name in ("secret", "nosuch"):
                for call in (
                    client.call_tool(name, {"input": "x"}),
                    client.get_prompt(name, {}),
                    client.read_resource(f"persona://{name}"),
                ):
                    with pytest.raises(MCPError) as caught:
                        await call
                    errors.append(str(caught.value).replace(name, "NAME"))
            assert errors[:3] == errors[3:]
            got: Any = await client.get_prompt("cook", {"tone": "kind", "input": "soup"})
            assert "kind tone" in got.messages[0].content.text

    with place.serving() as server:
        run(work)
    assert place.model.requests == []


@pytest.mark.parametrize("mode", MODES)
def test_a_call_is_a_run_of_the_key(place: Place, mode: str) -> None:
    anna = place.key("anna", max_tokens=7)

    async def work() -> None:
        async with connected(server, anna, mode) as client:
            assert text(await client.call_tool("plain", {"input": "Hi"})) == "Hello!"
            wrong = await client.call_tool("cook", {"tone": "loud", "input": "Hi"})
            assert wrong.is_error

    with place.serving() as server:
        run(work)
        metrics = server.get("/metrics").body.decode()
    assert place.model.requests[0].parameters["max_tokens"] == 7
    assert 'requests_total{key="anna",persona="plain",status="ok"} 1.0' in metrics
    assert 'tokens_total{kind="completion"} 7.0' in metrics
    assert "personakit_in_flight 0.0" in metrics
    assert [row.persona for row in place.rows()] == ["plain"]


@pytest.mark.parametrize("mode", MODES)
def test_a_budget_that_is_used_up_is_an_error_result_that_says_so(place: Place, mode: str) -> None:
    anna = place.key("anna", tokens_day=1)

    async def work() -> None:
        async with connected(server, anna, mode) as client:
            result = await client.call_tool("plain", {"input": "Hi"})
            assert result.is_error
            assert "budget tokens_day of key 'anna'" in text(result)

    with place.serving() as server:
        run(work)
        metrics = server.get("/metrics").body.decode()
    assert 'refused_total{reason="budget_exceeded"} 1.0' in metrics
    assert place.model.requests == []


@pytest.mark.parametrize("mode", MODES)
def test_prompts_and_calls_count_for_the_requests_a_minute(place: Place, mode: str) -> None:
    anna = place.key("anna", rpm=2)

    async def work() -> None:
        async with connected(server, anna, mode) as client:
            await client.list_prompts()
            await client.get_prompt("plain", {})
            assert not (await client.call_tool("plain", {"input": "Hi"})).is_error
            result = await client.call_tool("plain", {"input": "Hi"})
            assert "2 requests a minute" in text(result)
            with pytest.raises(MCPError, match="2 requests a minute"):
                await client.get_prompt("plain", {})

    with place.serving() as server:
        run(work)
        metrics = server.get("/metrics").body.decode()
    assert 'refused_total{reason="rate_limited"} 2.0' in metrics


def test_calls_share_the_places_of_the_server(tmp_path: Path) -> None:
    place = Place(tmp_path, limits=Limits(concurrent=1, queue=0))
    place.model.held = True
    anna = place.key("anna")

    async def work() -> None:
        async with connected(server, anna, MODES[0]) as client:
            first = asyncio.create_task(client.call_tool("plain", {"input": "Hi"}))
            while not place.model.requests:
                await asyncio.sleep(0.01)
            second = await client.call_tool("plain", {"input": "Hi"})
            assert "as many requests as it may" in text(second)
            place.model.go.set()
            assert text(await first) == "Hello!"

    with place.serving() as server:
        run(work)
        assert 'refused_total{reason="full"} 1.0' in server.get("/metrics").body.decode()


@pytest.mark.parametrize("mode", MODES)
def test_progress_arrives_while_a_call_runs(place: Place, mode: str) -> None:
    anna = place.key("anna")
    seen: list[Any] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        seen.append(message)

    async def work() -> None:
        async with connected(server, anna, mode) as client:
            result = await client.call_tool("plain", {"input": "x"}, progress_callback=on_progress)
            assert text(result) == "Hello!"

    with place.serving() as server:
        run(work)
    assert seen[0] == "Hel"


@pytest.mark.parametrize("is_new", [True, False])
@pytest.mark.parametrize("progress", [True, False])
def test_a_client_that_leaves_ends_the_request_upstream(
    place: Place, is_new: bool, progress: bool
) -> None:
    place.model.held = True
    key = {"authorization": f"Bearer {place.key('anna')}"}
    meta = {"_meta": {"progressToken": 1}} if progress else {}
    call = {"name": "plain", "arguments": {"input": "x"}, **meta}
    body, headers = asked("tools/call", call, is_new=is_new)
    with place.serving() as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        connection.request("POST", "/mcp", body, {**headers, **key})
        eventually(lambda: place.model.requests)
        left = time.monotonic()
        connection.close()
        eventually(lambda: place.model.cancelled)
        assert place.model.cancelled[0] - left < 1
        eventually(lambda: 'status="cancelled"' in server.get("/metrics").body.decode())
        assert "personakit_in_flight 0.0" in server.get("/metrics").body.decode()
    (row,) = place.rows()
    assert row.error["type"] == "Abandoned"


@pytest.mark.parametrize("is_new", [True, False])
@pytest.mark.parametrize("progress", [True, False])
def test_a_call_that_the_server_ends_is_an_error(
    place: Place, is_new: bool, progress: bool
) -> None:
    place.model.held = True
    key = {"authorization": f"Bearer {place.key('anna')}"}
    meta = {"_meta": {"progressToken": 1}} if progress else {}
    call = {"name": "plain", "arguments": {"input": "x"}, **meta}
    body, headers = asked("tools/call", call, is_new=is_new)
    with place.serving() as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        connection.request("POST", "/mcp", body, {**headers, **key})
        eventually(lambda: place.model.requests)
        server.application.drain()
        refused = post(server, *asked("prompts/list"))
        assert (refused.status, refused.headers["retry-after"]) == (503, "1")
        server.application.end()
        reply = connection.getresponse()
        shown = reply.read().decode()
        assert "the server is stopping" in shown
        assert reply.status in ((200,) if "event:" in shown or "data:" in shown else (503,))
        connection.close()
    assert [row.error["type"] for row in place.rows()] == ["Abandoned"]


def test_no_key_no_answer(place: Place) -> None:
    place.key("anna")
    with place.serving() as server:
        for given in ({}, {"authorization": "Bearer pk-no"}):
            for body, headers in (asked("prompts/list"), asked("initialize", is_new=False)):
                answer = post(server, body, {**headers, **given})
                assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
                assert "key" in answer.json["error"]["message"]
        assert 'refused_total{reason="missing_key"} 2.0' in server.get("/metrics").body.decode()


def test_odd_requests_are_errors_of_the_client(tmp_path: Path) -> None:
    place = Place(tmp_path, limits=Limits(body=5000), open=True)
    listed, new = asked("prompts/list")
    old = asked("prompts/list", is_new=False)[0]
    deep = "[" * 2000 + "]" * 2000
    number = '{"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {"n": 1%s}}' % ("0" * 4500)
    with place.serving() as server:
        for headers in (new, BOTH):
            body = listed if headers is new else old
            assert post(server, body, {**headers, "mcp-session-id": "nosuch"}).status == 200
            without = {name: each for name, each in headers.items() if name != "accept"}
            assert post(server, body, without).status in (200, 406)
            assert post(server, body, {**headers, "accept": "text/html"}).status == 406
            assert post(server, body, {**headers, "content-type": "text/plain"}).status in (
                400,
                415,
            )
            assert post(server, "x" * 5001, headers).status == 413
            batch = f"[{body}, {body}]"
            for bad in (*ODD, batch, deep, number):
                answer = post(server, bad, headers)
                assert 200 <= answer.status < 500, (bad, answer.status)
        assert post(server, listed, {**new, "mcp-protocol-version": "1999-01-01"}).status == 400
        for method in ("GET", "DELETE", "PUT", "OPTIONS", "HEAD"):
            answer = server.request(method, "/mcp", headers=new)
            assert (answer.status, answer.headers["allow"]) == (405, "POST")
        assert server.request("GET", "/mcp", headers=BOTH).status == 405


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"origin": "http://localhost:6274"}, 200),
        ({"origin": "https://evil.example"}, 403),
        ({"host": "evil.example", "origin": "http://evil.example"}, 403),
        ({"host": "evil.example"}, 403),
        ({"x-forwarded-for": "10.0.0.1"}, 403),
    ],
)
def test_an_open_server_serves_this_machine_alone(
    tmp_path: Path, headers: dict[str, str], status: int
) -> None:
    place = Place(tmp_path, open=True)
    body, given = asked("prompts/list")
    with place.serving() as server:
        assert post(server, body, {**given, **headers}).status == status


def test_a_failure_of_the_server_tells_nothing_of_it(place: Place) -> None:
    anna = place.key("anna")

    async def fail(request: Request, emit: Any = None) -> Response:
        raise RuntimeError("sk-secret1234567890 in /etc/secret")

    place.model.send = fail  # type: ignore[method-assign]

    async def work() -> str:
        async with connected(server, anna, MODES[0]) as client:
            try:
                return text(await client.call_tool("plain", {"input": "Hi"}))
            except MCPError as error:
                return str(error)

    with place.serving() as server:
        message = run(work)
    assert "secret" not in message
    assert "log" in message


def test_many_calls_at_the_same_time(place: Place) -> None:
    anna = place.key("anna")

    async def work() -> None:
        async with connected(server, anna, MODES[0]) as client:
            calls = [client.call_tool("plain", {"input": str(n)}) for n in range(100)]
            assert {text(each) for each in await asyncio.gather(*calls)} == {"Hello!"}

    with place.serving() as server:
        run(work)
    assert len(place.rows()) == 100
