"""Reading the bytes of a source as text."""

from __future__ import annotations

import re

from personakit.formats.draft import Draft
from personakit.formats.note import Unreadable

_BOM = "\ufeff"


def decoded(data: bytes, draft: Draft, *, first_line: int = 1) -> str:
    """Return the text of a source in UTF-8, with LF at the ends of lines.

    Args:
        data: The bytes.
        draft: Gets the notes about a byte order mark and line ends.
        first_line: The number of its first line.

    Raises:
        Unreadable: It is not UTF-8, or has a NUL character.
    """
    text = utf8(data, first_line)
    if text.startswith(_BOM):
        draft.note("bom", "the byte order mark at the start was left out", line=first_line)
        text = text[1:]
    return lines_of(text, draft)


def utf8(data: bytes, first_line: int = 1) -> str:
    """Return the text of bytes in UTF-8.

    Raises:
        Unreadable: They are not, or there is a NUL character.
    """
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = first_line + data.count(b"\n", 0, error.start)
        raise Unreadable(
            f"byte {error.start + 1:,} is 0x{data[error.start]:02x}, which is not UTF-8; save the "
            f"file in the encoding utf-8",
            line,
        ) from None
    if "\0" in text:
        place = text.index("\0")
        raise Unreadable(
            f"character {place + 1:,} is NUL, which a text cannot contain; remove it",
            first_line + text.count("\n", 0, place),
        )
    return text


def lines_of(text: str, draft: Draft, field: str = "") -> str:
    """Return a text with LF at the ends of its lines."""
    if "\r" not in text:
        return text
    where = f" of {field}" if field else ""
    draft.note("line-endings", f"CR and CRLF{where} became LF, as in any template", field=field)
    return re.sub(r"\r\n?", "\n", text)


def body(text: str, draft: Draft) -> str:
    """Return the text after a frontmatter: without empty lines before it, and with one LF at most.

    Raises:
        Unreadable: There is nothing but white space.
    """
    if not text.strip():
        raise Unreadable("the text is empty: there is nothing after the frontmatter")
    start = re.match(r"(?:[ \t]*\n)*", text)
    kept = text[start.end() :] if start else text
    ending = len(kept) - len(kept.rstrip("\n"))
    if ending > 1:
        kept = kept.rstrip("\n") + "\n"
    before = start[0].count("\n") if start else 0
    if ending > 1 or before > 1:
        draft.note("edges", "empty lines at the start or the end of the text were left out")
    return kept
