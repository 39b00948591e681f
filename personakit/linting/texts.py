"""Checks that no text of a persona file is lost to a comment: in YAML, " #" begins one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from personakit.base import brief
from personakit.errors import Problem
from personakit.persona import Persona

_COMMENT = re.compile(r"(?:^|(?<=\s))#(?P<text>.*)")
# Values that are words of the format, beside which a comment is more likely than a lost text.
_WORDS = ("extends", "model", "name", "template", "type", "use", "version")
_OF_REQUEST = ("messages", "prompt", "system")


def check(persona: Persona, lines: Sequence[str]) -> Iterator[Problem]:
    """Yield the comments that are probably a part of the text before them.

    Args:
        persona: The persona.
        lines: The lines of its file.
    """
    document = persona.document
    for at, mark in document.marks.items():
        value = _value(document.data, at)
        if not at or at[-1] in _WORDS or not (value is None or isinstance(value, str)):
            continue
        place = _comment(lines, mark.line, mark.column, value or "")
        if place is None:
            continue
        line, match, fixed = place
        name = next(part for part in reversed(at) if isinstance(part, str))
        if _is_text(match, of_request=at[0] in _OF_REQUEST):
            message = (
                f'{name}: " #" begins a comment in YAML, so the text from there on is lost; quote '
                f"the text: {brief(fixed, 100)}; a comment has two spaces before # and one after"
            )
            end = len(match.string.rstrip()) + 1
            yield Problem(
                message, document.path, line, match.start() + 1, "PK061",
                end_line=line, end_column=end,
            )  # fmt: skip


def _value(data: Any, at: Sequence[str | int]) -> Any:
    for part in at:
        data = data[part]
    return data


def _is_text(match: re.Match[str], *, of_request: bool) -> bool:
    """Return whether a comment looks like a text: no space after the ``#``, or one before it."""
    text = match["text"]
    if text.lstrip().startswith(("personakit:", "yaml-language-server:")):
        return False
    if text[:1].strip():
        return text[0] not in "#!-=*"
    spaces = match.string[: match.start()]
    return of_request and bool(text.strip()) and len(spaces) - len(spaces.rstrip()) == 1


def _comment(
    lines: Sequence[str], first: int, column: int, value: str
) -> tuple[int, re.Match[str], str] | None:
    """Return the comment that ends an unquoted value: its line, its match and the quoted value.

    Args:
        lines: The lines of the file.
        first: The line on which the value begins, counted from 1.
        column: Its column.
        value: The value; empty for null.
    """
    words, read = value.split(), list[str]()
    for number in range(first, len(lines) + 1):
        line = lines[number - 1].rstrip("\r")
        start = column - 1 if number == first else 0
        if not read and line[start : start + 1] in ("'", '"', "|", ">"):
            return None
        match = _COMMENT.search(line, start)
        read += line[start : match.start() if match else len(line)].split()
        if match and read == words:
            text = " ".join([*words, f"#{match['text'].rstrip()}"])
            mark = "'" if '"' in text else '"'
            return number, match, f"`{mark}{text}{mark}`"
        if match or len(read) >= len(words):
            return None
    return None
