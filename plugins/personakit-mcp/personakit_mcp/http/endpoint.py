"""``/mcp`` of `personakit serve`: MCP with the keys, budgets and limits of that server.

Each request stands alone, so that any worker can answer it: clients of 2025-11-25 and before get no
session but its id, see `personakit_mcp.http.calls`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextvars import ContextVar
from typing import Any

from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp_types import INTERNAL_ERROR, INVALID_REQUEST
from sse_starlette.sse import AppStatus

from personakit import JournalError, LedgerError, PersonakitError, Request
from personakit.server import Application, Exchange, Refusal
from personakit_mcp.http.calls import Calls
from personakit_mcp.serving.application import server
from personakit_mcp.serving.offer import Caller, Counted, Refused, Serving

PATH = "/mcp"
RETRIES = 1
"""How often a call of a model that failed is sent again, as for chat completions."""
_asks: ContextVar[Asker] = ContextVar("personakit_mcp_asks")


class Asker(Caller):
    """The caller of a request: a key of the server, or anybody if it is open.

    Raises:
        Refusal: The key is missing or invalid.
    """

    def __init__(self, application: Application, exchange: Exchange) -> None:
        self._application, self._exchange = application, exchange
        self._caller = application.caller(exchange)

    @property
    def name(self) -> str:
        """The name of the key; empty without one."""
        return self._caller.name

    def allows(self, persona: str) -> bool:
        """Return whether the key may use a persona."""
        return self._caller.allows(persona)

    @contextlib.asynccontextmanager
    async def counting(self) -> AsyncIterator[None]:
        """Count a prompt against the requests a minute."""
        with self._refusing():
            async with self._application.counting(self._caller):
                yield

    @contextlib.asynccontextmanager
    async def running(self, persona: str) -> AsyncIterator[Counted]:
        """Run a persona as a chat completion is run."""
        with self._refusing():
            running = self._application.running(self._exchange, self._caller, persona)
            async with running as run:
                counted = Counted()
                yield counted
                run.spent = counted.spent

    def limited(self, request: Request) -> Request:
        """Return a request with the `max_tokens` of the key."""
        parameters = self._caller.limited(request.parameters)
        return request.replace(parameters=parameters, max_retries=RETRIES)

    @contextlib.contextmanager
    def _refusing(self) -> Any:
        try:
            yield
        except Refusal as refusal:
            self._application.refused(refusal)
            cause = refusal.__cause__
            failed = isinstance(cause, PersonakitError)
            has_run = failed and not isinstance(cause, JournalError | LedgerError)
            raise Refused(refusal.message, has_run=has_run) from refusal


class Endpoint:
    """Answers the requests of MCP.

    Args:
        application: The server.
    """

    def __init__(self, application: Application) -> None:
        settings = application.settings
        serving = Serving(
            application.runner,
            settings.personas,
            settings.mcp_tools,
            settings.mcp_one_tool,
            lambda ctx: _asks.get(),
            (settings.secret,) if settings.secret else (),
        )
        self._application, self._calls = application, Calls()
        self._manager = StreamableHTTPSessionManager(
            server(serving, every=None), stateless=True, max_request_body_size=settings.limits.body
        )
        self._running: asyncio.Task[None] | None = None
        self._ready, self._ends = asyncio.Event(), asyncio.Event()
        # It would cut the streams of running calls as soon as the server begins to stop.
        AppStatus.enable_automatic_graceful_drain = False

    async def answer(self, exchange: Exchange) -> None:
        """Answer a request.

        Raises:
            Refusal: It comes from a page of another origin (403), or without a valid key (401).
        """
        exchange.shape = as_error
        self._application.check_origin(exchange)
        asker = Asker(self._application, exchange)
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        await self._ready.wait()
        token = _asks.set(asker)
        try:
            await self._pass_on(exchange, asker)
        finally:
            _asks.reset(token)

    async def _pass_on(self, exchange: Exchange, asker: Asker) -> None:
        with self._calls.noted(exchange, await exchange.body(), asker.name) as call:

            def last(body: bytes) -> bytes:
                return b"" if call.is_cancelled else stopped(body)

            await exchange.pass_on(self._manager.handle_request, last)

    async def close(self) -> None:
        """End what runs beside the requests."""
        if self._running is not None:
            self._ends.set()
            await self._running

    async def _run(self) -> None:
        # Not in the lifespan of the server, which has none where it is mounted in another one.
        async with self._manager.run():
            self._ready.set()
            await self._ends.wait()


def add(application: Application) -> None:
    """Add the endpoint to a server."""
    endpoint = Endpoint(application)
    application.router.add("POST", PATH, endpoint.answer)
    application.at_end(endpoint.close)


def stopped(body: bytes) -> bytes:
    """Return the last event of a call that the server ends, given the body of the request."""
    error = {"code": INTERNAL_ERROR, "message": "the server is stopping; try again"}
    message = {"jsonrpc": "2.0", "id": json.loads(body)["id"], "error": error}
    return b"event: message\r\ndata: %s\r\n\r\n" % json.dumps(message).encode()


def as_error(refusal: Refusal) -> dict[str, Any]:
    """Return a refusal as clients of MCP read it."""
    code = INTERNAL_ERROR if refusal.status >= 500 else INVALID_REQUEST
    error = {"code": code, "message": refusal.message, "data": {"code": refusal.code}}
    return {"jsonrpc": "2.0", "id": None, "error": error}
