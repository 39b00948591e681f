"""A frontmatter and the text below it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from personakit.errors import PersonaError
from personakit.formats.draft import Draft
from personakit.formats.dumping import dumped
from personakit.formats.note import Unreadable
from personakit.persona import yaml

_FENCE = re.compile(r"---[ \t]*\Z")
_KEY = re.compile(r"([A-Za-z_][\w.-]*)[ \t]*:(?:[ \t]+(.*)|[ \t]*)\Z")


@dataclass(frozen=True, slots=True)
class Frontmatter:
    """A file in two parts.

    Attributes:
        data: The fields; empty if there is no frontmatter.
        lines: The line of each field, from 1.
        text: What is below.
        line: The line on which that begins.
    """

    data: dict[str, Any] = field(default_factory=dict)
    lines: Mapping[str, int] = field(default_factory=dict)
    text: str = ""
    line: int = 1


def divided(text: str, draft: Draft) -> Frontmatter:
    """Divide a file into frontmatter and text.

    ``---`` that is followed by no ``key:`` is a rule of the text. A frontmatter that is no YAML is
    read line by line: ``key: rest of the line``.

    Args:
        text: The content of the file, with LF at the ends of lines.
        draft: Gets a note if the frontmatter is no YAML.

    Raises:
        Unreadable: The frontmatter has no end.
    """
    lines = text.split("\n")
    if not _FENCE.match(lines[0]) or not _begins(lines):
        return Frontmatter(text=text)
    end = next((index for index, line in enumerate(lines) if index and _FENCE.match(line)), None)
    if end is None:
        raise Unreadable(
            "the frontmatter begins with --- and has no end; write --- on a line of its own after "
            "the last field",
            1,
        )
    head = lines[1:end]
    data, places = _fields(head, draft)
    return Frontmatter(data, places, "\n".join(lines[end + 1 :]), end + 2)


def _begins(lines: list[str]) -> bool:
    """Return whether the first line is that of a frontmatter, and not a rule."""
    if len(lines) > 1 and _FENCE.match(lines[1]):
        return True
    for line in lines[1:]:
        if line.strip() and not line.lstrip().startswith("#"):
            return _KEY.match(line) is not None
        if not line.strip() and line is lines[1]:
            return _key_before_end(lines)
    return False


def _key_before_end(lines: list[str]) -> bool:
    """Return whether there is a field before the next line of dashes, after an empty line."""
    for line in lines[2:]:
        if _FENCE.match(line):
            return False
        if line.strip():
            return _KEY.match(line) is not None and any(map(_FENCE.match, lines[2:]))
    return False


def _fields(head: list[str], draft: Draft) -> tuple[dict[str, Any], Mapping[str, int]]:
    """Return the fields and their lines."""
    try:
        document = yaml.parse("\n".join(head) + "\n")
        data = document.data
        if data is None:
            return {}, {}
        if isinstance(data, dict):
            lines = {key: document.marks[(key,)].key_line + 1 for key in data}
            return {
                key: _exact(value, document.marks[(key,)], head) for key, value in data.items()
            }, lines
        problem = "it is no mapping", 1
    except PersonaError as error:
        first = error.problems[0]
        problem = str(first.message).partition(";")[0], first.line or 1
    data, places = {}, {}
    for key, value, line in _line_by_line(head):
        if key in data:
            draft.note(
                "duplicate", f"{key!r} stands twice; the last one counts", field=key, line=line
            )
        data[key], places[key] = value, line
    draft.note(
        "frontmatter",
        f"the frontmatter is no YAML ({problem[0]}); each line was read as a field and its text",
        line=problem[1] + 1,
    )
    return data, places


def _exact(value: Any, mark: yaml.Mark, head: list[str]) -> Any:
    """Return the text of a number that is written otherwise than JSON writes it, such as 1.10."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    line = head[mark.line - 1]
    written = line[mark.column - 1 : mark.end_column - 1].strip()
    return value if written in ("", json.dumps(value)) else written


def _line_by_line(head: list[str]) -> Iterator[tuple[str, Any, int]]:
    """Yield each field with its text and line; further lines of it are appended."""
    key, parts, begun = "", [], 0
    for number, line in enumerate(head, 2):
        match = _KEY.match(line)
        if match is None:
            if key and line.strip() and not line.startswith("#"):
                parts.append(line.strip())
            continue
        if key:
            yield key, _joined(parts), begun
        key, parts, begun = match[1], [(match[2] or "").strip()], number
    if key:
        yield key, _joined(parts), begun


def _joined(parts: list[str]) -> Any:
    """Return the value of a field: a text, or a list of those after ``-``."""
    first, rest = parts[0], parts[1:]
    if not first and rest and all(part.startswith("- ") for part in rest):
        return [_bare(part[2:].strip()) for part in rest]
    if first in ("|", ">", "|-", ">-"):
        return ("\n" if first[0] == "|" else " ").join(rest)
    return _bare(" ".join(filter(None, parts)))


def _bare(text: str) -> str:
    """Return a text without quotes around all of it."""
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" and text[0] not in text[1:-1]:
        return text[1:-1]
    return text


def written(fields: Mapping[str, Any], text: str) -> str:
    """Return a file of frontmatter and text.

    Args:
        fields: The fields; those without a value are left out.
        text: The text, which gets a line feed at its end if it has none.
    """
    given = {key: value for key, value in fields.items() if value not in (None, "", [], {})}
    head = f"---\n{dumped(given)}---\n\n" if given else ""
    if not head and text.startswith("---"):
        head = "---\n---\n\n"
    return head + text + ("" if text.endswith("\n") or not text else "\n")
