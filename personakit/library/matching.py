"""Names and patterns of personas, as options and settings have them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase

from personakit.base import LOADED
from personakit.errors import did_you_mean

_WILD = frozenset("*?[")


def unmatched(
    patterns: Iterable[str],
    among: Sequence[str],
    names: Sequence[str],
    where: str,
    listing: str,
) -> Iterator[str]:
    """Yield what is wrong with each name or pattern that matches no persona.

    Args:
        patterns: Names, and patterns such as ``code-*``.
        among: Names and patterns of the personas that are offered.
        names: The names of the personas. Those of plugins need not be among them.
        where: The folders, as a text.
        listing: What lists the personas, as a text.
    """
    for pattern in patterns:
        if LOADED.match(pattern):
            continue
        found = [name for name in names if fnmatchcase(name, pattern)]
        if any(fnmatchcase(name, each) for name in found for each in among):
            continue
        if found:
            yield f"{pattern[:80]!r} is not among the personas that are offered: {', '.join(among)}"
            continue
        what = "matches" if _WILD.intersection(pattern) else "has the name"
        hint = did_you_mean(pattern, names) or f"; {listing} lists them"
        yield f"no persona {what} {pattern[:80]!r} in {where}{hint}"
