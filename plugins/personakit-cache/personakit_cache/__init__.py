"""A personakit plugin: cache."""
