"""Tags in double braces: the tokens of Handlebars and of Mustache."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from personakit.formats.note import Unreadable

_TAG = re.compile(
    r"(?P<escape>\\?)"
    r"(?:\{\{\{(?P<raw>[^{}]*)\}\}\}"
    r"|\{\{(?P<l>~?)!--(?P<long>(?:(?!--~?\}\})[\s\S])*)--(?P<r>~?)\}\}"
    r"|\{\{(?P<left>~?)(?P<sigil>[#/^&>!]?)(?P<code>[^{}]*?)(?P<right>~?)\}\})"
)
_STANDALONE = ("#", "/", "^", "!", ">", "else")


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag, or a text between tags.

    Attributes:
        kind: ``text``, ``value``, or the sign of the tag: ``#``, ``/``, ``^``, ``>``, ``!``,
            or ``else``.
        code: The text, or what stands in the tag.
        line: The line on which it begins, from 1.
    """

    kind: str
    code: str
    line: int


def tags_of(source: str) -> Iterator[Tag]:
    """Yield the parts of a template; a block tag that is alone on its line takes it away."""
    found = list(_matched(source))
    texts = [part.code if part.kind == "text" else "" for part, _, _ in found]
    originals = list(texts)
    for index, (tag, left, right) in enumerate(found):
        if tag.kind == "text":
            continue
        if tag.kind in _STANDALONE and _is_alone(originals, found, index):
            _cut_line(texts, found, index)
        if left and index and found[index - 1][0].kind == "text":
            texts[index - 1] = texts[index - 1].rstrip()
        if right and index + 1 < len(found) and found[index + 1][0].kind == "text":
            texts[index + 1] = texts[index + 1].lstrip()
    for (tag, _, _), text in zip(found, texts, strict=True):
        if tag.kind != "text":
            yield tag
        elif text:
            yield Tag("text", text, tag.line)


def _matched(source: str) -> Iterator[tuple[Tag, bool, bool]]:
    """Yield the parts, each with whether it takes the white space before and behind it away."""
    start, line = 0, 1
    for match in _TAG.finditer(source):
        text = source[start : match.start()]
        if text:
            yield Tag("text", text, line), False, False
        line += text.count("\n")
        if match["escape"]:
            yield Tag("text", match[0][1:], line), False, False
        else:
            yield _tag(match, line)
        line += match[0].count("\n")
        start = match.end()
    if start < len(source):
        yield Tag("text", source[start:], line), False, False


def _tag(match: re.Match[str], line: int) -> tuple[Tag, bool, bool]:
    if match["raw"] is not None:
        raw = match["raw"].strip()
        return Tag("value", raw.strip("~").strip(), line), raw.startswith("~"), raw.endswith("~")
    if match["long"] is not None:
        return Tag("!", match["long"], line), bool(match["l"]), bool(match["r"])
    kind, code = match["sigil"], match["code"].strip()
    if kind in ("", "&"):
        kind = "else" if re.match(r"else\b", code) else "value"
    elif kind == "^" and not code:
        kind, code = "else", "else"
    return Tag(kind, code, line), bool(match["left"]), bool(match["right"])


def _is_alone(texts: list[str], found: list[tuple[Tag, bool, bool]], index: int) -> bool:
    before = texts[index - 1] if index and found[index - 1][0].kind == "text" else None
    after = (
        texts[index + 1] if index + 1 < len(found) and found[index + 1][0].kind == "text" else None
    )
    first = index == 0 or (before is not None and (
        not before.rpartition("\n")[2].strip(" \t") and ("\n" in before or index == 1)
    ))  # fmt: skip
    last = index + 1 == len(found) or (after is not None and (
        not after.partition("\n")[0].strip(" \t\r") and ("\n" in after or index + 2 == len(found))
    ))  # fmt: skip
    return first and last


def _cut_line(texts: list[str], found: list[tuple[Tag, bool, bool]], index: int) -> None:
    if index and found[index - 1][0].kind == "text":
        head, mark, _ = texts[index - 1].rpartition("\n")
        texts[index - 1] = head + mark
    if index + 1 < len(found) and found[index + 1][0].kind == "text":
        texts[index + 1] = texts[index + 1].partition("\n")[2]


def unclosed(tag: Tag) -> Unreadable:
    """Return the error for a block without an end."""
    return Unreadable(f"the block {{{{#{tag.code}}}}} is not closed", tag.line)
