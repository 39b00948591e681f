"""The ASGI application: what happens to every request, and when the server starts and stops."""

from __future__ import annotations

import asyncio
import logging
import math
import re
import secrets
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from personakit.errors import UsageError, front
from personakit.ledger import KeyBudget
from personakit.server.callers.access import Access, Caller
from personakit.server.callers.gate import Gate
from personakit.server.callers.runs import Counted, Runs
from personakit.server.completions import Completions
from personakit.server.endpoints import contributed
from personakit.server.http import Exchange, Receive, Refusal, Scope, Send, unavailable
from personakit.server.metrics import Metrics
from personakit.server.models import Models
from personakit.server.openapi import document
from personakit.server.protocol import is_loopback_host
from personakit.server.router import Router
from personakit.server.settings import Settings

if TYPE_CHECKING:
    from personakit.base import Secret
    from personakit.log import Recorder
    from personakit.persona import Persona
    from personakit.runner import Runner

_log = logging.getLogger("personakit.server")
_ID = re.compile(r"[\x21-\x7e]{1,128}")


class Application:
    """The server as an ASGI application; every ASGI server can run it.

    Args:
        settings: What is served, and its limits.
        runner: Runs the personas; None for one with the user's settings.

    Attributes:
        router: Finds the endpoints; more can be added before the first request.
        draining: Whether new requests are refused because the server stops.
        metrics: What the process counts.
        runner: Runs the personas.
    """

    def __init__(self, settings: Settings | None = None, *, runner: Runner | None = None) -> None:
        self.settings = settings or Settings()
        self.draining = False
        self.router = Router()
        self._given = runner
        self._tasks: set[asyncio.Task[Any]] = set()
        self._told: dict[str, float] = {}
        self.metrics = Metrics(self._behind)
        self._access = Access(self.settings)
        self.runner = runner or self._made()
        self._closers: list[Callable[[], Awaitable[None]]] = []
        self._access.has_budgets = any(
            isinstance(each, KeyBudget) for each in self.runner.catalog.outer
        )
        self._models = Models(self.runner, self.settings, self._access)
        gate = Gate(self.settings.limits.concurrent, self.settings.limits.queue)
        self._runs = Runs(self._access, gate, self.metrics)
        completions = Completions(
            self.runner, self.settings, self._access, self._models, self._runs
        )
        for method, path, endpoint in (
            ("GET", "/v1/models", self._models.listed),
            ("GET", "/v1/models/{model}", self._models.shown),
            ("POST", "/v1/chat/completions", completions.answer),
            ("GET", "/health", _healthy),
            ("GET", "/ready", self._ready),
            ("GET", "/metrics", self._measured),
            ("GET", "/openapi.json", self._described),
        ):
            self.router.add(method, path, endpoint)
        if self.settings.mcp:
            contributed(self.runner, "mcp")(self)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer what an ASGI server passes on."""
        kind = scope["type"]
        if kind == "http":
            await self._http(scope, receive, send)
        elif kind == "lifespan":
            await self._lifespan(receive, send)
        elif kind == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1003})

    def drain(self) -> None:
        """Refuse new requests from now on; those that run go on."""
        self.draining = True

    def end(self) -> None:
        """Cancel the requests that still run; each ends with an error."""
        self.draining = True
        for task in tuple(self._tasks):
            task.cancel()

    def secrets(self) -> Iterable[Secret]:
        """Return the keys that the server knows, for what must not show them."""
        return self.runner.router.keys.known()

    # --- what endpoints use ----------------------------------------------------------------------

    def caller(self, exchange: Exchange) -> Caller:
        """Return who sent a request.

        Raises:
            Refusal: The key is missing, unknown, expired or revoked (401), or the ledger cannot be
                read (503).
        """
        return self._access.caller(exchange)

    def check_origin(self, exchange: Exchange) -> None:
        """Raise Refusal (403) for a request of a page in a browser that is not allowed.

        Allowed are pages of the origins in `Settings.cors`, of this machine, and of this server.
        """
        if not self._access.allows_origin(exchange):
            raise _foreign(exchange)

    def personas(self, caller: Caller) -> list[str]:
        """Return the names of the personas that a caller may use, those of broken files included.

        It reads folders: call it in a thread.
        """
        return self._models.names(caller)

    async def persona(self, name: str, caller: Caller) -> Persona:
        """Return a persona, loaded again if its file has changed.

        Args:
            name: Its name, which may end in ``@`` and a version or hash.
            caller: Who asks.

        Raises:
            Refusal: There is none that the caller may use (404), or its file is invalid (400).
        """
        return await self._models.find(name, caller)

    @asynccontextmanager
    async def counting(self, caller: Caller) -> AsyncIterator[None]:
        """Count what is no run against the requests a minute of a key.

        Raises:
            Refusal: There are too many (429), or they cannot be counted (503).
        """
        async with self._access.admitted(caller, runs=False):
            yield

    @asynccontextmanager
    async def running(
        self, exchange: Exchange, caller: Caller, persona: str
    ) -> AsyncIterator[Counted]:
        """Admit and count a run of a caller, which the block runs with `runner`.

        The limits and budgets of the key are kept; `Caller.limited` is for its `max_tokens`.

        Args:
            exchange: The request that asks for it.
            caller: Who asks.
            persona: The name of the persona.

        Raises:
            Refusal: There are too many runs (429, 503), or the block raised a PersonakitError: how
                the client is told of it.
        """
        async with self._runs.admitted(caller):
            try:
                with self._runs.counted(persona, caller, exchange.id) as run:
                    yield run
            except UsageError as error:
                raise self._runs.told(error, exchange.id) from error

    def refused(self, refusal: Refusal) -> None:
        """Count a refusal that an endpoint does not raise but tells in a way of its own."""
        if refusal.status >= 400 and refusal.reason:
            self.metrics.refused(refusal.reason)
        if refusal.code in _OPERATORS and refusal.__cause__ is not None:
            self._tell(str(refusal.__cause__))

    def at_end(self, close: Callable[[], Awaitable[None]]) -> None:
        """Call a function when the server stops, after its requests have ended."""
        self._closers.append(close)

    # --- one request -----------------------------------------------------------------------------

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        limits = self.settings.limits
        exchange = Exchange(scope, receive, send, limits.body, limits.idle)
        given = exchange.headers.get("x-request-id", "")
        exchange.id = given if _ID.fullmatch(given) else secrets.token_hex(16)
        exchange.extra.append((b"x-request-id", exchange.id.encode()))
        task: Any = asyncio.current_task()
        self._tasks.add(task)
        try:
            with front("service"):
                await self._routed(exchange)
        except Refusal as refusal:
            await self._refuse(exchange, refusal)
        except asyncio.CancelledError:
            if exchange.gone:
                task.uncancel()
            elif self.draining:
                task.uncancel()
                await self._refuse(exchange, stopping())
            elif task.cancelling():
                raise
            else:  # a task that was waited for was cancelled, such as one of a plugin
                await self._fail(exchange)
        except Exception:
            await self._fail(exchange)
        finally:
            exchange.unwatch()
            self._tasks.discard(task)

    async def _routed(self, exchange: Exchange) -> None:
        if self.settings.cors and self._access.crossed(exchange):
            await exchange.reply(204)
            return
        if not _is_local(exchange) and self._access.is_open:
            raise Refusal(
                403,
                "without keys, the server answers only requests of this machine to localhost; use "
                "http://127.0.0.1; for other machines, its operator makes a key with `personakit "
                "serve keys new NAME`",
                code="host_not_allowed",
            )
        # Any page can send a body as plain text, without asking first, and would spend money.
        if not self._access.allows_origin(exchange) and self._access.is_open:
            raise _foreign(exchange)
        endpoint, exchange.rest, methods = self.router.find(exchange.method, exchange.path)
        if endpoint is None:
            raise _unknown(exchange, methods)
        if self.draining and exchange.path not in _ALWAYS:
            raise stopping()
        await endpoint(exchange)

    async def _fail(self, exchange: Exchange) -> None:
        _log.exception("personakit: request %s failed", exchange.id)
        failed = Refusal(
            500,
            f"the server failed; its log has the cause under the request id {exchange.id}",
            type="server_error",
            code="internal_error",
        )
        await self._refuse(exchange, failed)

    async def _refuse(self, exchange: Exchange, refusal: Refusal) -> None:
        self.refused(refusal)
        if not exchange.begun and not exchange.gone:
            try:
                await exchange.refuse(refusal)
            except asyncio.CancelledError:
                if not exchange.gone:
                    raise

    def _tell(self, fault: str) -> None:
        """Log a fault that all requests meet, once a minute."""
        now = time.monotonic()
        if now - self._told.get(fault, -math.inf) > 60:
            if len(self._told) > 100:
                self._told.clear()
            self._told[fault] = now
            _log.error("personakit: %s", fault)

    # --- endpoints -------------------------------------------------------------------------------

    async def _ready(self, exchange: Exchange) -> None:
        fault = "the server is stopping" if self.draining else await self._models.fault()
        if fault:
            await exchange.reply(503, {"status": "not ready", "reason": fault})
        else:
            await exchange.reply(200, {"status": "ready"})

    async def _measured(self, exchange: Exchange) -> None:
        body, kind = self.metrics.text()
        await exchange.reply(200, body, kind=kind.encode())

    async def _described(self, exchange: Exchange) -> None:
        # An import of the package would be a circle.
        version = sys.modules["personakit"].__version__
        root = exchange.scope.get("root_path", "")
        await exchange.reply(200, document(version=version, root=root))

    # --- start and end ---------------------------------------------------------------------------

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                try:
                    await self.runner.warm()
                except Exception as error:
                    await send({"type": "lifespan.startup.failed", "message": str(error)})
                    return
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                self.draining = True
                for close in self._closers:
                    await close()
                if self._given is None:
                    await self.runner.aclose()
                self._access.close()
                await send({"type": "lifespan.shutdown.complete"})
                return

    def _behind(self) -> int:
        recorder = self.runner._recorder
        return 0 if recorder is None else recorder.behind

    def _made(self) -> Runner:
        from personakit.config import Config  # noqa: PLC0415
        from personakit.runner import Runner  # noqa: PLC0415

        config = Config.read()
        log: Recorder | bool = False
        if self.settings.log and config.log.on:
            from personakit.log import Recorder, RunLog  # noqa: PLC0415

            log = Recorder(RunLog.of(config, apart=True), prompt=True)
        return Runner(config, log=log, plugins=[self._access.budget])


_OPERATORS = ("invalid_persona", "ledger_unavailable")
"""The codes of faults of the machine, which clients can only pass on."""
_ALWAYS = ("/health", "/ready", "/metrics")


def app(settings: Settings | None = None, *, runner: Runner | None = None) -> Application:
    """Return the server as an ASGI application: ``uvicorn --factory personakit.server:app``.

    Args:
        settings: What is served, and its limits; None for those of the config file.
        runner: Runs the personas; None for one with the user's settings. Without `KeyBudget` among
            its plugins, keys with a budget are refused.

    Raises:
        ConfigError: The config file is invalid.
    """
    if settings is None:
        from personakit.config import Config  # noqa: PLC0415

        settings = Settings.of(Config.read())
    return Application(settings, runner=runner)


def _is_local(exchange: Exchange) -> bool:
    """Return whether a request is one to this machine, which no proxy passes on from another."""
    passed_on = "x-forwarded-for" in exchange.headers or "forwarded" in exchange.headers
    return is_loopback_host(exchange.headers.get("host", "")) and not passed_on


def stopping() -> Refusal:
    """Return the refusal of a request while the server stops."""
    message = "the server is stopping; try again"
    return unavailable(
        message, code="server_stopping", seconds=1, reason="draining", connection="close"
    )


def _foreign(exchange: Exchange) -> Refusal:
    origin = exchange.headers["origin"][:80]
    return Refusal(
        403,
        f"pages of the origin {origin!r} may not send requests to this server; its operator can "
        f"allow them: personakit serve --cors ORIGIN",
        code="origin_not_allowed",
    )


def _unknown(exchange: Exchange, methods: tuple[str, ...]) -> Refusal:
    """Return the refusal of a request without an endpoint."""
    path = exchange.path[:80]
    if methods:
        allowed = ", ".join(methods)
        return Refusal(
            405,
            f"{path} does not accept {exchange.method[:20]}; use {allowed}",
            code="method_not_allowed",
            headers={"allow": allowed},
        )
    if exchange.path.startswith("/v1/"):
        return Refusal(
            404,
            f"{path} is not supported; personas are at /v1/models and /v1/chat/completions",
            code="unsupported",
        )
    return Refusal(404, f"there is nothing at {path}; the API is at /v1", code="not_found")


async def _healthy(exchange: Exchange) -> None:
    await exchange.reply(200, {"status": "alive"})
