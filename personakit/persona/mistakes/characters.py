"""Mistakes of quotes, brackets and characters that have a meaning in YAML."""

from __future__ import annotations

import re

from personakit.persona.mistakes.failure import (
    BLOCK,
    ITEM,
    KEY,
    Failure,
    Mistake,
    quoted,
    structure,
)

_BARRED = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NAMES = {0: "NUL", 7: "BEL", 8: "backspace", 11: "vertical tab", 12: "form feed", 27: "ESC"}
_EXAMPLE = ' ("{{ name }}")'


def control_character(text: str) -> Mistake | None:
    """Return the mistake for the first character that YAML does not allow; None if all are."""
    match = _BARRED.search(text)
    if match is None:
        return None
    code = ord(match[0])
    line, column = (
        text.count("\n", 0, match.start()),
        match.start() - text.rfind("\n", 0, match.start()),
    )
    name = f" ({_NAMES[code]})" if code in _NAMES else ""
    if 0xD800 <= code < 0xE000:
        message = (
            f"found half of a surrogate pair, U+{code:04X}, which is not a character; remove it"
        )
    else:
        message = (
            f"found the control character U+{code:04X}{name}, which is not allowed in a file; "
            f'remove it, or write "\\u{code:04x}" within double quotes'
        )
    return Mistake(message, line + 1, column)


def tab(failure: Failure) -> Mistake | None:
    """Tabs in the indentation."""
    row = failure.row
    line = failure.line(row)
    margin = line[: len(line) - len(line.lstrip())]
    if "\t" not in margin or not ("tab" in failure.problem or "any token" in failure.problem):
        return None
    return Mistake("found a tab; indent with spaces", row + 1, margin.index("\t") + 1)


def other_space(failure: Failure) -> Mistake | None:
    """No-break spaces, which come with text from web pages."""
    for row in (failure.row, failure.above(failure.row)):
        match = re.match(r"[ \xa0]*\xa0|[ \xa0]*(?:- +)*[\w-]+:\xa0", failure.line(row))
        if match:
            message = "found a no-break space (U+00A0), which is not indentation; type a space"
            return Mistake(message, row + 1, failure.line(row).index("\xa0") + 1)
    return None


def braces(failure: Failure) -> Mistake | None:
    """A template as an unquoted value."""
    line = failure.line(failure.row)
    match = re.match(r" *(?:- +)*(?:[^:#'\"]+: +)?(\[?)(\{\{|\{%)", line)
    if match is None or not re.search("expected|any token", failure.problem):
        return None
    fixed = "" if match[1] else failure.requoted(failure.row)
    return Mistake(braces_message(match[2], fixed), failure.row + 1, match.start(2) + 1)


def braces_message(found: str = "{{", fixed: str = "") -> str:
    """Return the message for an unquoted value that begins with the braces of a template."""
    return (
        f'an unquoted value begins with "{found}", which YAML reads as a mapping; '
        f"quote it{fixed or _EXAMPLE}, or {BLOCK}"
    )


def open_quote(failure: Failure) -> Mistake | None:
    """A quote without a second one."""
    if "quoted scalar" not in failure.context or "end of stream" not in failure.problem:
        return None
    return _unclosed(failure, failure.first, failure.start, "")


def _unclosed(failure: Failure, row: int, column: int, until: str) -> Mistake:
    line = failure.line(row)
    mark = line[column : column + 1]
    message = (
        f"the {mark} that opens here is not closed on this line{until}; add a {mark} at its end"
    )
    fixed = line.strip() + mark
    if fixed.count(mark) == 2:
        message += failure.as_in(fixed)
    return Mistake(f"{message}, or {BLOCK}", row + 1, column + 1)


def open_bracket(failure: Failure) -> Mistake | None:
    """A bracket that is not closed, or a missing comma."""
    if "flow" not in failure.context:
        return None
    line = failure.line(failure.first)
    mark = line[failure.start : failure.start + 1]
    closing = {"[": "]", "{": "}"}.get(mark)
    if closing is None:
        return None
    comment = re.search(r"(?:^|[\s\[{,])#", line[failure.start :])
    if failure.row > failure.first and comment:
        message = "everything after the # is a comment; quote the words that begin with #"
        return Mistake(message, failure.first + 1, failure.start + comment.end())
    if failure.row == failure.first or _closed_below(failure, mark, closing):
        message = (
            f"expected a comma or {closing} before this, in the {mark} of line {failure.first + 1}"
        )
        return Mistake(message, failure.row + 1, failure.column + 1)
    message = f"the {mark} that opens here is not closed; add {closing} at its end"
    fixed = line.strip() + closing
    if not line.rstrip().endswith(",") and fixed.count(mark) == fixed.count(closing):
        message += failure.as_in(fixed)
    return Mistake(message, failure.first + 1, failure.start + 1)


def _closed_below(failure: Failure, opening: str, closing: str) -> bool:
    """Return whether the bracket is closed before the next key at the margin."""
    depth = 0
    for row in range(failure.first, len(failure.lines)):
        line = failure.line(row)[failure.start if row == failure.first else 0 :]
        if row > failure.first and re.match(r"[A-Za-z_][\w-]*:", line):
            return False
        depth += line.count(opening) - line.count(closing)
        if depth <= 0:
            return True
    return False


