"""Checks that no text of a persona file is lost to a comment: in YAML, " #" begins one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from personakit.base import brief
from personakit.errors import Problem
from personakit.persona import Persona, yaml

_COMMENT = re.compile(r"(?:^|(?<=\s))#(?P<text>.*)")
_SPACE = re.compile(r"\s*")
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
        comment = _comment(lines, mark, value or "")
        if comment is None:
            continue
        match, fixed = comment
        name = next(part for part in reversed(at) if isinstance(part, str))
        if _is_text(match, of_request=at[0] in _OF_REQUEST):
            message = (
                f'{name}: " #" begins a comment in YAML, so the text from there on is lost; quote '
                f"the text: {brief(fixed, 100)}; a comment has two spaces before # and one after"
            )
            end = len(match.string.rstrip()) + 1
            yield Problem(
                message, document.path, mark.end_line, match.start() + 1, "PK061",
                end_line=mark.end_line, end_column=end,
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


def _comment(lines: Sequence[str], mark: yaml.Mark, value: str) -> tuple[re.Match[str], str] | None:
    """Return the comment that ends an unquoted value: its match and the quoted value.

    Args:
        lines: The lines of the file.
        mark: The position of the value.
        value: The value; empty for null.
    """
    if max(mark.line, mark.end_line) > len(lines):
        return None
    if lines[mark.line - 1][mark.column - 1 : mark.column] in ("'", '"', "|", ">"):
        return None
    if not value and (mark.line, mark.column) != (mark.end_line, mark.end_column):
        return None  # `~` and `null` are no text
    line = lines[mark.end_line - 1].rstrip("\r")
    space = _SPACE.match(line, mark.end_column - 1)
    match = _COMMENT.match(line, space.end()) if space else None
    if match is None:
        return None
    text = " ".join([*value.split(), f"#{match['text'].rstrip()}"])
    quote = "'" if '"' in text else '"'
    return match, f"`{quote}{text}{quote}`"
