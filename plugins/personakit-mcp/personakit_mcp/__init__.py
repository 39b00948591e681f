"""A personakit plugin: mcp."""
