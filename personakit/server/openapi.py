"""A stand-in for the document."""

from __future__ import annotations

from typing import Any


def document(*, version: str) -> dict[str, Any]:
    """Return a document."""
    return {"openapi": "3.1.0", "info": {"title": "personakit", "version": version}}
