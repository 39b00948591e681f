"""The application within another one."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from personakit.server import Exchange, Settings, app
from personakit.testing import runner


def test_it_can_be_mounted_at_a_path(tmp_path: Path) -> None:
    (tmp_path / "chef.yaml").write_text("system: You cook.\n")
    running, _ = runner(["Leek soup."], path=[tmp_path])
    inner = app(Settings(open=True), runner=running)

    async def menu(exchange: Exchange) -> None:
        await exchange.reply(200, {"day": exchange.rest})

    inner.router.add("GET", "/menu/{day}", menu)
    outer = FastAPI()
    outer.mount("/ai", inner)
    client = TestClient(outer, base_url="http://localhost")
    body: Any = {"model": "chef", "messages": [{"role": "user", "content": "Dinner"}]}
    answer = client.post("/ai/v1/chat/completions", json=body)
    assert answer.json()["choices"][0]["message"]["content"] == "Leek soup."
    assert client.get("/ai/menu/friday").json() == {"day": "friday"}
    assert client.get("/ai/v1/nothing").json()["error"]["code"] == "unsupported"
    assert client.get("/ai/openapi.json").json()["servers"] == [{"url": "/ai"}]


class Plain:
    """An awaitable as of a server that is not written in Python: its steps are a plain iterator."""

    def __init__(self, value: Any) -> None:
        self._value, self._waited = value, False

    def __await__(self) -> Any:
        return self

    def __iter__(self) -> Any:
        return self

    def __next__(self) -> None:
        if self._waited:
            raise StopIteration(self._value)
        self._waited = True


@pytest.mark.parametrize("stream", [False, True])
def test_a_server_may_have_awaitables_of_its_own(tmp_path: Path, stream: bool) -> None:
    (tmp_path / "chef.yaml").write_text("system: You cook.\n")
    running, _ = runner(["Leek soup."], path=[tmp_path])
    body = {"model": "chef", "messages": [{"role": "user", "content": "?"}], "stream": stream}
    scope: dict[str, Any] = {"type": "http", "method": "POST", "path": "/v1/chat/completions"}
    scope |= {"headers": [(b"host", b"localhost")], "client": ("127.0.0.1", 1)}
    sent: list[dict[str, Any]] = []

    async def main() -> None:
        parts = [{"type": "http.request", "body": json.dumps(body).encode()}]

        def receive() -> Any:
            return Plain(parts.pop()) if parts else asyncio.get_running_loop().create_future()

        def send(message: dict[str, Any]) -> Any:
            sent.append(message)
            return Plain(None)

        await app(Settings(open=True), runner=running)(scope, receive, send)

    asyncio.run(main())
    assert sent[0]["status"] == 200
    expected = b"[DONE]" if stream else b"Leek soup."
    assert expected in b"".join(message.get("body", b"") for message in sent)
