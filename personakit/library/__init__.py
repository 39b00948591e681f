"""The library: finding and loading personas by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from personakit.base import door

if TYPE_CHECKING:
    from personakit.library.index import ENDING as ENDING
    from personakit.library.library import DEFINED as DEFINED
    from personakit.library.library import Library as Library
    from personakit.library.sources import NoLoading as NoLoading
    from personakit.library.sources import declared as declared
    from personakit.library.summaries import Progress as Progress
    from personakit.library.summaries import Summary as Summary
else:
    __getattr__, __dir__, __all__ = door(
        __name__,
        {
            "index": "ENDING",
            "library": "DEFINED Library",
            "sources": "NoLoading declared",
            "summaries": "Progress Summary",
        },
    )
