"""The fields that frontmatters of several tools have."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from personakit.errors import UsageError
from personakit.formats.draft import Draft
from personakit.formats.markdown.frontmatter import Frontmatter
from personakit.formats.outgoing import Outgoing, filled, is_input
from personakit.formats.templates import Builder


def described(draft: Draft, data: dict[str, Any], parts: Frontmatter) -> str:
    """Take name and description out of the fields; return the name, empty if there is none."""
    name, description = data.pop("name", None), data.pop("description", None)
    if isinstance(description, str):
        draft.keys["description"] = description.strip()
    elif description is not None:
        draft.keep("description", description, line=parts.lines.get("description"))
    return str(name).strip() if isinstance(name, str | int | float) else ""


def keep_rest(draft: Draft, data: dict[str, Any], parts: Frontmatter) -> None:
    """Keep the fields that are left."""
    for field, value in data.items():
        if value is not None:
            draft.keep(field, value, line=parts.lines.get(field))


def with_slots(
    text: str, pattern: re.Pattern[str], expression: Callable[[re.Match[str]], str | None]
) -> Builder:
    """Return a text whose slots are expressions of a template.

    Args:
        text: The text.
        pattern: What may be a slot.
        expression: Returns the expression for a match; None if it is text.
    """
    builder, start = Builder(), 0
    for match in pattern.finditer(text):
        code = expression(match)
        if code is not None:
            builder.text(text[start : match.start()]).expression(code)
            start = match.end()
    return builder.text(text[start:])


def described_by(out: Outgoing, text: str) -> str:
    """Return the description of a persona; without one, the first sentence of its text."""
    if out.persona.description:
        return out.persona.description
    match = re.search(r"\S[^\n]*?(?:[.!?](?=\s)|$)", text)
    sentence = match[0].strip() if match else out.persona.name
    out.note(
        "unmapped",
        f"{out.format} needs a description, and the persona has none: its first sentence is "
        f"written",
        field="description",
    )
    return sentence


def system_of(
    out: Outgoing, messages: list[tuple[str, str]], slot: Callable[[str], str] = str
) -> str:
    """Return the system message, for a format that has nothing else.

    Raises:
        UsageError: There is none.
    """
    system = [text for role, text in messages if role in ("system", "developer")]
    if not system:
        raise UsageError(
            f"{out.persona.name}: {out.format} holds a system message, and the persona has none; "
            f"give it a `system:`, or choose another format"
        )
    rest = [text for role, text in messages if role not in ("system", "developer")]
    if any(not is_input(text) for text in rest):
        out.note(
            "placement",
            f"`messages:` and `prompt:` have no place in {out.format} and are left out",
            field="messages",
            lost=True,
        )
    return filled("\n\n".join(system), slot)
