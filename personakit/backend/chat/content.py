"""The text, the reasoning and the refusal in the content of a message, in all its forms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from personakit.backend.answers.checks import string
from personakit.errors import InvalidAnswer

_TEXT = ("text", "output_text")


class Content(NamedTuple):
    """The content of a message or a delta."""

    text: str = ""
    reasoning: str = ""
    refusal: str = ""


def read_content(content: Any) -> Content:
    """Return the text, the reasoning and the refusal in a message's content.

    Content may be parts: only those of type text are text. Mistral's parts of type thinking are
    reasoning (https://docs.mistral.ai/capabilities/reasoning). Half a surrogate pair stays: the
    other half may come with the next delta.

    Raises:
        InvalidAnswer: The content is neither a string nor parts.
    """
    if content is None or isinstance(content, str):
        return Content(content or "")
    texts, thoughts, refusals = [], [], []
    for part in content if isinstance(content, list) else [content]:
        is_object = isinstance(part, Mapping)
        kind = part.get("type", "text" if "text" in part else None) if is_object else None
        if isinstance(part, str):
            texts.append(part)
        elif kind in _TEXT:
            texts.append(string(part.get("text")))
        elif kind == "refusal":
            refusals.append(string(part.get("refusal")))
        elif kind == "thinking":
            inner = read_content(part.get("thinking"))
            thoughts.append(inner.text + inner.reasoning)
        elif kind is None:
            raise InvalidAnswer(f"the content is {str(content)[:40]!r}, not a string")
    return Content("".join(texts), "".join(thoughts), "".join(refusals))
