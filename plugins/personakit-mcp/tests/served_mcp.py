"""A server with keys that also speaks MCP, and clients for it."""

import asyncio
import contextlib
import dataclasses
import json
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx2
from helpers.serving import Answer, Served, served
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from serving_clients import COOK, library

from personakit import Request, Response, Runner, Usage
from personakit.ledger import KeyBudget, Ledger
from personakit.log import RunLog
from personakit.server import Settings
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
