"""The `history:` of a persona, which limits the messages that a conversation sends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from personakit.base import describe, is_type
from personakit.persona.validation import Checker

KEYS = ("keep",)


@dataclass(frozen=True, slots=True)
class History:
    """The `history:` of a persona.

    Attributes:
        keep: The maximum number of messages of a conversation to send; the newest are kept.
    """

    keep: int


def read_history(checker: Checker, value: Any) -> History | None:
    """Read a persona's `history:`; report problems to `checker`."""
    at = "history"
    if not isinstance(value, dict):
        hint = f"; write `history: {{keep: {value}}}`" if is_type(value, "integer") else ""
        message = f"history: expected a mapping, found {describe(value)}{hint}"
        checker.fail(message, at, code="PK011")
        return None
    checker.unknown(value, KEYS, at)
    if value.get("keep") is None:
        checker.fail("history: `keep:` is missing; it sets how many messages are sent", at)
        return None
    keep = value["keep"]
    if not is_type(keep, "integer") or keep < 0:
        message = f"keep: expected a number of messages, 0 or more, found {describe(keep)}"
        checker.fail(message, at, "keep")
        return None
    return History(keep)
