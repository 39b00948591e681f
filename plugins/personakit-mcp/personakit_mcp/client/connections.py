"""Connections with MCP servers: a program over stdio, or an address over streamable HTTP."""

from __future__ import annotations

import contextlib
import importlib.metadata
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TextIO

import httpx2
import mcp_types as types
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client

from personakit import PluginError, check_file
from personakit_mcp.client.servers import Server

START = 60.0
"""Seconds that a server may need to start: some commands download it first."""
_LOG_SIZE = 1_000_000
_ERROR = 400
_NOT_FOUND = 404
# Without a handler, Python prints the library's warnings to stderr, in the middle of an answer.
logging.getLogger("mcp").addHandler(logging.NullHandler())


Ask = Callable[[types.ElicitRequestParams], Awaitable[types.ElicitResult]]


class ServerError(PluginError):
    """A server cannot be reached or was lost; the message names the server and the reason."""

    def __init__(self, message: str) -> None:
        super().__init__(message, plugin="mcp")

    def __reduce__(self) -> tuple[type[ServerError], tuple[str]]:
        return type(self), (self.message,)


@dataclass(eq=False, slots=True)
class Sent:
    """What happened to a request: the library's errors do not say whether the server has it.

    Attributes:
        ask: Answers a question of the server about it; None to decline.
        is_sent: Whether the server may have received it.
        status: The last HTTP status if it is an error, such as ``"401 Unauthorized"``.
    """

    ask: Ask | None = None
    is_sent: bool = False
    status: str = ""


sent: ContextVar[Sent | None] = ContextVar("personakit_mcp_sent", default=None)
"""The request of the code that runs; the library copies it to the tasks that send the request."""


@contextlib.asynccontextmanager
async def connected(server: Server, **callbacks: Any) -> AsyncIterator[Client]:
    """Open a connection in the newest protocol version that the server has.

    Args:
        server: The server; started if it is a program.
        callbacks: Options of `mcp.Client`.
    """
    # The session keeps the list of tools, because the library's cache has its first page alone.
    info = types.Implementation(name="personakit", version=importlib.metadata.version("personakit"))
    async with Client(_transport(server), client_info=info, cache=None, **callbacks) as client:
        yield client


@contextlib.asynccontextmanager
async def _transport(server: Server) -> AsyncIterator[tuple[Any, Any]]:
    async with contextlib.AsyncExitStack() as stack:
        if server.url:
            # No read timeout: the option `timeout` limits a call.
            limits = httpx2.Timeout(30.0, read=None)
            http = await stack.enter_async_context(
                _Http(headers=dict(server.headers), timeout=limits)
            )
            streams = streamable_http_client(server.url, http_client=http)
        else:
            program = StdioServerParameters(
                command=server.command, args=list(server.args), env=dict(server.env)
            )
            streams = stdio_client(program, errlog=stack.enter_context(_log(server)))
        read, write = await stack.enter_async_context(streams)
        yield read, _Outbox(write)


class _Outbox:
    """The stream of messages to the server; notes that a request is on its way."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    async def send(self, message: Any) -> None:
        request = sent.get()
        if request is not None:
            request.is_sent = True
        await self._stream.send(message)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()


class _Http(httpx2.AsyncClient):
    """Notes what the library's errors lose: the status, and whether the server had the request."""

    async def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        note = sent.get() or Sent()
        try:
            response = await super().send(request, **options)
        except (httpx2.ConnectError, httpx2.ConnectTimeout):
            note.is_sent = False
            raise
        if request.method == "POST":
            text = f"{response.status_code} {response.reason_phrase}".strip()
            note.status = text if response.status_code >= _ERROR else ""
        # The server does not know the session, so no tool was called.
        if response.status_code == _NOT_FOUND and "mcp-session-id" in request.headers:
            note.is_sent = False
        return response


def _log(server: Server) -> TextIO:
    """Open the server's log, emptied if it is large, or the null device if that fails."""
    try:
        server.log.parent.mkdir(parents=True, exist_ok=True)
        check_file(server.log)
        big = server.log.exists() and server.log.stat().st_size > _LOG_SIZE
        return server.log.open("w" if big else "a", encoding="utf-8")
    except OSError:
        return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123


def reason(server: Server, error: BaseException, status: str) -> str:
    """Return the message of a failed start.

    Args:
        server: The server.
        error: What the library raised.
        status: The last HTTP status that is an error; empty if there was none.
    """
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    text = str(error) or type(error).__name__
    if isinstance(error, FileNotFoundError) and not server.url:
        text = f"there is no program {server.command!r}"
    elif isinstance(error, TimeoutError):
        text = f"no answer within {START:g} s"
    if status:
        text = f"HTTP {status} ({text})"
    if server.url:
        return (
            f"{server.where}: cannot be reached at {server.url}: {text}; check 'url' and 'headers'"
        )
    return (
        f"{server.where}: cannot be started: {text}; check 'command' and 'args'; "
        f"its stderr is in {server.log}"
    )
