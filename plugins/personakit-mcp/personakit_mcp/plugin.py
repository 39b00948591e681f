"""The plugin: offers the tools of MCP servers to the model, and contributes the MCP server."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from personakit import ConfigError, Persona, Registry, Request, Tool, hookimpl, io

if TYPE_CHECKING:
    from personakit_mcp.client.offers import Offer

__all__ = ["MCP", "close"]


def close() -> None:
    """End all servers of this process, as happens at exit; a later run starts them again."""
    from personakit_mcp.client.process import close  # noqa: PLC0415

    close()


@dataclass(eq=False)
class MCP:
    """A provider of the persona's `tools` from the user's MCP servers.

    The user's own file lists the servers, never a persona: see `client.servers.path`.

    Attributes:
        servers: The names of the servers to use; null uses all in the file.
        prefix: Name each tool ``server_tool``, to distinguish tools of the same name.
        timeout: The most seconds of a call.

    Raises:
        ValueError: `timeout` is not above 0.
    """

    # Checked before a server is started.
    tools_touch: ClassVar[tuple[str, ...]] = ("processes", "network")

    servers: list[str] | None = None
    prefix: bool = False
    timeout: float = 60.0

    def __post_init__(self) -> None:
        if not self.timeout > 0:
            raise ValueError(f"timeout is {self.timeout:g}; use seconds above 0")

    @staticmethod
    @hookimpl
    def setup(registry: Registry) -> None:
        """Contribute `personakit mcp` and ``/mcp`` of `personakit serve`."""
        from personakit_mcp.command import command  # noqa: PLC0415

        registry.command(command)
        registry.endpoints("mcp", _endpoint)

    @hookimpl
    async def chat(self, request: Request, persona: Persona) -> Request | None:
        """Add the persona's tools that the request does not have yet."""
        present = {tool.name for tool in request.tools}
        wanted = [name for name in persona.tools if name not in present]
        if not wanted:
            return None
        # Imported here because importing `mcp` takes most of a second.
        from personakit_mcp.client.offers import offers  # noqa: PLC0415
        from personakit_mcp.client.servers import read  # noqa: PLC0415

        # Through `io`, because the sync API cannot await a future of another event loop.
        future = offers(read(self.servers))
        named = self._named(await io(_result, _awaited)(future))
        return request.with_tools(*(self._tool(n, named[n]) for n in wanted if n in named))

    def tools(self) -> list[Tool]:
        """Return all tools of the servers, for `personakit run -T NAME`; none without a file.

        A name that several servers use is prefixed with that of the server.

        Raises:
            ConfigError: The file is invalid.
            ServerError: A server does not start.
        """
        from personakit_mcp.client.servers import VARIABLE, path, read  # noqa: PLC0415

        if not os.environ.get(VARIABLE) and not os.path.lexists(path()):
            return []
        from personakit_mcp.client.offers import offers  # noqa: PLC0415

        listed = offers(read(self.servers)).result()
        named = self._named(listed)
        shared = {offer.tool.name for offer in named.values() if offer.twins}
        prefixed = replace(self, prefix=True)._named(
            [offer for offer in listed if offer.tool.name in shared]
        )
        alone = {name: offer for name, offer in named.items() if offer.tool.name not in shared}
        return [self._tool(name, offer) for name, offer in {**prefixed, **alone}.items()]

    def _named(self, listed: list[Offer]) -> dict[str, Offer]:
        named: dict[str, Offer] = {}
        for offer in listed:
            full = f"{offer.server.name}_{offer.tool.name}" if self.prefix else offer.tool.name
            name = re.sub(r"[^A-Za-z0-9_-]", "_", full)
            # A conflict is an error only if the persona lists the tool.
            named[name] = offer.beside(named[name]) if name in named else offer
        return named

    def _tool(self, name: str, offer: Offer) -> Tool:
        if offer.twins:
            names = " and ".join(repr(server) for server in (offer.server.name, *offer.twins))
            raise ConfigError(
                f"{offer.server.file}: the tool {name!r} is provided by more than one server: "
                f"{names}; choose one with the option 'servers', or set 'prefix: true' and list "
                f"the tool as '{offer.server.name}_{name}'"
            )
        tool = offer.tool
        function: Callable[..., Any] = offer.function(self.timeout)
        return Tool(
            name,
            function,
            tool.description or "",
            tool.input_schema,
            # The call has its own limit, which does not count the time of a user who is asked.
            timeout=None,
            touches=("processes",) if offer.server.command else ("network",),
        )


def _endpoint(application: Any) -> None:
    # Imported here because importing `mcp` takes most of a second.
    from personakit_mcp.http.endpoint import add  # noqa: PLC0415

    add(application)


def _result(future: Future[list[Offer]]) -> list[Offer]:
    return future.result()


async def _awaited(future: Future[list[Offer]]) -> list[Offer]:
    return await asyncio.wrap_future(future)
