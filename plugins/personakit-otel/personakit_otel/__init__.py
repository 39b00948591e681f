"""A personakit plugin: otel."""
