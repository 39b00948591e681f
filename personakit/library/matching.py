"""Names and patterns of personas, as options and settings have them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase

from personakit.base import LOADED
from personakit.errors import did_you_mean

_WILD = frozenset("*?[")


def unmatched(
    patterns: Iterable[str], names: Sequence[str], where: str, listing: str
) -> Iterator[str]:
    """Yield what is wrong with each name or pattern that matches no persona.

    Args:
        patterns: Names, and patterns such as ``code-*``.
        names: The names of the personas. Those of plugins need not be among them.
        where: The folders, as a text.
        listing: What lists the personas, as a text.
    """
    for pattern in patterns:
        if LOADED.match(pattern) or any(fnmatchcase(name, pattern) for name in names):
            continue
        what = "matches" if _WILD.intersection(pattern) else "has the name"
        hint = did_you_mean(pattern, names) or f"; {listing} lists them"
        yield f"no persona {what} {pattern[:80]!r} in {where}{hint}"
