"""A personakit plugin: the tools of MCP servers for personas, and personas for MCP clients."""

from personakit_mcp.plugin import MCP, close

__all__ = ["MCP", "close"]
