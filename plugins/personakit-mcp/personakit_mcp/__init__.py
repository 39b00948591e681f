"""A personakit plugin that provides the tools of MCP servers."""

from personakit_mcp.client import MCP, close

__all__ = ["MCP", "close"]
