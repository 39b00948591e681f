"""The client: connects to the user's MCP servers, and calls their tools."""
