"""Replies of server-sent events: what is sent when, and to a client that has left."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from personakit.server import http


class Client:
    """The other side of a reply: what it got, and when it may get more."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.tries, self.left = 0, False
        self.reads = asyncio.Event()
        self.reads.set()

    async def send(self, message: dict[str, Any]) -> None:
        self.tries += 1
        await self.reads.wait()
        if self.left:
            raise OSError
        if message["type"] == "http.response.body":
            self.messages.append(message["body"])

    def events(self, idle: float = 5.0) -> http.Events:
        async def receive() -> Any:
            await asyncio.get_running_loop().create_future()

        scope = {"method": "POST", "path": "/", "headers": []}
        return http.Exchange(scope, receive, self.send, 1000, idle).events()


def test_no_comment_follows_one_that_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "SILENCE", 0.02)

    async def reply() -> int:
        client = Client()
        client.left = True
        events = client.events()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.sleep(5)
        await asyncio.sleep(0.2)  # the run takes a while to end
        await events.abort()
        return client.tries

    async def owner() -> int:
        return await asyncio.create_task(reply())

    assert asyncio.run(owner()) == 1
