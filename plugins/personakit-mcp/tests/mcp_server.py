"""A real MCP server for the tests, of `mcp` 1.x or 2.x, over stdio or streamable HTTP.

    python mcp_server.py [--legacy] [PORT]

It lists two tools a page. With `--legacy`, one of 2.x does not have the protocol of 2026-07-28.
"""

import importlib
import os
import sys
import time
from pathlib import Path
from typing import Any

import anyio
from pydantic import BaseModel, Field

PAGE = 2
LEGACY = "--legacy" in sys.argv
PORT = int(sys.argv[-1]) if sys.argv[-1].isdigit() else 0


class Booking(BaseModel):
    """What the tool `book` asks the user for."""

    day: str = Field(pattern="^20", description="as in 2026-12-24")
    seats: int = 1
    window: bool = False


try:
    import mcp_types as types
    from mcp import MCPError
    from mcp.server import MCPServer
    from mcp.server.mcpserver import Audio, Context, Image
    from mcp.server.mcpserver.exceptions import ToolError
    from mcp.server.runner import serve_loop
    from mcp.server.stdio import stdio_server

    class Paged(MCPServer):
        async def _handle_list_tools(self, ctx: Any, params: Any) -> types.ListToolsResult:
            return types.ListToolsResult(**page(await self.list_tools(), params and params.cursor))

    async def handshake_only() -> None:
        low = server._lowlevel_server
        async with stdio_server() as (read, write), low.lifespan(low) as state:
            await serve_loop(low, read, write, lifespan_state=state)

    async def legacy(ctx: Any, call_next: Any) -> Any:
        if LEGACY and ctx.method == "server/discover":
            raise MCPError(types.METHOD_NOT_FOUND, "Method not found")
        return await call_next(ctx)

    server: Any = Paged("test")
    server.middleware.append(legacy)
    importlib.import_module("mcp_resolved").register(server, Booking)
except ImportError:
    fast = importlib.import_module("mcp.server.fastmcp")
    types = importlib.import_module("mcp.types")
    Audio, Context, Image = fast.Audio, fast.Context, fast.Image  # type: ignore[misc]
    ToolError = importlib.import_module("mcp.server.fastmcp.exceptions").ToolError  # type: ignore[misc]
    server = fast.FastMCP("test", host="127.0.0.1", port=PORT)

    async def listed(request: types.ListToolsRequest) -> types.ListToolsResult:
        cursor = request.params.cursor if request.params else None
        return types.ListToolsResult(**page(await server.list_tools(), cursor))

    server._mcp_server.list_tools()(listed)

    async def book(ctx: Context) -> str:
        result = await ctx.elicit("Which day?", Booking)
        return str(result.data.model_dump()) if result.action == "accept" else result.action

    server.add_tool(book)


def page(tools: list[Any], cursor: str | None) -> dict[str, Any]:
    begin = int(cursor or 0)
    end = begin + PAGE
    return {"tools": tools[begin:end], "nextCursor": str(end) if end < len(tools) else None}


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def pid() -> str:
    return str(os.getpid())


def fail() -> str:
    raise ToolError("no such file")


def slow() -> str:
    time.sleep(0.2)
    return "late"


def leave(file: str = "") -> str:
    if file:
        with Path(file).open("a") as lines:
            lines.write("called\n")
    os._exit(3)


async def wait(file: str) -> str:
    Path(file).write_text("waiting")
    try:
        await anyio.sleep(20)
    except BaseException:
        Path(file).write_text("cancelled")
        raise
    return "waited"


async def steps(ctx: Context) -> str:
    for done in range(3):
        await ctx.report_progress(done, 3, "working")
    return "all done"


async def grow(name: str, ctx: Context) -> str:
    server.add_tool(pid, name=name)
    await ctx.session.send_tool_list_changed()
    return "grown"


async def header(name: str, ctx: Context) -> str:
    request = ctx.request_context.request
    return str(request.headers.get(name)) if request else "no request"


async def version(ctx: Context) -> str:
    if hasattr(ctx, "protocol_version"):
        return str(ctx.protocol_version)
    return str(ctx.session.client_params.protocolVersion)


def picture() -> Image:
    return Image(data=b"1234", format="png")


def sound() -> Audio:
    return Audio(data=b"12345", format="wav")


def data() -> types.CallToolResult:
    return types.CallToolResult.model_validate(
        {"content": [], "structuredContent": {"degrees": 21.5, "wind": None}}
    )


def resources() -> types.CallToolResult:
    text = {"uri": "note://1", "mimeType": "text/plain", "text": "Hello"}
    blob = {"uri": "note://2", "blob": "MTIzNA=="}
    content: list[Any] = [{"type": "resource", "resource": one} for one in (text, blob)]
    content.append({"type": "resource_link", "name": "more", "uri": "note://3"})
    return types.CallToolResult.model_validate({"content": content})


CALLS = (add, pid, fail, slow, leave, wait, steps, grow, header, version)
for tool in (*CALLS, picture, sound, data, resources):
    server.add_tool(tool)

if __name__ == "__main__":
    sys.stderr.write("started\n")
    if not PORT and LEGACY:
        anyio.run(handshake_only)
    elif not PORT:
        server.run("stdio")
    elif "mcp.server.fastmcp" in sys.modules:
        server.run("streamable-http")
    else:
        server.run("streamable-http", host="127.0.0.1", port=PORT)
