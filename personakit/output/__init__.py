"""Structured output: request an answer by JSON Schema and validate it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from personakit.base import door

if TYPE_CHECKING:
    from personakit.output.json_schema import schema_faults as schema_faults
    from personakit.output.json_schema import validator as validator
    from personakit.output.output import Output as Output
    from personakit.output.output import instructed as instructed
else:
    __getattr__, __dir__, __all__ = door(
        __name__,
        {
            "json_schema": "schema_faults validator",
            "output": "Output instructed",
        },
    )
