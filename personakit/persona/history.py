"""What a conversation keeps: the `history:` of a persona, cuts, and refusals for length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from personakit.base import describe, is_type
from personakit.persona.validation import Checker

if TYPE_CHECKING:
    pass


KEYS = ("keep",)


@dataclass(frozen=True, slots=True)
class History:
    """The `history:` of a persona.

    Attributes:
        keep: How many of the newest messages of a conversation are sent, at most.
    """

    keep: int


def read_history(checker: Checker, value: Any) -> History | None:
    """Read a persona's `history:`, noting what is wrong."""
    at = "history"
    if not isinstance(value, dict):
        hint = f"; write `history: {{keep: {value}}}`" if is_type(value, "integer") else ""
        found = f"history: expected a mapping, found {describe(value)}{hint}"
        checker.fail(found, at, code="PK011")
        return None
    checker.unknown(value, KEYS, at)
    if value.get("keep") is None:
        checker.fail("history: no `keep:`; it says how many messages are sent", at)
        return None
    keep = value["keep"]
    if not is_type(keep, "integer") or keep < 0:
        found = f"keep: expected a number of messages, 0 or more, found {describe(keep)}"
        checker.fail(found, at, "keep")
        return None
    return History(keep)
