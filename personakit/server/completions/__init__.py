"""Chat completions: the body of a request, its run, and the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from personakit.base import door

if TYPE_CHECKING:
    from personakit.server.completions.endpoint import Completions as Completions
else:
    __getattr__, __dir__, __all__ = door(__name__, {"endpoint": "Completions"})
