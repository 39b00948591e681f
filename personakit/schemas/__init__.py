"""JSON Schemas and patterns: checked before they are used, and matched within limits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from personakit.base import door

if TYPE_CHECKING:
    from personakit.schemas.patterns import Pattern as Pattern
    from personakit.schemas.patterns import foreign_pattern as foreign_pattern
    from personakit.schemas.patterns import pattern_of as pattern_of
    from personakit.schemas.shape import InvalidSchema as InvalidSchema
    from personakit.schemas.shape import checked as checked
    from personakit.schemas.subset import SchemaSubset as SchemaSubset
    from personakit.schemas.validation import Meter as Meter
    from personakit.schemas.validation import schema_validator as schema_validator
else:
    __getattr__, __dir__, __all__ = door(
        __name__,
        {
            "patterns": "Pattern foreign_pattern pattern_of",
            "shape": "InvalidSchema checked",
            "subset": "SchemaSubset",
            "validation": "Meter schema_validator",
        },
    )
