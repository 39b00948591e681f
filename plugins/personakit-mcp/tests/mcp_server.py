"""A real MCP server for the tests: stdio, or with a port as argument streamable HTTP."""

import os
import sys
import time

from mcp.server import MCPServer
from mcp.server.mcpserver import Image
from mcp.server.mcpserver.exceptions import ToolError

server = MCPServer("test")


@server.tool()
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@server.tool()
def pid() -> str:
    return str(os.getpid())


@server.tool()
def fail() -> str:
    raise ToolError("no such file")


@server.tool()
def slow() -> str:
    time.sleep(0.2)
    return "late"


@server.tool()
def leave() -> str:
    os._exit(3)


@server.tool()
def picture() -> Image:
    return Image(data=b"1234", format="png")


if __name__ == "__main__":
    sys.stderr.write("started\n")
    if len(sys.argv) > 1:
        server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[1]))
    else:
        server.run("stdio")
