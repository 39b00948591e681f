"""What an import or an export says of a difference, and how it rejects what it cannot read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from personakit.errors import UsageError

CODES: dict[str, str] = {
    "name": "The name was changed to one that a persona may have.",
    "name-collision": "Two items have the same name; the second one got another.",
    "bom": "A byte order mark was left out.",
    "line-endings": "CR and CRLF became LF.",
    "edges": "Empty lines at the start or the end of a text were left out.",
    "nonprintable": "The source tool drops characters that the persona keeps.",
    "frontmatter": "The frontmatter was read otherwise than by a strict parser of YAML.",
    "duplicate": "A field stands twice; the last one counts.",
    "empty": "A text is empty.",
    "unmapped": "A persona has no such field; it is kept in `metadata`.",
    "license": "No licence is known.",
    "credential": "A credential was left out.",
    "variable-renamed": "The name of a variable was changed to one that a template can use.",
    "input": "What the user types is used otherwise than in the source tool.",
    "placement": "A text has another place or role than in the source tool.",
    "model": "The model cannot be called as it is written; it is kept in `metadata`.",
    "parameter": "A parameter has no equivalent or is out of range; it is kept in `metadata`.",
    "tools": "Tools belong to another program; they are kept in `metadata`.",
    "output": "The schema of the answer was changed or is kept in `metadata`.",
    "history": "The place of the conversation's earlier messages was left out.",
    "media": "An image or another medium was left out.",
    "logic": "A part of a template works otherwise, or was rendered.",
    "builtin": "A value that the source tool provides became a variable or a fixed text.",
    "reference": "A reference to a file, a page or a command is not followed.",
    "stringify": "A value that is not a text was written as one.",
    "greeting": "A first message of the assistant is kept in `metadata`, and is not sent.",
    "lorebook": "Entries of a lorebook are kept in `metadata`, or are in the system message.",
    "too-large": "A text is larger than a template may be.",
}
"""The codes of notes, each with its meaning."""


@dataclass(frozen=True, slots=True)
class Note:
    """A difference between a source and the persona that was made from it, or the other way round.

    Attributes:
        code: One of `CODES`.
        message: What is different, what became of it, and what can be done.
        field: The field of the source or the persona; empty if it is none.
        line: The line of the source, from 1; None if unknown.
        lost: Whether something of the source is neither in the persona nor in its `metadata`.
    """

    code: str
    message: str
    field: str = ""
    line: int | None = None
    lost: bool = False

    def __post_init__(self) -> None:
        if self.code not in CODES:
            raise ValueError(f"unknown code {self.code!r}; use one of {', '.join(CODES)}")

    def plain(self, persona: str) -> dict[str, Any]:
        """Return the note as an entry of a report in JSON."""
        return {
            "persona": persona,
            "code": self.code,
            "field": self.field,
            "line": self.line,
            "message": self.message,
            "lost": self.lost,
        }


class Unreadable(UsageError):
    """A source, or an item of it, cannot become a persona.

    Args:
        reason: What was found and what would be right.
        line: The line of the source, from 1; None if unknown.
        item: The row or the place of the item in its file; None for the whole file.
    """

    def __init__(self, reason: str, line: int | None = None, item: int | str | None = None) -> None:
        super().__init__(reason)
        self.reason, self.line, self.item = reason, line, item
