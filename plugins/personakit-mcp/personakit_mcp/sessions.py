"""Sessions with MCP servers: opened on first use, kept for the process, ended at its exit.

They run in one event loop in a separate thread, because a session outlives the event loop of the
run that opened it, and the sync API has no event loop. A forked child starts without sessions.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import functools
import logging
import os
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any, TextIO, TypeVar

import httpx
from mcp import ClientSession, McpError, StdioServerParameters, types
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client

from personakit import check_file
from personakit_mcp.results import text_of
from personakit_mcp.servers import Server

T = TypeVar("T")
START = 60.0
"""Seconds that a server may need to start: some commands download it first."""
_EXIT = 10.0
_LOG_SIZE = 1_000_000
_TERMINATED = 32600
# Without a handler, Python prints the library's warnings to stderr, in the middle of an answer.
logging.getLogger("mcp").addHandler(logging.NullHandler())


class ServerError(Exception):
    """A server cannot be reached or was lost; the message names the server and the reason."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A tool of a server.

    Attributes:
        server: The server.
        tool: The tool as the server describes it.
        twins: The names of other servers with a tool of the same name.
    """

    server: Server
    tool: types.Tool
    twins: tuple[str, ...] = ()

    def beside(self, other: Offer) -> Offer:
        """Return `other` with this offer's server added to its twins."""
        return replace(other, twins=(*other.twins, self.server.name))

    def function(self, seconds: float) -> Callable[..., Coroutine[Any, Any, str]]:
        """Return a function that calls the tool with a timeout of `seconds`."""

        async def call(**arguments: Any) -> str:
            work = _process().session(self.server).call(self.tool.name, arguments)
            return await asyncio.wrap_future(_process().submit(asyncio.wait_for(work, seconds)))

        return call


def offers(servers: list[Server]) -> Future[list[Offer]]:
    """Return the tools of `servers`; start the ones that are not running, concurrently."""
    process = _process()

    async def every() -> list[Offer]:
        sessions = [process.session(server) for server in servers]
        opened = await asyncio.gather(*(session.open() for session in sessions))
        pairs = zip(servers, opened, strict=True)
        return [Offer(server, tool) for server, (_, tools) in pairs for tool in tools]

    return process.submit(every())


