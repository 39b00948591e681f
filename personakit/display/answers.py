"""A response in a notebook: its text as Markdown, and below it what the answer was and cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from personakit.base import dollars, printable
from personakit.display.disarm import disarmed, entities

Bundle = dict[str, Any]
_LONGEST = 40


def response_bundle(response: Any) -> Bundle:
    """Return what a notebook shows for a `Response`."""
    return answer_bundle(response.text, footer(response), is_json=response.parsed is not None)


def answer_bundle(
    text: str, below: str = "", *, images: bool = False, is_json: bool = False
) -> Bundle:
    """Return a text of a model as Markdown that cannot act, and as it is.

    The plain form is for a terminal, so its control characters are marks.

    Args:
        text: The text, whole or as far as it has arrived.
        below: The footer, from `footer`.
        images: Whether to show remote images.
        is_json: Whether the text is a value in JSON, which is shown as code.
    """
    if is_json and text.lstrip()[:1] in ("{", "[") and "```" not in text:
        text = f"```json\n{text.strip()}\n```\n"
    shown = disarmed(text, images=images)
    if below:
        shown = f"{shown.rstrip()}\n\n{below}" if shown.strip() else below
    return {"text/markdown": shown, "text/plain": printable(text)}


def footer(
    response: Any,
    given: Mapping[str, Any] | None = None,
    notes: Iterable[str] = (),
) -> str:
    """Return the line below an answer: model, tokens and cost of the run, time and notes.

    What is unknown says so: an unknown cost is not zero.

    Args:
        response: The `Response`.
        given: The variables that the user gave, by name.
        notes: What else the user should know.
    """
    model = response.model or (response.request.model if response.request is not None else "")
    spent = response.spent
    return footer_line(
        model,
        _tokens(spent.usage),
        dollars(spent.cost),
        _time(response.timings),
        *_given(given),
        *notes,
    )


def footer_line(*parts: str) -> str:
    """Return parts of a footer as Markdown, with everything that could be syntax escaped."""
    line = " · ".join(entities(part) for part in parts if part)
    # MathJax reads the page, not the Markdown, and finds no formula across an element.
    return f"<sub>{line.replace('&#36;', '<span>&#36;</span>')}</sub>"


def _given(given: Mapping[str, Any] | None) -> list[str]:
    """Return variables as ``name=value``, with long values cut."""
    shown = [f"{name}={value}" for name, value in (given or {}).items()]
    return [f"{one[:_LONGEST]}…" if len(one) > _LONGEST else one for one in shown]


def _tokens(usage: Any) -> str:
    if usage is None:
        return "tokens unknown"
    least = "at least " if usage.incomplete else ""
    return f"{least}{usage.prompt_tokens:,} + {usage.completion_tokens:,} tokens"


def _time(timings: Any) -> str:
    if timings is None:
        return ""
    first = timings.first_text
    return f"{timings.total:.1f} s" + ("" if first is None else f", first text {first:.1f} s")
