"""The backend: sends requests to providers and validates their answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from personakit.base import door

if TYPE_CHECKING:
    from personakit.backend import model_cache as model_cache
    from personakit.backend.answers.answer import Answer as Answer
    from personakit.backend.backend import OpenAIBackend as OpenAIBackend
    from personakit.backend.clients import Clients as Clients
    from personakit.backend.endpoint import Router as Router
    from personakit.backend.fetching import fetch as fetch
    from personakit.backend.model_lists import ModelList as ModelList
    from personakit.backend.model_lists import list_models as list_models
    from personakit.backend.wire import Wire as Wire
else:
    __getattr__, __dir__, __all__ = door(
        __name__,
        {
            "answers.answer": "Answer",
            "backend": "OpenAIBackend",
            "clients": "Clients",
            "endpoint": "Router",
            "fetching": "fetch",
            "model_lists": "ModelList list_models",
            "wire": "Wire",
        },
        modules="model_cache",
    )
