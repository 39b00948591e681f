"""Streams as the body of a web response: Starlette chooses the loop by their methods."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import MutableMapping
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.requests import ClientDisconnect
from starlette.responses import StreamingResponse

from personakit import Config, Request, Response, Runner
from personakit.base import Emit
from personakit.testing import persona, runner

in_both = pytest.mark.parametrize("way", ["stream", "astream"])


@in_both
@pytest.mark.parametrize("of", ["runner", "conversation"])
def test_a_stream_is_the_body_of_a_response(way: str, of: str) -> None:
    running, _ = runner(size=1)
    talk = running.conversation(persona())
    roles = ["user", "assistant"] if of == "conversation" else []
    app = FastAPI()

    @app.get("/")
    async def answer() -> StreamingResponse:
        if of == "conversation":
            return StreamingResponse(getattr(talk, way)("Hi!"))
        return StreamingResponse(getattr(running, way)(persona(), "Hi!"))

    with TestClient(app) as client, client.stream("GET", "/") as response:
        assert "".join(response.iter_text()) == "Hello!"
    assert [message.role for message in talk.messages] == roles


class Endless:
    """A backend whose answers do not end; `left` counts those that were abandoned."""

    def __init__(self) -> None:
        self.left = 0

    async def send(self, request: Request, emit: Emit | None = None) -> Response:
        assert emit is not None
        try:
            while True:
                await emit("word ")
        finally:
            self.left += 1


@in_both
@pytest.mark.parametrize("version", ["2.3", "2.4"])
def test_a_client_that_leaves_ends_the_request(way: str, version: str) -> None:
    endless = Endless()
    running = Runner(Config(model="test/x", path=()), backend=endless)
    received = asyncio.Event()

    async def receive() -> MutableMapping[str, Any]:
        await received.wait()
        return {"type": "http.disconnect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        await asyncio.sleep(0)
        if message.get("body"):
            received.set()
            if version == "2.4":  # of ASGI, in which sending to a client that has left is an error
                raise OSError

    async def main() -> None:
        scope = {"type": "http", "asgi": {"version": "3.0", "spec_version": version}}
        response = StreamingResponse(getattr(running, way)(persona(), "Hi!"))
        try:
            await response(scope, receive, send)
        except ClientDisconnect:
            assert version == "2.4"
        del response
        gc.collect()
        async with asyncio.timeout(60):
            while not endless.left:
                await asyncio.sleep(0.001)

    asyncio.run(main())
    assert endless.left == 1
