"""Telling clients that personas have appeared, changed or gone."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any

import anyio
from mcp.server.subscriptions import (
    InMemorySubscriptionBus,
    PromptsListChanged,
    ResourcesListChanged,
    ResourceUpdated,
    ServerEvent,
    ToolsListChanged,
)

from personakit import PersonakitError
from personakit_mcp.serving.offer import Serving

EVERY = 2.0
"""Seconds between two looks at the files."""
_MOST = 1000  # sessions that are told

_log = logging.getLogger("personakit.mcp")


class Changes:
    """Looks at the files of personas while a client wants to know of changes.

    Args:
        serving: What is offered.
        every: Seconds between two looks.

    Attributes:
        bus: What clients of 2026-07-28 subscribe to.
    """

    def __init__(self, serving: Serving, every: float = EVERY) -> None:
        self._serving, self._every = serving, every
        self._sessions: dict[int, Any] = {}
        self.bus = _Bus()

    async def began(self, ctx: Any, params: Any) -> None:
        """Note a session of 2025-11-25 or before, which is told without asking."""
        del params
        while len(self._sessions) >= _MOST:
            del self._sessions[next(iter(self._sessions))]
        self._sessions[id(ctx.session)] = ctx.session

    @contextlib.asynccontextmanager
    async def watched(self, server: Any) -> AsyncIterator[dict[str, Any]]:
        """Watch the files while the server runs; this is its `lifespan`."""
        del server
        task = asyncio.create_task(self._watch())
        try:
            yield {}
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _watch(self) -> None:
        known = None
        while True:
            await asyncio.sleep(self._every)
            if not (self._sessions or self.bus.is_heard):
                known = None
                continue
            try:
                now = await self._serving.shelf.read()
            except (OSError, PersonakitError) as error:
                _log.warning("the personas cannot be read: %s", error)
                continue
            if known is not None:
                changed = [n for n, each in now.items() if known.get(n) != each]
                gone = known.keys() - now.keys()
                if changed or gone:
                    await self._tell([*changed, *gone])
            known = now

    async def _tell(self, names: list[str]) -> None:
        """Tell every client that some personas have changed."""
        events: list[ServerEvent] = [PromptsListChanged(), ResourcesListChanged()]
        events += [ToolsListChanged()] if self._serving.tools else []
        for name in names:
            events += [ResourceUpdated(f"persona://{name}")]
            events += [ResourceUpdated(f"persona://{name}/rendered")]
        for event in events:
            await self.bus.publish(event)
        for key, session in list(self._sessions.items()):
            try:
                await session.send_prompt_list_changed()
                await session.send_resource_list_changed()
                if self._serving.tools:
                    await session.send_tool_list_changed()
            except (anyio.ClosedResourceError, anyio.BrokenResourceError):
                self._sessions.pop(key, None)


class _Bus(InMemorySubscriptionBus):
    """A bus that knows whether somebody listens."""

    @property
    def is_heard(self) -> bool:
        return bool(self._listeners)
