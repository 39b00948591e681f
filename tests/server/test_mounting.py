"""The application within another one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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
