"""A personakit plugin: rag."""
