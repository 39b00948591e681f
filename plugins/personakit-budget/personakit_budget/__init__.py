"""A personakit plugin: budget."""
