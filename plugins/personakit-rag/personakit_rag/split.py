"""Split a text into passages: at paragraphs if possible, else at lines, sentences or words.

Passages overlap, so that a search also finds text at a border.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator
from typing import NamedTuple

_BORDERS = [re.compile(p) for p in (r"\n\s*\n", r"\n", r"[.!?]\s+|[\u3002\uff01\uff1f]", r"\s+")]
_OVERLAP = 5  # at most a fifth of the size

Stretch = tuple[int, int]


class Passage(NamedTuple):
    """A passage of a file; `first` and `last` are its line numbers, from 1."""

    first: int
    last: int
    text: str


def split(text: str, size: int) -> Iterator[Passage]:
    """Yield the passages of `text`, each of at most `size` characters."""
    starts = [0, *(match.end() for match in re.finditer("\n", text))]
    for start, end in _packed(list(_units(text, (0, len(text)), size)), size):
        cut = text[start:end].strip()
        if cut:
            begin = text.index(cut, start)
            last = begin + len(cut) - 1
            yield Passage(bisect_right(starts, begin), bisect_right(starts, last), cut)


def _units(text: str, stretch: Stretch, size: int, level: int = 0) -> Iterator[Stretch]:
    """Yield the units that are not split further; at the first level these are paragraphs."""
    start, end = stretch
    if level and end - start <= size:
        yield stretch
        return
    if level == len(_BORDERS):
        yield from ((at, min(at + size, end)) for at in range(start, end, size))
        return
    for border in _BORDERS[level].finditer(text, start, end):
        yield from _units(text, (start, border.end()), size, level + 1)
        start = border.end()
    if start < end:
        yield from _units(text, (start, end), size, level + 1)


def _packed(units: list[Stretch], size: int) -> Iterator[Stretch]:
    """Yield runs of units that fit into `size`; each run overlaps the previous one."""
    first = 0
    for n, (start, end) in enumerate(units):
        if end - units[first][0] <= size:
            continue
        yield units[first][0], units[n - 1][1]
        before, first = first, n
        while first - 1 > before and _fits(units[first - 1][0], start, end, size):
            first -= 1
    if units:
        yield units[first][0], units[-1][1]


def _fits(back: int, start: int, end: int, size: int) -> bool:
    return start - back <= size // _OVERLAP and end - back <= size
