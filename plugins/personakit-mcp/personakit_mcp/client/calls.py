"""Calls of a tool, in the run that makes them."""

from __future__ import annotations

import asyncio
from typing import Any

from personakit_mcp.client.process import session, submit
from personakit_mcp.client.results import text_of
from personakit_mcp.client.servers import Server


async def called(server: Server, tool: str, arguments: dict[str, Any], seconds: float) -> str:
    """Call a tool and return its result as text.

    Raises:
        ServerError: The server stopped during the call, or cannot be restarted.
        ToolError: The tool failed.
    """
    work = session(server).call(tool, arguments)
    return text_of(await asyncio.wrap_future(submit(asyncio.wait_for(work, seconds))))
