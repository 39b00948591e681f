"""Embeddings as JSON, for recordings."""

from __future__ import annotations

import base64
import dataclasses
import struct
from typing import Any

from personakit.embeddings.value import Embeddings, Vector
from personakit.usage import Usage


def write_embeddings(embeddings: Embeddings) -> dict[str, Any]:
    """Return embeddings as JSON; the numbers are 32-bit floats in base64, as APIs send them."""
    usage = embeddings.usage
    return {
        "model": embeddings.model,
        "usage": None if usage is None else dataclasses.asdict(usage),
        "vectors": [
            base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
            for vector in embeddings.vectors
        ],
    }


def read_embeddings(written: dict[str, Any]) -> Embeddings:
    """Parse the result of `write_embeddings`.

    Raises:
        ValueError, KeyError, TypeError: It is something else.
    """
    usage = written["usage"]
    return Embeddings(
        tuple(map(_vector, written["vectors"])),
        str(written["model"]),
        None if usage is None else Usage(**usage),
    )


def _vector(text: str) -> Vector:
    data = base64.b64decode(text, validate=True)
    if not data or len(data) % 4:
        raise ValueError(f"a vector has {len(data)} bytes, not those of 32-bit floats")
    return struct.unpack(f"<{len(data) // 4}f", data)
