"""Mistakes of keys, list items and indentation."""

from __future__ import annotations

import re

from personakit.base import brief
from personakit.persona.mistakes.failure import (
    BLOCK,
    KEY,
    Failure,
    Mistake,
    indent,
    structure,
)

_NO_SPACE = re.compile(r" *(?:- +)*[A-Za-z_][\w-]*:(?=[^\s:/])")


def missing_space(failure: Failure) -> Mistake | None:
    """A key without a space after its colon."""
    if not re.search("expected ':'|mapping values", failure.problem):
        return None
    is_alone = "simple key" in failure.context
    row = failure.first if is_alone else failure.above(failure.row)
    line = failure.line(row)
    match = _NO_SPACE.match(line)
    if not match or not (is_alone or indent(line) == indent(failure.line(failure.row))):
        return None
    fixed = f"{match[0]} {line[match.end() :]}".strip()
    message = f"write a space after the colon{failure.as_in(fixed)}"
    return Mistake(message, row + 1, match.end() + 1)


def second_colon(failure: Failure) -> Mistake | None:
    """A colon within an unquoted value, or a key below a value."""
    if "mapping values" not in failure.problem:
        return None
    line, row = failure.line(failure.row), failure.row
    if ": " in line[: failure.column]:
        message = (
            'found a second ": " on this line; quote a value that contains ": "'
            f"{failure.requoted(row)}, or {BLOCK}"
        )
        return Mistake(message, row + 1, failure.column + 1)
    above = failure.above(row)
    match = KEY.match(failure.line(above)) if above >= 0 else None
    if match is None:
        return _no_key(failure, above) if above >= 0 else None
    own, key = line.strip().partition(":")[0], match["key"]
    if not failure.is_persona:
        own = key = "…"
    message = (
        f"`{brief(own, 40)}:` is indented below `{brief(key, 40)}:` (line {above + 1}), which has "
        f"a value already; check the indentation: a key beside it begins at column "
        f"{len(match['lead']) + 1}, and a text of several lines goes below `{brief(key, 40)}: |`"
    )
    return Mistake(message, row + 1, indent(line) + 1)


def no_colon(failure: Failure) -> Mistake | None:
    """A line without a key."""
    if "expected ':'" not in failure.problem:
        return None
    return _no_key(failure, failure.first)


def _no_key(failure: Failure, row: int) -> Mistake:
    """Return the mistake for a line of text where a key is expected."""
    above = [(at, KEY.match(line)) for at, line in structure(failure, row)]
    keyed = [(at, match) for at, match in above if match]
    message = "expected `key: value`, found a line without a key"
    if keyed and keyed[-1][1]["value"]:
        at, match = keyed[-1]
        name = brief(match["key"], 40) if failure.is_persona else "…"
        if match["value"][0] in "|>":
            message += f"; indent the text below `{name}: |` (line {at + 1})"
        else:
            message += f"; to continue the text of line {at + 1}, write all of it below `{name}: |`"
    return Mistake(message, row + 1, indent(failure.line(row)) + 1)


def cut(failure: Failure) -> Mistake | None:
    """A comment within a text of several lines."""
    above = failure.above(failure.row)
    if "expected key" not in failure.problem or above < 0:
        return None
    line = failure.line(above)
    comment = re.search(r"\s#", line)
    deeper = indent(failure.line(failure.row)) > indent(failure.line(_owner(failure, above)))
    if comment is None or not deeper or KEY.match(failure.line(failure.row)):
        return None
    message = f'the text ends here, since " #" begins a comment; quote the text, or {BLOCK}'
    return Mistake(message, above + 1, comment.start() + 2)


def _owner(failure: Failure, row: int) -> int:
    """Return the row of the key whose value a line continues."""
    while row > 0 and not KEY.match(failure.line(row)):
        row -= 1
    return row


def item(failure: Failure) -> Mistake | None:
    """A list item beside keys, or a key beside list items."""
    line, row = failure.line(failure.row), failure.row
    place = (row + 1, indent(line) + 1)
    if "'-' indicator" in failure.problem:
        fixed = f"- {line.strip()}"
        message = (
            f"expected a list item, which begins with `- `{failure.as_in(fixed)}; or, for a key "
            f"beside those of the item above, check the indentation"
        )
        return Mistake(message, *place)
    if "sequence entries" in failure.problem:
        message = (
            "a list item cannot begin on the line of its key; begin it on the next line, or quote "
            f'a text that begins with "- "{failure.requoted(row)}'
        )
        return Mistake(message, row + 1, failure.column + 1)
    if "expected key" not in failure.problem or not line.lstrip().startswith("- "):
        return None
    items = [
        (at, indent(text))
        for at, text in structure(failure, row)
        if text.lstrip().startswith("- ") and indent(text) != indent(line)
    ]
    if items and abs(items[-1][1] - indent(line)) < 3:
        message = (
            f"this `- ` begins at column {indent(line) + 1}, the one on line {items[-1][0] + 1} at "
            f"column {items[-1][1] + 1}; align them"
        )
        return Mistake(message, *place)
    message = (
        "found a list item (`- `) where a key is expected; a list goes below its key, and has no "
        "keys beside its items"
    )
    return Mistake(message, *place)


def indentation(failure: Failure) -> Mistake | None:
    """A key that no other key is aligned with."""
    line, row = failure.line(failure.row), failure.row
    if "expected key" not in failure.problem or not line.strip():
        return None
    if not KEY.match(line):
        return _no_key(failure, row)
    levels: dict[int, int] = {}
    for at, text in structure(failure, row):
        match = KEY.match(text)
        if match:
            levels = {n: first for n, first in levels.items() if n <= len(match["lead"])}
            levels[len(match["lead"])] = at
    wanted = sorted(levels, reverse=True)
    if not wanted or indent(line) in wanted:
        return None
    places = " or ".join(f"{n + 1} (as line {levels[n] + 1})" for n in wanted)
    message = (
        f"this key begins at column {indent(line) + 1}; check the indentation: expected column "
        f"{places}"
    )
    return Mistake(message, row + 1, indent(line) + 1)
