"""Embeddings: texts as vectors, for `send.embed`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from personakit.base import door

if TYPE_CHECKING:
    from personakit.embeddings.asking import ask_backend as ask_backend
    from personakit.embeddings.asking import embed as embed
    from personakit.embeddings.stored import read_embeddings as read_embeddings
    from personakit.embeddings.stored import write_embeddings as write_embeddings
    from personakit.embeddings.value import Embeddings as Embeddings
else:
    __getattr__, __dir__, __all__ = door(
        __name__,
        {
            "asking": "ask_backend embed",
            "stored": "read_embeddings write_embeddings",
            "value": "Embeddings",
        },
    )
