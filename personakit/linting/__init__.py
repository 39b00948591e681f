"""`personakit lint`: find all problems in persona files without running anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from personakit.base import door

if TYPE_CHECKING:
    from personakit.linting.check import ENDINGS as ENDINGS
    from personakit.linting.check import PARTIALS as PARTIALS
    from personakit.linting.check import Examined as Examined
    from personakit.linting.check import Finding as Finding
    from personakit.linting.check import Linter as Linter
    from personakit.linting.check import files_in as files_in
else:
    __getattr__, __dir__, __all__ = door(
        __name__,
        {
            "check": "ENDINGS Examined Finding Linter PARTIALS files_in",
        },
    )
