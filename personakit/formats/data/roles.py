"""Lists of messages of other tools."""

from __future__ import annotations

from typing import Any

from personakit.formats.draft import Draft
from personakit.formats.note import Unreadable
from personakit.formats.templates import Text
from personakit.formats.text import lines_of

ROLES = {"system": "system", "developer": "developer", "user": "user", "human": "user",
         "assistant": "assistant", "ai": "assistant", "model": "assistant"}  # fmt: skip


def role_of(value: Any) -> str:
    """Return the role of a message in a persona.

    Raises:
        Unreadable: A persona has no such role.
    """
    role = ROLES.get(str(value).lower())
    if role is None:
        known = ", ".join(dict.fromkeys(ROLES.values()))
        raise Unreadable(f"a message has the role {value!r:.40}; a persona has {known}")
    return role


def content_of(value: Any, draft: Draft) -> str:
    """Return the text of a content: a text, or the texts of a list of parts.

    Raises:
        Unreadable: It is neither.
    """
    if value is None:
        return ""
    if isinstance(value, str):
        return lines_of(value, draft, "content")
    if not isinstance(value, list):
        raise Unreadable(f"the content of a message is {value!r:.40}; expected a text")
    texts = []
    for part in value:
        if isinstance(part, dict) and isinstance(part.get("text"), str):
            texts.append(lines_of(part["text"], draft, "content"))
        else:
            kind = part.get("type") if isinstance(part, dict) else type(part).__name__
            draft.note(
                "media",
                f"a part of a message, {kind!r:.40}, is no text and was left out",
                lost=True,
            )
    return "\n".join(texts)


def set_messages(draft: Draft, messages: list[tuple[str, Text]]) -> None:
    """Set system message, messages and prompt from all messages in their order."""
    rest = list(messages)
    if rest and rest[0][0] == "system":
        draft.system = rest.pop(0)[1]
    if rest and rest[-1][0] == "user":
        draft.prompt = rest.pop()[1]
        draft.fixed_prompt()
    draft.messages = rest