class _Session:
    """A session with one server. All methods run in the event loop of the sessions."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._task: asyncio.Task[None] | None = None
        self._ready: asyncio.Future[tuple[ClientSession, list[types.Tool]]]
        self._stop: asyncio.Event

    async def open(self) -> tuple[ClientSession, list[types.Tool]]:
        """Return the session and the server's tools; start the server if it is not running.

        Raises:
            ServerError: The server cannot be started or does not speak MCP.
        """
        if self._task is None or self._task.done():
            self._ready, self._stop = asyncio.get_running_loop().create_future(), asyncio.Event()
            self._task = asyncio.create_task(self._keep(self._ready, self._stop))
        return await asyncio.shield(self._ready)

    async def call(self, name: str, arguments: dict[str, Any]) -> str:
        """Call a tool; if the server had stopped before the call, restart it once.

        A call is not repeated if the server stopped during the call, which may have had effects.

        Raises:
            ServerError: The server stopped during the call, or cannot be restarted.
            ToolError: The tool failed.
        """
        for attempt in (1, 2):
            session, _ = await self.open()
            try:
                return text_of(await self._unless_lost(session.call_tool(name, arguments)))
            except Exception as error:
                if not _was_gone(error):
                    raise
                await self.close()
                if attempt == 2:
                    raise ServerError(
                        f"{self._server.where}: the server stopped again after a restart"
                    ) from error
        raise AssertionError("the second attempt returns or raises")

    async def _unless_lost(self, work: Coroutine[Any, Any, T]) -> T:
        """Await `work`, but fail at once if the session ends."""
        assert self._task is not None
        call = asyncio.create_task(work)
        try:
            await asyncio.wait({call, self._task}, return_when=asyncio.FIRST_COMPLETED)
            if call.done():
                return call.result()
        except McpError as error:
            if error.error.code != types.CONNECTION_CLOSED:
                raise
            await self.close()
        finally:
            call.cancel()
        raise ServerError(f"{self._server.where}: the server stopped during the call")

    async def close(self) -> None:
        """End the session, and the server if it was started here."""
        if self._task is not None:
            self._stop.set()
            await asyncio.wait({self._task})

    async def _keep(
        self,
        ready: asyncio.Future[tuple[ClientSession, list[types.Tool]]],
        stop: asyncio.Event,
    ) -> None:
        """Keep the session open; the library requires that one task opens and closes it."""
        # Retrieve the error even if nobody waits any more; otherwise asyncio logs it.
        ready.add_done_callback(lambda done: done.cancelled() or done.exception())
        try:
            async with contextlib.AsyncExitStack() as stack:
                async with asyncio.timeout(START):
                    session = await stack.enter_async_context(_connected(self._server))
                    ready.set_result((session, await _listed(session)))
                await stop.wait()
        except BaseException as error:
            if not ready.done():
                ready.set_exception(ServerError(_why(self._server, error)))
            if isinstance(error, asyncio.CancelledError):
                raise


@contextlib.asynccontextmanager
async def _connected(server: Server) -> AsyncIterator[ClientSession]:
    async with contextlib.AsyncExitStack() as stack:
        if server.url:
            # No read timeout: the option `timeout` limits a call.
            limits = httpx.Timeout(30.0, read=None)
            client = httpx.AsyncClient(headers=dict(server.headers), timeout=limits)
            await stack.enter_async_context(client)
            http = streamable_http_client(server.url, http_client=client)
            read, write, _ = await stack.enter_async_context(http)
        else:
            program = StdioServerParameters(
                command=server.command, args=list(server.args), env=dict(server.env)
            )
            log = stack.enter_context(_log(server))
            stdio = stdio_client(program, errlog=log)
            read, write = await stack.enter_async_context(stdio)
        session = await stack.enter_async_context(ClientSession(read, write))
        await session.initialize()
        yield session


async def _listed(session: ClientSession) -> list[types.Tool]:
    page = await session.list_tools()
    tools = page.tools
    while page.nextCursor:
        page = await session.list_tools(params=types.PaginatedRequestParams(cursor=page.nextCursor))
        tools += page.tools
    return tools


def _log(server: Server) -> TextIO:
    """Open the server's log, emptied if it is large, or the null device if that fails."""
    try:
        server.log.parent.mkdir(parents=True, exist_ok=True)
        check_file(server.log)
        big = server.log.exists() and server.log.stat().st_size > _LOG_SIZE
        return server.log.open("w" if big else "a", encoding="utf-8")
    except OSError:
        return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123


def _was_gone(error: Exception) -> bool:
    """Return whether a call failed before it reached the server."""
    import anyio  # noqa: PLC0415

    if isinstance(error, McpError):
        return error.error.code == _TERMINATED and error.error.message == "Session terminated"
    return isinstance(error, anyio.ClosedResourceError | anyio.BrokenResourceError)


def _why(server: Server, error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    reason = f"{type(error).__name__}: {error}".rstrip(": ")
    if isinstance(error, TimeoutError):
        reason = f"no answer within {START:g} s"
    if server.url:
        return (
            f"{server.where}: cannot be reached at {server.url}: {reason}; "
            f"check 'url' and 'headers'"
        )
    return (
        f"{server.where}: cannot be started: {reason}; check 'command' and 'args'; "
        f"its stderr is in {server.log}"
    )


class _Process:
    """The sessions of one process and their event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._sessions: dict[Server, _Session] = {}
        # A daemon, because the interpreter joins other threads before it runs atexit callbacks.
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="personakit-mcp", daemon=True
        )
        self._thread.start()

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def session(self, server: Server) -> _Session:
        return self._sessions.setdefault(server, _Session(server))

    def close(self) -> None:
        async def every() -> None:
            await asyncio.gather(*(session.close() for session in self._sessions.values()))

        with contextlib.suppress(TimeoutError):
            self.submit(every()).result(_EXIT)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_EXIT)
        if not self._thread.is_alive():
            self._loop.close()


_lock = threading.Lock()


@functools.cache
def _made() -> _Process:
    return _Process()


def _process() -> _Process:
    with _lock:
        return _made()


def close() -> None:
    """End all servers that this process started; a later call starts them again."""
    with _lock:
        if _made.cache_info().currsize:
            _made().close()
            _made.cache_clear()


def _forked() -> None:
    global _lock  # noqa: PLW0603
    _lock = threading.Lock()
    _made.cache_clear()


atexit.register(close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
