"""A personakit plugin: guard."""
