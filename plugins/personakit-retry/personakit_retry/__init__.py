"""A personakit plugin: retry."""
