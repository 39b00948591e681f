"""The values of options that name columns."""

from __future__ import annotations

from collections.abc import Iterable

from personakit.errors import UsageError


def mapping(pairs: Iterable[str]) -> dict[str, str]:
    """Return the columns of variables, of pairs ``VARIABLE=COLUMN``.

    Raises:
        UsageError: One is no pair.
    """
    return dict(map(_pair, pairs))


def _pair(text: str) -> tuple[str, str]:
    variable, equals, column = text.partition("=")
    if not (variable and equals and column):
        raise UsageError(f"--map: expected VARIABLE=COLUMN, such as text=body, found {text!r}")
    return variable, column


def kept(text: str | None) -> tuple[str, ...]:
    """Return the names in a list that has commas."""
    return tuple(name.strip() for name in (text or "").split(",") if name.strip())
