"""Change one member of an object in a JSON file with comments, and nothing else of its text.

VS Code reads its files with comments and trailing commas ("jsonc"). A parser that writes the file
again would lose the comments, so the new text is put into the old one.
"""

from __future__ import annotations

import json
import re
from typing import Any

_STRING = r'"(?:[^"\\\n]|\\.)*"'
_TOKEN = re.compile(rf"{_STRING}|//[^\r\n]*|/\*.*?\*/", re.DOTALL)
_COMMA = re.compile(rf"({_STRING})|,(?=\s*[}}\]])")
_SPACE = re.compile(r"[ \t\r\n]*")
_REST_OF_LINE = re.compile(r"[ \t]*(?://[^\r\n]*)?(?=\r?\n)")
_INDENT = re.compile(r"^([ \t]+)\"", re.MULTILINE)
_DECODER = json.JSONDecoder()

Span = tuple[int, int]


class Invalid(ValueError):
    """A text that cannot be read.

    Attributes:
        line: The line, from 1.
        column: The column, from 1.
    """

    def __init__(self, message: str, line: int = 1, column: int = 1) -> None:
        super().__init__(message)
        self.line, self.column = line, column


class Unsafe(ValueError):
    """A text that cannot be changed without a loss."""


def read(text: str) -> Any:
    """Return the value of a text; that of an empty one is an empty object.

    Raises:
        Invalid: It is not JSON, also with comments and trailing commas.
    """
    plain = _plain(text)
    if not plain.strip():
        return {}
    try:
        return json.loads(plain, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        raise Invalid(error.msg, error.lineno, error.colno) from None
    except RecursionError:
        raise Invalid("it is nested too deeply") from None


def put(text: str, section: str, name: str, entry: dict[str, Any]) -> str:
    """Return the text with a member of one of its objects added or replaced.

    Args:
        text: A text that `read` accepts.
        section: The member of the file that holds the object; it is added if it is missing.
        name: The member to set.
        entry: Its value.

    Raises:
        Invalid: As in `read`, or the file or the section is not an object.
        Unsafe: A comment would be lost.
    """
    before = read(text)
    _check(before, "the file")
    _check(before.get(section, {}), f"{section!r}")
    plain, new_line = _plain(text), "\r\n" if "\r\n" in text else "\n"
    unit = match[1] if (match := _INDENT.search(text)) else "  "
    write = _Writer(unit, new_line)
    if not plain.strip():
        changed = text + write.object({section: {name: entry}}, 0) + new_line
    else:
        root = _SPACE.match(plain).end()  # type: ignore[union-attr]
        members = _members(plain, root)
        if section not in members:
            changed = write.inserted(text, plain, root, section, {name: entry}, 1)
        else:
            start = members[section][0]
            span = _members(plain, start).get(name)
            if span is None:
                changed = write.inserted(text, plain, start, name, entry, 2)
            else:
                changed = text[: span[0]] + write.object(entry, 2) + text[span[1] :]
    after = {**before, section: {**before.get(section, {}), name: entry}}
    if read(changed) != after or _comments(changed) != _comments(text):
        raise Unsafe("a comment would be lost")
    return changed


class _Writer:
    """Writes values with the indentation of a file."""

    def __init__(self, unit: str, new_line: str) -> None:
        self._unit, self._line = unit, new_line

    def object(self, value: Any, depth: int) -> str:
        """Return a value whose first line is at a depth."""
        text = json.dumps(value, indent=self._unit, ensure_ascii=False)
        return text.replace("\n", self._line + self._unit * depth)

    def inserted(self, text: str, plain: str, start: int, name: str, value: Any, depth: int) -> str:
        """Return the text with a first member of the object that begins at `start`."""
        at = start + 1
        if rest := _REST_OF_LINE.match(text, at):
            at = rest.end()  # a comment on the line of the brace is about the object
        new = f"{self._line}{self._unit * depth}{json.dumps(name)}: {self.object(value, depth)}"
        follows = _SPACE.match(plain, at).end()  # type: ignore[union-attr]
        is_last = plain[follows] == "}"
        if "\n" not in plain[at:follows]:
            new += ("" if is_last else ",") + self._line + self._unit * (depth - is_last)
            return text[:at] + new + text[at:].lstrip(" \t")
        return text[:at] + new + ("" if is_last else ",") + text[at:]


def _plain(text: str) -> str:
    """Return the text with comments and trailing commas as spaces, so that places stay the same."""

    def blank(match: re.Match[str]) -> str:
        return match[0] if match[0][0] == '"' else re.sub(r"[^\r\n]", " ", match[0])

    return _COMMA.sub(lambda match: match[1] or " ", _TOKEN.sub(blank, text))


def _comments(text: str) -> list[str]:
    return [token for token in _TOKEN.findall(text) if token[0] != '"']


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise Invalid(f"the key {twice!r} occurs twice in one object")
    return value


def _check(value: Any, what: str) -> None:
    if not isinstance(value, dict):
        raise Invalid(f"{what} is not an object")


def _members(plain: str, start: int) -> dict[str, Span]:
    """Return where the values of an object's members are; the text is valid."""

    def skip(at: int) -> int:
        return _SPACE.match(plain, at).end()  # type: ignore[union-attr]

    spans: dict[str, Span] = {}
    at = skip(start + 1)
    while plain[at] != "}":
        name, at = _DECODER.raw_decode(plain, at)
        at = skip(skip(at) + 1)
        end = _DECODER.raw_decode(plain, at)[1]
        spans[name] = (at, end)
        at = skip(end)
        at = skip(at + 1) if plain[at] == "," else at
    return spans
