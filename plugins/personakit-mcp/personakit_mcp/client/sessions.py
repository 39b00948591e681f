"""A session with one server: opened on first use, and again after it was lost."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

import mcp_types as types
from mcp import Client, MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from personakit_mcp.client.connections import START, Ask, Sent, ServerError, connected, reason, sent
from personakit_mcp.client.servers import Server

T = TypeVar("T")
_EXIT = 10.0
_PAGES = 1000
_VALID = 1.0
"""The least seconds that a list is used: a run with tools asks for it before each request."""


@dataclass(eq=False)
class _Open:
    """An open session and what it knows.

    Attributes:
        client: The library's side of it.
        task: Keeps it open.
        stop: Ends it.
        calls: The number of its requests under way.
        tools: The server's tools.
        until: When the list of tools expires, by `time.monotonic`.
        listing: Held by who loads the list.
    """

    client: Client
    task: asyncio.Task[None]
    stop: asyncio.Event
    calls: int = 0
    tools: list[types.Tool] = field(default_factory=list)
    until: float = -math.inf
    listing: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def is_modern(self) -> bool:
        """Whether requests have no session, from the protocol version 2026-07-28 on."""
        return self.client.protocol_version in MODERN_PROTOCOL_VERSIONS

    async def list(self) -> list[types.Tool]:
        """Return all tools; load the list if it has expired or changed.

        A server of a version with sessions says when the list changes, a later one how long it is
        valid.
        """
        async with self.listing:
            if time.monotonic() < self.until:
                return self.tools
            self.until = math.inf
            try:
                page = await self.client.list_tools()
                pages = [page]
                while page.next_cursor is not None and len(pages) < _PAGES:
                    page = await self.client.list_tools(cursor=page.next_cursor)
                    pages.append(page)
            except BaseException:
                self.until = -math.inf
                raise
            if self.is_modern:
                seconds = min(page.ttl_ms or 0 for page in pages) / 1000
                self.until = min(self.until, time.monotonic() + max(seconds, _VALID))
            self.tools = [tool for page in pages for tool in page.tools]
            return self.tools


class Session:
    """A session with one server. All methods run in the event loop of the sessions."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._task: asyncio.Task[None] | None = None
        self._ready: asyncio.Future[_Open]
        self._stop: asyncio.Event
        self._calls: list[Sent] = []
        self._left: list[_Open] = []
        self._tools: list[types.Tool] | None = None

    async def tools(self) -> list[types.Tool]:
        """Return the server's tools; start the server if it is not running.

        A server that was lost has the tools that it had: the model is told when it calls one.

        Raises:
            ServerError: The server cannot be started or does not speak MCP.
        """
        try:
            self._tools = await self._perform(_Open.list)
        except ServerError:
            if self._tools is None:
                raise
        return self._tools

    async def is_modern(self) -> bool:
        """Return whether its requests are independent; start the server if it is not running.

        Raises:
            ServerError: The server cannot be started or does not speak MCP.
        """
        return (await self.open()).is_modern

    async def call(
        self,
        name: str,
        arguments: dict[str, Any],
        *,
        ask: Ask | None = None,
        responses: types.InputResponses | None = None,
        state: str | None = None,
    ) -> types.CallToolResult | types.InputRequiredResult:
        """Call a tool; if the server had stopped before the call, restart it once.

        A call is not repeated if the server stopped during the call, which may have had effects.

        Args:
            name: The name of the tool.
            arguments: The arguments, as JSON types.
            ask: Answers a question of the server during the call; None to decline it.
            responses: The answers to the requests of the last result, by its keys.
            state: The state of the last result.

        Raises:
            ServerError: The server stopped during the call, or cannot be restarted.
            MCPError: The server refused the call.
        """

        async def work(opened: _Open) -> types.CallToolResult | types.InputRequiredResult:
            return await opened.client.session.call_tool(
                name,
                arguments,
                input_responses=responses or None,
                request_state=state,
                allow_input_required=True,
            )

        async def listed(opened: _Open) -> types.CallToolResult | types.InputRequiredResult:
            try:
                return await work(opened)
            except MCPError as error:
                # The tool's schema has changed, from which the library makes headers of the call.
                if error.code != types.HEADER_MISMATCH or not opened.is_modern:
                    raise
            opened.until = -math.inf
            await opened.list()
            return await work(opened)

        return await self._perform(listed, Sent(ask))

    async def close(self) -> None:
        """End the session, and the server if it was started here."""
        tasks = {opened.task for opened in self._left}
        for opened in self._left:
            opened.stop.set()
        task, self._task = self._task, None
        if task is not None:
            self._stop.set()
            tasks.add(task)
        if tasks:
            await asyncio.wait(tasks, timeout=_EXIT)
        for task in tasks:
            task.cancel()

    async def open(self) -> _Open:
        """Return the open session; start the server if it is not running.

        Raises:
            ServerError: The server cannot be started or does not speak MCP.
        """
        if self._task is None or self._task.done():
            self._ready, self._stop = asyncio.get_running_loop().create_future(), asyncio.Event()
            self._task = asyncio.create_task(self._keep(self._ready, self._stop))
        return await asyncio.shield(self._ready)

    async def _perform(
        self, work: Callable[[_Open], Coroutine[Any, Any, T]], note: Sent | None = None
    ) -> T:
        """Send a request; open the session again if the server does not know it any more.

        Args:
            work: Sends it.
            note: What happened to it; None if it can be repeated.
        """
        for attempt in (1, 2):
            opened = await self.open()
            current = note or Sent()
            current.is_sent, current.status = False, ""
            token = sent.set(current)
            self._calls.append(current)
            opened.calls += 1
            try:
                return await self._unless_lost(opened, work(opened))
            except _LostError as error:
                if note is not None and note.is_sent:
                    what = "the server stopped during the call"
                elif attempt == 1:
                    continue
                else:
                    what = "the server stopped again after a restart"
                raise ServerError(f"{self.server.where}: {what}") from error
            except MCPError as error:
                if current.is_sent or attempt == 2:
                    if current.status:
                        raise ServerError(
                            f"{self.server.where}: {error.message} (HTTP {current.status})"
                        ) from error
                    raise
                await self._lost(opened)
            finally:
                sent.reset(token)
                self._calls.remove(current)
                opened.calls -= 1
                if opened in self._left and not opened.calls:
                    self._left.remove(opened)
                    opened.stop.set()
        raise AssertionError("the second attempt returns or raises")

    async def _asked(self, _: Any, params: types.ElicitRequestParams) -> types.ElicitResult:
        """Answer a question of the server, in the call that it belongs to.

        Over HTTP it comes in the response to the call, over stdio without a hint.
        """
        note = sent.get()
        if note is None or note.ask is None:
            asking = [call.ask for call in self._calls if call.ask is not None]
            ask = asking[0] if len(asking) == 1 else None
        else:
            ask = note.ask
        return types.ElicitResult(action="decline") if ask is None else await ask(params)

    async def _lost(self, opened: _Open) -> None:
        """Use a session no more; over HTTP, the other calls of it go on until they end."""
        if self._task is not opened.task:
            return  # another call has opened a new one since
        if self.server.url:
            self._task = None
            self._left.append(opened)
        else:
            await self.close()

    async def _unless_lost(self, opened: _Open, work: Coroutine[Any, Any, T]) -> T:
        """Await `work`, but fail at once if the session ends."""
        call = asyncio.create_task(work)
        try:
            await asyncio.wait({call, opened.task}, return_when=asyncio.FIRST_COMPLETED)
            if call.done():
                return call.result()
        except MCPError as error:
            if error.code != types.CONNECTION_CLOSED:
                raise
            await self._lost(opened)
        finally:
            call.cancel()
        raise _LostError

    async def _keep(self, ready: asyncio.Future[_Open], stop: asyncio.Event) -> None:
        """Keep the session open; the library requires that one task opens and closes it."""
        # Retrieve the error even if nobody waits any more; otherwise asyncio logs it.
        ready.add_done_callback(lambda done: done.cancelled() or done.exception())
        opened: _Open | None = None
        task = asyncio.current_task()
        assert task is not None

        async def changed(message: Any) -> None:
            if isinstance(message, types.ToolListChangedNotification) and opened is not None:
                opened.until = -math.inf

        note = Sent()
        sent.set(note)
        limit = asyncio.timeout(START)
        callbacks = {"message_handler": changed, "elicitation_callback": self._asked}
        try:
            async with limit, connected(self.server, **callbacks) as client:
                opened = _Open(client, task, stop)
                await opened.list()
                limit.reschedule(None)
                ready.set_result(opened)
                await stop.wait()
        except BaseException as error:
            if not ready.done():
                ready.set_exception(ServerError(reason(self.server, error, note.status)))
            if isinstance(error, asyncio.CancelledError):
                raise


class _LostError(Exception):
    """The session ended."""
