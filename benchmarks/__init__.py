"""Benchmarks: personakit beside its peers, each question in a file of its own.

``python -m benchmarks`` asks all of them, ``python -m benchmarks render`` one; see
docs/performance.md. Whatever is compared runs in one go on one machine, in turns, and is told as
a ratio. The parts: `harness` (environments, server, turns, tables, pictures) and `peers` (one
adapter a package, each run in its own environment).
"""

QUESTIONS = (
    "start", "call", "render", "stream", "many", "library", "plugins", "look", "memory", "serve",
    "mcp", "batch",
)  # fmt: skip
"""The modules, each with `ask(bench) -> list[Table]`."""

LONG = ("answers", "soak")
"""Those that are asked only by name: they take most of an hour, and one the embedded model."""
