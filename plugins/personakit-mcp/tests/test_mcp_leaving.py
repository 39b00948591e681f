"""`/mcp` of `personakit serve`: clients that leave, are unknown or send odd requests."""

import asyncio
import http.client
import json
import time
from pathlib import Path
from typing import Any

import pytest
from served_mcp import BOTH, ODD, Place, asked, connected, eventually, post, text
from serving_clients import MODES, run

from personakit.server import Limits


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


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


@pytest.mark.parametrize("mode", MODES)
def test_a_client_ends_its_own_call(place: Place, mode: str) -> None:
    place.model.held = True
    anna, bob = place.key("anna"), place.key("bob")

    async def work() -> None:
        call: dict[str, Any] = {"name": "plain", "arguments": {"input": "x"}}
        async with connected(server, anna, mode) as client, connected(server, bob, mode) as other:
            running = asyncio.create_task(other.call_tool(**call))
            while len(place.model.requests) < 1:
                await asyncio.sleep(0.005)
            ended = asyncio.create_task(client.call_tool(**call))
            while len(place.model.requests) < 2:
                await asyncio.sleep(0.005)
            ended.cancel()
            await asyncio.wait([ended])
            until = time.monotonic() + 5
            while not place.model.cancelled and time.monotonic() < until:
                await asyncio.sleep(0.005)
            assert len(place.model.cancelled) == 1
            place.model.go.set()
            assert text(await running) == "Hello!"

    with place.serving() as server:
        run(work)
        eventually(lambda: 'status="cancelled"' in server.get("/metrics").body.decode())


def test_nobody_ends_the_call_of_another(place: Place) -> None:
    place.model.held = True
    anna, bob = ({"authorization": f"Bearer {place.key(name)}"} for name in ("anna", "bob"))
    call = {"name": "plain", "arguments": {"input": "x"}}
    body, headers = asked("tools/call", call, is_new=False)
    cancel = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}
    with place.serving() as server:
        begun = post(server, asked("initialize", is_new=False)[0], {**headers, **anna})
        session = begun.headers.get("mcp-session-id", "none")
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        connection.request("POST", "/mcp", body, {**headers, **anna, "mcp-session-id": session})
        eventually(lambda: place.model.requests)
        for given in (
            {**bob, "mcp-session-id": session},
            {**anna, "mcp-session-id": "another"},
            anna,
        ):
            assert post(server, json.dumps(cancel), {**headers, **given}).status == 202
        time.sleep(0.1)
        assert place.model.cancelled == []
        own = {**headers, **anna, "mcp-session-id": session}
        assert post(server, json.dumps(cancel), own).status == 202
        assert b"error" not in connection.getresponse().read()
        connection.close()
        eventually(lambda: len(place.model.cancelled) == 1)


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
    # The row is complete when the run has ended, which is after the answer.
    eventually(lambda: [(row.error or {}).get("type") for row in place.rows()] == ["Abandoned"])


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
