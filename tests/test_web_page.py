"""The service of docs/web.md: streams, statuses, and clients that leave."""

from __future__ import annotations

import http.client
import importlib
import json
import socket
import sys
import threading
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi import Request
from fastapi.testclient import TestClient
from helpers import pages

from personakit.testing import Reply, Server, runner

PAGE = Path(__file__).parent.parent / "docs" / "web.md"
FIRST, ERRORS, LEFT, TEST = (
    block.text
    for block in pages.blocks(PAGE.read_text("utf-8"))
    if block.language in {"python", "py"}
)
SERVICE = FIRST.replace("(texts,", "(await begun(texts),") + ERRORS
EVENTS = {"content-type": "text/event-stream"}
WAIT = 20.0
"""Seconds after which a connection that should have ended is taken for open."""


class Upstream:
    """Streams an answer slowly, and notes whether its client left."""

    def __init__(self, text: str, *, breaks: bool = False) -> None:
        self.ended = threading.Event()
        self.left, self._text, self._breaks = False, text, breaks

    def reply(self) -> Reply:
        return Reply(self._body(), headers=EVENTS)

    def _body(self) -> Generator[bytes]:
        delta = {"index": 0, "delta": {"content": self._text}, "finish_reason": None}
        event = {"id": "1", "object": "chat.completion.chunk", "model": "m", "choices": [delta]}
        try:
            for _ in range(2000):
                if self._text:
                    yield f"data: {json.dumps(event)}\n\n".encode()
                else:
                    yield b": wait\n\n"
                if self._breaks:
                    raise ConnectionError
                time.sleep(0.01)
        except GeneratorExit:
            self.left = True
            raise
        finally:
            self.ended.set()


class Service:
    """The service in a server, with a model that the test answers for."""

    def __init__(self, server: Server, module: Any, port: int) -> None:
        self.server, self.module, self._port = server, module, port

    def connect(self, path: str) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=WAIT)
        connection.request("GET", path)
        return connection

    def get(self, path: str) -> tuple[int, bytes]:
        connection = self.connect(path)
        try:
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "service.py").write_text(SERVICE, "utf-8")
    (tmp_path / "test_service.py").write_text(TEST, "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in ("service", "test_service"):
        sys.modules.pop(name, None)


@pytest.fixture
def service(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    with Server() as server, socket.socket() as listening:
        for name, value in {**server.environ(), "HOME": str(folder)}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("PERSONAKIT_MODEL", "openai/test")
        module: Any = importlib.import_module("service")
        listening.bind(("127.0.0.1", 0))
        running = uvicorn.Server(uvicorn.Config(module.app, log_level="critical"))
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]})
        thread.start()
        while not running.started:
            time.sleep(0.01)
        try:
            yield Service(server, module, listening.getsockname()[1])
        finally:
            running.should_exit = True
            thread.join()


def test_the_service_is_short_and_streams_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(FIRST.splitlines()) <= 30
    assert SERVICE.count("await begun(texts)") == 1
    (tmp_path / "first_service.py").write_text(FIRST, "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    app: Any = importlib.import_module("first_service").app
    app.state.runner, _ = runner(["A prime."])
    assert TestClient(app).get("/stream?question=Hi").text == "A prime."


def test_it_answers_whole_and_streamed(service: Service) -> None:
    service.server.answers = ["Hello there."]
    assert service.get("/answer?question=Hi") == (200, b'{"text":"Hello there."}')
    assert service.get("/stream?question=Hi") == (200, b"Hello there.")
    assert len({request.port for request in service.server.requests}) == 1


def test_errors_have_a_status_before_the_first_text(service: Service) -> None:
    service.server.answers = [Reply(b'{"error": {"message": "no"}}', status=400)]
    for path in ("answer", "stream"):
        assert service.get(f"/{path}?question=Hi") == (502, b'{"error":"BadRequest"}')
    sent = len(service.server.requests)
    wrong = service.get("/answer?question=Hi&level=expert")
    assert wrong == (422, b'{"error":"VariableError"}')
    assert len(service.server.requests) == sent


def test_a_stream_that_fails_later_is_cut_off(service: Service) -> None:
    service.server.answers = [Upstream("half ", breaks=True).reply()]
    with pytest.raises(http.client.IncompleteRead) as caught:
        service.get("/stream?question=Hi")
    assert caught.value.partial == b"half "


def test_a_client_that_leaves_ends_the_stream_of_the_provider(service: Service) -> None:
    upstream = Upstream("word ")
    service.server.answers = [upstream.reply()]
    connection = service.connect("/stream?question=Hi")
    response = connection.getresponse()
    assert response.read(5) == b"word "
    response.close()
    connection.close()
    assert upstream.ended.wait(WAIT)
    assert upstream.left


@pytest.mark.parametrize("streamed", [True, False])
def test_a_handler_that_watches_the_connection_ends_a_run_without_text(
    service: Service, streamed: bool
) -> None:
    names: dict[str, Any] = {}
    exec(compile(LEFT, str(PAGE), "exec", dont_inherit=True), names)
    module, until_left = service.module, names["until_left"]

    @module.app.get("/watched")  # type: ignore[untyped-decorator]
    async def watched(request: Request) -> object:
        running = module.app.state.runner
        if streamed:
            texts = await until_left(request, module.begun(running.astream("tutor", "Hi")))
            return module.StreamingResponse(texts)
        return {"text": (await until_left(request, running.arun("tutor", "Hi"))).text}

    service.server.answers = ["Hello."]
    assert b"Hello." in service.get("/watched")[1]
    upstream = Upstream("")
    service.server.answers = [upstream.reply()]
    connection = service.connect("/watched")
    while len(service.server.requests) < 2:
        time.sleep(0.01)
    connection.close()
    assert upstream.ended.wait(WAIT)
    assert upstream.left


def test_the_tests_of_the_page_pass(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder))
    tests = importlib.import_module("test_service")
    found = [value for name, value in vars(tests).items() if name.startswith("test_")]
    assert len(found) == 2
    for test in found:
        test()
