"""How fast a provider may be asked: limits learnt from its answers, for each provider and key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from personakit.base import door

if TYPE_CHECKING:
    from personakit.rate.controller import Controller as Controller
    from personakit.rate.controller import Learnt as Learnt
    from personakit.rate.hearing import heard as heard
    from personakit.rate.hearing import listener as listener
else:
    __getattr__, __dir__, __all__ = door(
        __name__, {"controller": "Controller Learnt", "hearing": "heard listener"}
    )
