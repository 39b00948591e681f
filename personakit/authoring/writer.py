"""Write text as YAML that parses to the same text, in the most readable form.

A text of several lines becomes a block scalar if that is exact, else a double-quoted scalar: a
parser treats CR, U+0085, U+2028 and U+2029 as line ends, and rejects most control characters. Any
text that UTF-8 can encode can be written.
"""

from __future__ import annotations

import re

from personakit.errors import UsageError

# Texts that a block scalar can contain unescaped; libyaml reads YAML 1.1.
_BLOCK = re.compile(
    r"[\t\n\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]*\Z"
)
_PLAIN = re.compile(r"[^\W\d_](?:[\w ,.;!?()'\u2019/-]*[\w.;!?()'\u2019/-])?\Z")
# Words that YAML 1.1 or 1.2 does not read as text.
_TAKEN = "null true false yes no on off y n".split()
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\0": "\\0", "\t": "\\t", "\n": "\\n", "\r": "\\r"}
_ESCAPES |= {"\x1b": "\\e", "\x85": "\\N", "\xa0": "\\_", "\u2028": "\\L", "\u2029": "\\P"}
_WIDTH = 88


def word(value: str) -> str:
    """Return a text as a value on one line, valid also within ``[a, b]`` and ``{a: b}``.

    Raises:
        UsageError: YAML cannot represent the text.
    """
    _check(value)
    plain = _PLAIN.match(value) and value.lower() not in _TAKEN and "," not in value
    return value if plain else _quoted(value)


def sentence(value: str) -> str:
    """Return a text as a value on one line of its own, such as a description.

    Raises:
        UsageError: YAML cannot represent the text.
    """
    _check(value)
    plain = _PLAIN.match(value) and value.lower() not in _TAKEN
    return value if plain else _quoted(value)


def text(value: str, column: int = 0) -> str:
    r"""Return a text of any length as the YAML after ``key: ``, up to the end of its last line.

    Args:
        value: The text.
        column: The column of the key, counted from 0.

    Raises:
        UsageError: YAML cannot represent the text.
    """
    _check(value)
    margin = " " * (column + 2)
    if not value.strip() or not _BLOCK.match(value):
        return _folded(value, margin)
    if "\n" not in value and len(value) < _WIDTH:
        return sentence(value) + "\n"
    body = value.rstrip("\n")
    ending = len(value) - len(body)
    lines = [margin + line if line else "" for line in value.split("\n")]
    # Without the digit, white space at the start of the text would count as indentation.
    digit = "2" if value.lstrip("\n")[0] in " \t" else ""
    sign = ("-", "")[ending] if ending < 2 else "+"
    return f"|{digit}{sign}\n" + "\n".join(lines) + ("" if ending else "\n")


def _check(value: str) -> None:
    match = _SURROGATE.search(value)
    if match:
        raise UsageError(
            f"character {match.start() + 1} is half a surrogate pair (U+{ord(match[0]):04X}), "
            f"which a YAML file cannot contain; remove it"
        )


def _folded(value: str, margin: str) -> str:
    """Return a double-quoted scalar with a line for each line of the text."""
    lines = [line for line in re.split(r"(?<=\n)", value) if line]
    if len(lines) < 2:
        return _quoted(value) + "\n"
    return '"\\\n' + "\\\n".join(margin + _inner(line) for line in lines) + '"\n'


def _quoted(value: str) -> str:
    return '"' + "".join(map(_escape, value)) + '"'


def _inner(line: str) -> str:
    """Return a line of a folded scalar; a space at its start is escaped, or it would be lost."""
    escaped = "".join(map(_escape, line))
    return "\\" + escaped if escaped.startswith(" ") else escaped


def _escape(character: str) -> str:
    escape = _ESCAPES.get(character)
    if escape or character == " " or (character.isprintable() and character < "\ufffe"):
        return escape or character
    code = ord(character)
    if code > 0xFFFF and character.isprintable():
        return character
    return (
        f"\\x{code:02x}"
        if code < 0x100
        else f"\\u{code:04x}"
        if code < 0x10000
        else f"\\U{code:08x}"
    )
