"""Merge the deltas of fields that this package does not read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def merged(old: Any, new: Any) -> Any:
    """Return a value of a stream after another delta of it.

    Objects are merged, and lists extended; entries of lists with the same index and type are one
    entry, whose texts are continued.
    """
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        result = dict(old)
        for key, value in new.items():
            result[key] = merged(old.get(key), value)
        return result
    if isinstance(old, list) and isinstance(new, list):
        entries = list(old)
        for entry in new:
            continued = _next(entries[-1], entry) if entries else None
            entries[-1:] = [*entries[-1:], entry] if continued is None else [continued]
        return entries
    return old if new is None or new == "" else new


def _next(last: Any, entry: Any) -> dict[str, Any] | None:
    """Return the last entry continued by another piece; None if the piece begins an entry."""
    if not isinstance(last, dict) or not isinstance(entry, dict):
        return None
    if any(last.get(key) != entry.get(key) for key in ("index", "type")):
        return None
    # Without an index, a signature ends an entry.
    if entry.get("index") is None and (last.get("signature") or not last.get("type")):
        return None
    return {key: _continued(key, last.get(key), entry.get(key)) for key in {**last, **entry}}


def _continued(key: str, old: Any, new: Any) -> Any:
    if (
        key in ("text", "summary", "data", "thinking")
        and isinstance(old, str)
        and isinstance(new, str)
    ):
        return old + new
    return old if new is None or new == "" else new
