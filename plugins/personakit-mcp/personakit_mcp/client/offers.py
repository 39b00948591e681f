"""The tools of the servers in use."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any

import mcp_types as types

from personakit_mcp.client.calls import called
from personakit_mcp.client.process import session, submit
from personakit_mcp.client.servers import Server


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
            return await called(self.server, self.tool.name, arguments, seconds)

        return call


def offers(servers: list[Server]) -> Future[list[Offer]]:
    """Return the tools of `servers`; start the ones that are not running, concurrently."""
    sessions = [session(server) for server in servers]

    async def every() -> list[Offer]:
        listed = await asyncio.gather(*(one.tools() for one in sessions))
        pairs = zip(servers, listed, strict=True)
        return [Offer(server, tool) for server, tools in pairs for tool in tools]

    return submit(every())
