"""Templates: from a persona and its values to messages, within a budget."""

from __future__ import annotations

from typing import TYPE_CHECKING

from personakit.base import door

if TYPE_CHECKING:
    from personakit.templates.compiler import Part as Part
    from personakit.templates.compiler import Place as Place
    from personakit.templates.compiler import Templates as Templates
    from personakit.templates.render import Compiled as Compiled
else:
    __getattr__, __dir__, __all__ = door(
        __name__,
        {
            "compiler": "Part Place Templates",
            "render": "Compiled",
        },
    )
