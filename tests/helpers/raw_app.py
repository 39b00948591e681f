"""A small application behind the server's HTTP protocol, which shows what reaches it."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Mapping
from typing import Any

import uvicorn

from personakit.server.protocol import protocol
from personakit.server.settings import Limits

SEEN: list[Any] = []
"""What happened at ``/hold``, with the time; and the reasons of refusals."""


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answer by the path."""
    path = scope["path"]
    if path == "/hold":  # a run that goes on until the client leaves
        SEEN.append("begun")
        await _body(receive)
        while (await receive())["type"] != "http.disconnect":
            pass
        SEEN.append(time.monotonic())
        return
    if path == "/events":  # a stream without an end; the query is the size of an event
        await _start(send, 200)
        while True:
            data = b"x" * int(scope["query_string"])
            await send({"type": "http.response.body", "body": data, "more_body": True})
            await asyncio.sleep(0.01)
    if path == "/three":  # a stream of three bytes
        await _start(send, 200)
        for byte in (b"0", b"1", b"2"):
            await send({"type": "http.response.body", "body": byte, "more_body": True})
        await send({"type": "http.response.body"})
        return
    if path == "/early":  # an answer that does not wait for the body
        await _reply(send, 401, {"refused": True})
        return
    if path == "/slow":
        await asyncio.sleep(0.1)
    if path == "/seen":
        await _reply(send, 200, SEEN)
        return
    body = await _body(receive)
    headers = [
        [name.decode("latin-1"), value.decode("latin-1")] for name, value in scope["headers"]
    ]
    shown = {"method": scope["method"], "path": path, "headers": headers, "body": len(body)}
    await _reply(send, 200, shown)


async def _body(receive: Any) -> bytes:
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


async def _reply(send: Any, status: int, value: Any) -> None:
    data = json.dumps(value).encode()
    await _start(send, status, (b"content-length", b"%d" % len(data)))
    await send({"type": "http.response.body", "body": data})


async def _start(send: Any, status: int, *headers: tuple[bytes, bytes]) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})


def main(server: socket.socket, settings: Mapping[str, Any]) -> None:
    """Serve until SIGTERM."""
    config = uvicorn.Config(
        app,
        http=protocol(Limits(**settings), SEEN.append),
        ws="none",
        lifespan="off",
        log_level="critical",
        timeout_graceful_shutdown=1,
        timeout_keep_alive=75,
    )
    uvicorn.Server(config).run(sockets=[server])
