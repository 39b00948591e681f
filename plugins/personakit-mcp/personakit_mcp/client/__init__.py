"""The client: connects to the user's MCP servers and gives their tools to personas."""

from personakit_mcp.client.plugin import MCP, close

__all__ = ["MCP", "close"]
