"""`personakit.look`: what a persona is and does, from a text that no file has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from personakit.base import door

if TYPE_CHECKING:
    from personakit.looking.looks import Look as Look
    from personakit.looking.looks import look as look
else:
    __getattr__, __dir__, __all__ = door(__name__, {"looks": "Look look"})
