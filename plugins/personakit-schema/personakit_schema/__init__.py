"""A personakit plugin: schema."""
