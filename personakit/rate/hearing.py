"""Who wants to know the headers of the answers of a provider."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any

listener: ContextVar[Callable[[Mapping[str, str]], None] | None] = ContextVar(
    "personakit_listener", default=None
)
"""Called with the headers of each answer, also of one that is an error; None for nobody."""


def heard(answer: Any) -> None:
    """Pass on the headers of an answer; of anything else, such as None, nothing.

    Args:
        answer: What has them as `headers`.
    """
    hear = listener.get()
    if hear is not None and (headers := getattr(answer, "headers", None)) is not None:
        hear(headers)
