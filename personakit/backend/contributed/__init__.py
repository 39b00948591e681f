"""The backends of plugins: created when they are needed, and held to their contract."""
