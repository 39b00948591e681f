"""Clients that leave, and a server that stops."""

from __future__ import annotations

import asyncio
import http.client
import json
import time
from pathlib import Path
from typing import Any

import pytest
from helpers.serving import Served, served

from personakit import Request, Response, Runner
from personakit.log import RunLog
from personakit.server import Limits, Settings
from personakit.testing import runner


class Slow:
    """A model that begins to write, and goes on until it is cancelled."""

    def __init__(self) -> None:
        self.begun, self.cancelled = 0.0, 0.0

    async def send(self, request: Request, emit: Any = None) -> Response:
        self.begun = time.monotonic()
        try:
            if emit is not None:
                await emit("Hel")
            await asyncio.sleep(20)
        except BaseException:
            self.cancelled = time.monotonic()
            raise
        return Response("Hello")


class Place:
    def __init__(self, folder: Path, **settings: Any) -> None:
        (folder / "p.yaml").write_text("system: You help.\n")
        config = runner()[0].config
        self.slow, self.log = Slow(), RunLog(folder / "log.sqlite3")
        self.running = Runner(config, path=[folder], backend=self.slow, log=self.log)
        self.context = served(self.running, Settings(open=True, **settings))

    def ask(self, server: Served, *, stream: bool) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        body = {"model": "p", "messages": [{"role": "user", "content": "Hi"}], "stream": stream}
        connection.request("POST", "/v1/chat/completions", json.dumps(body))
        eventually(lambda: self.slow.begun > 0)
        return connection

    def rows(self) -> list[Any]:
        self.running.close()
        return list(self.log.find())


def eventually(check: Any, seconds: float = 5.0) -> None:
    until = time.monotonic() + seconds
    while not check() and time.monotonic() < until:
        time.sleep(0.002)
    assert check()


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_ends_its_upstream_request(tmp_path: Path, stream: bool) -> None:
    place = Place(tmp_path)
    with place.context as server:
        connection = place.ask(server, stream=stream)
        if stream:
            assert b"role" in connection.getresponse().read1()
        left = time.monotonic()
        connection.close()
        eventually(lambda: place.slow.cancelled > 0)
        assert place.slow.cancelled - left < 2
        eventually(lambda: 'status="cancelled"' in server.get("/metrics").body.decode())
    (row,) = place.rows()
    assert row.error["type"] == "Abandoned"
    assert row.text == ("Hel" if stream else "")


@pytest.mark.parametrize("stream", [False, True])
def test_a_run_that_the_server_ends_is_an_error(tmp_path: Path, stream: bool) -> None:
    place = Place(tmp_path)
    with place.context as server:
        connection = place.ask(server, stream=stream)
        if stream:
            reply = connection.getresponse()
            assert b"role" in reply.read1()
        server.application.drain()
        assert server.get("/ready").status == 503
        assert server.get("/health").status == 200
        refused = server.chat()
        assert (refused.status, refused.headers["retry-after"]) == (503, "1")
        server.application.end()
        reply = reply if stream else connection.getresponse()
        text = reply.read().decode()
        assert "server_stopping" in text
        assert "[DONE]" not in text
        assert reply.status == (200 if stream else 503)
        connection.close()
    assert [row.error["type"] for row in place.rows()] == ["Abandoned"]


def test_more_requests_than_may_run_wait_or_are_refused(tmp_path: Path) -> None:
    place = Place(tmp_path, limits=Limits(concurrent=1, queue=1))
    with place.context as server:
        first = place.ask(server, stream=False)
        waiting = place.ask(server, stream=False)
        eventually(lambda: server.chat().status == 503)
        assert server.chat().headers["retry-after"] == "1"
        waiting.close()
        first.close()
        eventually(lambda: place.slow.cancelled > 0)
    assert len(place.rows()) == 1


def test_the_id_of_a_run_is_that_of_its_row(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("system: You help.\n")
    running, upstream = runner(["Hello!"], path=[tmp_path])
    log = RunLog(tmp_path / "log.sqlite3")
    running = Runner(running.config, path=[tmp_path], backend=upstream, log=log)
    with served(running, Settings(open=True)) as server:
        ids = [
            server.chat(stream=stream, headers={"x-openwebui-chat-id": "c7"}).headers[
                "x-personakit-run"
            ]
            for stream in (False, True)
        ]
    running.close()
    rows = list(log.find())
    assert sorted(row.id for row in rows) == sorted(ids)
    assert {row.conversation for row in rows} == {"local:c7"}
