"""A personakit plugin: gives personas the tools of MCP servers."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from personakit import Persona, Request, Tool, hookimpl, io

if TYPE_CHECKING:
    from personakit_mcp.sessions import Offer

__all__ = ["MCP", "close"]


def close() -> None:
    """End all servers of this process; a later run starts them again. Done at exit by itself."""
    from personakit_mcp.sessions import close  # noqa: PLC0415

    close()


@dataclass(eq=False)
class MCP:
    """Gives a persona those of its `tools` that the user's MCP servers have.

    The servers stand in the user's own file, never in a persona: see `personakit_mcp.servers.path`.

    Attributes:
        servers: The names of the file's servers to use; null uses all.
        prefix: Call a tool ``server_tool``, which tells tools of the same name apart.
        timeout: Seconds that a call may take.

    Raises:
        ValueError: The timeout is not above 0.
    """

    servers: list[str] | None = None
    prefix: bool = False
    timeout: float = 60.0

    def __post_init__(self) -> None:
        if not self.timeout > 0:
            raise ValueError(f"timeout {self.timeout:g} is no time to wait: give seconds above 0")

    @hookimpl
    async def chat(self, request: Request, persona: Persona) -> Request | None:
        """Add the tools that the persona lists and nobody before brought."""
        brought = {tool.name for tool in request.tools}
        wanted = [name for name in persona.tools if name not in brought]
        if not wanted:
            return None
        # Here, not above: the library takes most of a second to import.
        from personakit_mcp.servers import read  # noqa: PLC0415
        from personakit_mcp.sessions import offers  # noqa: PLC0415

        # Not awaited itself, since the sync API cannot wait for what another loop does.
        future = offers(read(self.servers))
        named = self._named(await io(_result, _awaited)(future))
        return request.with_tools(*(self._tool(n, named[n]) for n in wanted if n in named))

    def _named(self, found: list[Offer]) -> dict[str, Offer]:
        named: dict[str, Offer] = {}
        for offer in found:
            said = f"{offer.server.name}_{offer.tool.name}" if self.prefix else offer.tool.name
            name = re.sub(r"[^A-Za-z0-9_-]", "_", said)
            # A name that is never called may be there twice; which one is called must be clear.
            named[name] = offer.beside(named[name]) if name in named else offer
        return named

    def _tool(self, name: str, offer: Offer) -> Tool:
        if offer.twins:
            names = " and ".join(repr(server) for server in (offer.server.name, *offer.twins))
            raise ValueError(
                f"{offer.server.file}: the tool {name!r} is brought by more than one server: "
                f"{names}; choose one with the option 'servers', or set 'prefix: true' and list "
                f"the tool as '{offer.server.name}_{name}'"
            )
        tool = offer.tool
        function: Callable[..., Any] = offer.function(self.timeout)
        return Tool(name, function, tool.description or "", tool.inputSchema, self.timeout)


def _result(future: Future[list[Offer]]) -> list[Offer]:
    return future.result()


async def _awaited(future: Future[list[Offer]]) -> list[Offer]:
    return await asyncio.wrap_future(future)
