"""A stand-in for the application."""

from __future__ import annotations

import asyncio
import json
import os
from typing import Any

from personakit.server.metrics import Metrics
from personakit.server.settings import Settings


class Application:
    """Answers a few paths: a stream of 0.05 s steps, and what probes ask."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.draining = False
        self.metrics = Metrics()
        self._tasks: set[asyncio.Task[Any]] = set()

    def secrets(self) -> list[Any]:
        return []

    def drain(self) -> None:
        self.draining = True

    def end(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        task: Any = asyncio.current_task()
        self._tasks.add(task)
        self._begun = False
        try:
            await self._answer(scope, receive, send)
        except asyncio.CancelledError:
            body = b'data: {"error": {"code": "server_stopping"}}\n\n'
            await send({"type": "http.response.body", "body": body})
        finally:
            self._tasks.discard(task)

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        path = scope["path"]
        if path == "/metrics":
            body, _ = self.metrics.text()
            await self._reply(send, 200, body)
        elif path == "/health":
            await self._reply(send, 200, json.dumps({"pid": os.getpid()}).encode())
        elif self.draining:
            await self._reply(send, 503, b"{}")
        elif path == "/ready":
            await self._reply(send, 200, b"{}")
        elif path == "/fail":
            raise RuntimeError("a fault of the application")
        else:
            asked = json.loads((await receive())["body"])
            self.metrics.started()
            head = {"type": "http.response.start", "status": 200, "headers": []}
            await send(head)
            for _ in range(int(asked.get("steps", 20))):
                more = {"type": "http.response.body", "body": b"data: {}\n\n", "more_body": True}
                await send(more)
                await asyncio.sleep(0.05)
            await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})
            self.metrics.ended(
                persona="slow", key="", status="200", seconds=1, first=None, usage=None, cost=None
            )

    async def _reply(self, send: Any, status: int, body: bytes) -> None:
        headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
