"""Stretches of a text that count no longer."""

from collections.abc import Iterable


def without(text: str, stretches: Iterable[tuple[int, int]]) -> str:
    """Return `text`, as long as before, with line ends in the place of `stretches`."""
    pieces, at = [], 0
    for start, end in sorted(stretches):
        pieces += [text[at:start], "\n" * (end - max(start, at))]
        at = max(end, at)
    return "".join([*pieces, text[at:]])
