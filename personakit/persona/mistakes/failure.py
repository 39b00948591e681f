"""A text that the parser of YAML rejects, and the lines around the place."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from personakit.base import brief, printable

BLOCK = 'write the text below a "|"'
_LINE_END = re.compile("\r\n|[\r\n\x85\u2028\u2029]")
ASSIGNMENT = re.compile(r"\s*(?:\[[\w.-]+\]\s*)?[\w-]+\s*=(?!=)")
"""A file of TOML or of variables of a shell."""
_NAME = r"[\w.$-][\w .$-]{0,60}?|\"[^\"]*\"|'[^']*'"
KEY = re.compile(rf"(?P<lead> *(?:- +)*)(?P<key>{_NAME}):(?=\s|\Z) *(?P<value>.*)")
ITEM = re.compile(r"(?P<lead> *(?:- +)+)(?P<value>.*)")
_HEADER = re.compile(r"(?:.*: +|.*- +|\s*)[|>][-+0-9]*\s*(?:#.*)?\Z")
_PERSONA = re.compile(
    r"""^\s*["']?(?:system|messages|prompt|extends|description)["']? *:""", re.MULTILINE
)


class Mistake(NamedTuple):
    """A message with the position of the mistake; line and column count from 1."""

    message: str
    line: int
    column: int


class Failure:
    """The text, and the places that the parser names.

    Attributes:
        lines: The lines of the text.
        problem: The parser's message.
        context: What the parser was reading; empty if it does not say.
        row: The row of the problem, counted from 0.
        column: Its column, counted from 0.
        first: The row on which the context begins.
        start: Its column.
        is_persona: Whether the lines may be shown in a message.
    """

    def __init__(self, text: str, problem: str, context: str, marks: tuple[int, int, int, int]):
        self.lines = _LINE_END.split(text)
        self.problem, self.context = problem, context
        self.row, self.column, self.first, self.start = marks
        # A text that is no persona may be any file, such as a config file with a key.
        self.is_persona = _PERSONA.search(text) is not None

    @classmethod
    def of(cls, error: Any, text: str) -> Failure:
        """Return the failure that an error of PyYAML's parser describes."""
        mark = error.problem_mark or error.context_mark
        start = error.context_mark or mark
        place = (mark.line, mark.column) if mark else (0, 0)
        first = (start.line, start.column) if start else (0, 0)
        return cls(text, error.problem or "cannot be read", error.context or "", (*place, *first))

    def line(self, row: int) -> str:
        """Return a line; empty for one that does not exist."""
        return self.lines[row] if 0 <= row < len(self.lines) else ""

    def above(self, row: int) -> int:
        """Return the last row above that is neither empty nor a comment; -1 if there is none."""
        for at in range(min(row, len(self.lines)) - 1, -1, -1):
            text = self.line(at).lstrip()
            if text and not text.startswith("#"):
                return at
        return -1

    def as_in(self, line: str) -> str:
        """Return a corrected line after a colon, without its value if the text is no persona."""
        if not self.is_persona:
            match = KEY.match(line)
            if match is None:
                return ""
            line = f"{match['lead']}{match['key']}: …"
        return f": `{brief(printable(line.rstrip()), 100)}`"

    def requoted(self, row: int) -> str:
        """Return a line with its value quoted, after a colon; empty if it has no value."""
        match = KEY.match(self.line(row)) or ITEM.match(self.line(row))
        if match is None or not match["value"]:
            return ""
        head = self.line(row)[: match.start("value")].lstrip()
        return self.as_in(head + quoted(match["value"].rstrip()))


def quoted(value: str) -> str:
    """Return a text as a quoted scalar on one line, with double quotes if nothing needs escapes."""
    if '"' not in value and "\\" not in value:
        return f'"{value}"'
    if "'" not in value:
        return f"'{value}'"
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def structure(failure: Failure, until: int) -> Iterator[tuple[int, str]]:
    """Yield the lines above a row that are not the text of a block scalar, with their rows."""
    margin = -1
    for row in range(min(until, len(failure.lines))):
        line = failure.line(row)
        if not line.strip() or (margin >= 0 and indent(line) > margin):
            continue
        margin = indent(line) if _HEADER.match(line) else -1
        yield row, line


def indent(line: str) -> int:
    """Return the number of spaces at the start of a line."""
    return len(line) - len(line.lstrip(" "))