def first_character(failure: Failure) -> Mistake | None:
    """An unquoted value that begins with a character of the syntax."""
    row, column = failure.row, failure.column
    if failure.context in ("while scanning an alias", "while scanning an anchor"):
        row, column = failure.first, failure.start
    elif "any token" not in failure.problem:
        return None
    mark = failure.line(row)[column : column + 1]
    if not mark:
        return None
    names = {"*": ", which is an alias in YAML", "&": ", which is an anchor in YAML"}
    message = (
        f"a text cannot begin with {mark}{names.get(mark, '')}; "
        f"quote a value that begins with it{failure.requoted(row)}"
    )
    return Mistake(message, row + 1, column + 1)


def directive(failure: Failure) -> Mistake | None:
    """A line that begins with a percent sign."""
    if "directive" not in failure.context:
        return None
    message = (
        f'a line cannot begin with % ({failure.problem}); quote the text, or indent it below a "|"'
    )
    return Mistake(message, failure.first + 1, failure.start + 1)


def header(failure: Failure) -> Mistake | None:
    """Text on the line of a ``|`` or ``>``."""
    if "block scalar" not in failure.context or "line break" not in failure.problem:
        return None
    mark = failure.line(failure.first)[failure.start : failure.start + 1] or "|"
    message = (
        f"text follows the {mark} on its line; begin the text on the next line, indented by two "
        f"spaces; or quote a text that begins with {mark}{failure.requoted(failure.first)}"
    )
    return Mistake(message, failure.row + 1, failure.column + 1)


def escape(failure: Failure) -> Mistake | None:
    """A backslash within double quotes."""
    if "escape" not in failure.problem and "hexdecimal" not in failure.problem:
        return None
    hint = 'in "double quotes" write \\\\ for a backslash, or use single quotes'
    if "Unicode" in failure.problem:
        hint = "a surrogate is half a character: write the character itself"
    text = failure.problem
    row, line, column = failure.row, failure.line(failure.row), failure.column
    if "hexdecimal" in text:
        column = line.rfind("\\", 0, column)
        text = f"found {line[column : column + 2]}, which needs the digits of a character"
    match = KEY.match(line)
    if match and re.fullmatch(r'"[^"\']*"\s*', match["value"]) and "Unicode" not in failure.problem:
        value = match["value"].strip()[1:-1]
        hint += f"{failure.as_in(line[: match.start('value')].lstrip() + quoted(value))}"
    return Mistake(f"{text}; {hint}", row + 1, column + 1)


def after_value(failure: Failure) -> Mistake | None:
    """Text after a quoted value or a list: mostly a quote within a quoted text."""
    line, row = failure.line(failure.row), failure.row
    before = line[: failure.column].rstrip()
    if "expected key" not in failure.problem or not before or before[-1] not in "'\"]}":
        return None
    mark, match = before[-1], KEY.match(line) or ITEM.match(line)
    value = match["value"].rstrip() if match else ""
    column = len(before)
    if mark in "]}":
        opening = "[" if mark == "]" else "{"
        if value.startswith(opening) and value.count(opening) >= value.count(mark):
            message = f"a value that begins with {opening} ends at its {mark}; quote the whole text"
            return Mistake(message + failure.requoted(row), row + 1, column)
        return Mistake(f"found a {mark} too many; remove it", row + 1, failure.column + 1)
    if not match or not value.startswith(mark) or match.start("value") == column - 1:
        place = _opening(failure, mark)
        inside = re.match(r"\w'\w", line[column - 2 : column + 1])
        if place is not None and not inside:
            return _unclosed(failure, *place, f", but on line {row + 1}")
        return Mistake(_inner(mark) + f", or {BLOCK}", row + 1, column)
    if value.endswith(mark) and len(value) > 1:
        assert match is not None
        head = line[: match.start("value")].lstrip()
        return Mistake(
            f"{_inner(mark)}{failure.as_in(head + quoted(value[1:-1]))}", row + 1, column
        )
    if line[column:].strip() in (",", ";"):
        message = f"found {line[column:].strip()} after the value; YAML has no such ends: remove it"
        return Mistake(message, row + 1, failure.column + 1)
    message = f"text follows the {mark} that ends the value; quote the whole text"
    return Mistake(message + failure.requoted(row), row + 1, column + 1)


def _inner(mark: str) -> str:
    if mark == "'":
        return "the ' within the text ends the quoted value; write '' for it, or use double quotes"
    return 'the " within the text ends the quoted value; write \\" for it, or use single quotes'


def _opening(failure: Failure, mark: str) -> tuple[int, int] | None:
    """Return the place of the last quote above the failure that its line does not close."""
    place = None
    for row, line in structure(failure, failure.row):
        match = KEY.match(line) or ITEM.match(line)
        if match and match["value"].startswith(mark):
            rest = match["value"][1:].replace("''", "") if mark == "'" else match["value"][1:]
            if mark not in re.sub(r"\\.", "", rest):
                place = row, match.start("value")
    return place
