"""Structured output: request an answer by JSON Schema and validate it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from personakit.base import door

if TYPE_CHECKING:
    from personakit.output.output import Output as Output
    from personakit.output.output import instructed as instructed
else:
    __getattr__, __dir__, __all__ = door(
        __name__,
        {
            "output": "Output instructed",
        },
    )
