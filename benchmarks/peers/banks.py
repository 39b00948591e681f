"""Banks: templates; it calls no model by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def render(job: dict[str, Any]) -> Callable[[], str]:
    """Render a prompt that is made once."""
    from banks import Prompt

    prompt, fresh = Prompt(job["template"]), job["fresh"]

    def once() -> str:
        text: str = prompt.text(fresh())
        return text

    return once
