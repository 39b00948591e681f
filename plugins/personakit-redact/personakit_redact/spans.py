"""Blank out parts of a text."""

from collections.abc import Iterable


def without(text: str, stretches: Iterable[tuple[int, int]]) -> str:
    """Return `text` with the characters of `stretches` replaced by line feeds."""
    pieces, at = [], 0
    for start, end in sorted(stretches):
        pieces += [text[at:start], "\n" * (end - max(start, at))]
        at = max(end, at)
    return "".join([*pieces, text[at:]])
