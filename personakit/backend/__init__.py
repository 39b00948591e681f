"""The backend: sends requests to providers and validates their answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from personakit.base import door

if TYPE_CHECKING:
    from personakit.backend.backend import OpenAIBackend as OpenAIBackend
    from personakit.backend.clients import Clients as Clients
    from personakit.backend.endpoint import Router as Router
    from personakit.backend.fetching import fetch as fetch
else:
    __getattr__, __dir__, __all__ = door(
        __name__,
        {
            "backend": "OpenAIBackend",
            "clients": "Clients",
            "endpoint": "Router",
            "fetching": "fetch",
        },
    )
