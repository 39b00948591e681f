"""Plain data as YAML, with exact texts."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from personakit.authoring import writer
from personakit.persona import yaml

_DEEPEST = 24
_WIDTH = 88


def dumped(value: Mapping[str, Any], column: int = 0) -> str:
    """Return a mapping as YAML in block style, whose texts are exact.

    Args:
        value: Plain data.
        column: The column of the keys, from 0.
    """
    return "".join(
        " " * column + f"{writer.word(str(key))}:{_value(one, column)}"
        for key, one in value.items()
    )


def _value(value: Any, column: int) -> str:
    """Return what follows ``key:``, with the line feed at its end."""
    if isinstance(value, str):
        return " " + writer.text(value, column)
    if isinstance(value, Mapping):
        return "\n" + dumped(value, column + 2) if value else " {}\n"
    if isinstance(value, list | tuple):
        if not value:
            return " []\n"
        inline = _inline(value)
        if inline is not None and column + len(inline) < _WIDTH:
            return f" {inline}\n"
        return "\n" + "".join(_item(one, column + 2) for one in value)
    return f" {_atom(value)}\n"


def _item(value: Any, column: int) -> str:
    """Return an item of a list in block style."""
    margin = " " * column + "- "
    if isinstance(value, Mapping) and value:
        return margin + dumped(value, column + 2)[column + 2 :]
    if isinstance(value, list | tuple) and value:
        inline = _inline(value)
        if inline is not None:
            return f"{margin}{inline}\n"
        return margin + "".join(_item(one, column + 2) for one in value)[column + 2 :]
    return f"{margin.rstrip()}{_value(value, column)}"


def _inline(value: list[Any] | tuple[Any, ...]) -> str | None:
    """Return a list of atoms on one line; None if an item is none, or a long text."""
    if not all(isinstance(one, str | int | float | None) for one in value):
        return None
    if any(isinstance(one, str) and ("\n" in one or len(one) > _WIDTH) for one in value):
        return None
    return "[" + ", ".join(writer.word(o) if isinstance(o, str) else _atom(o) for o in value) + "]"


def _atom(value: Any) -> str:
    return json.dumps(value)


def plain(value: Any, depth: int = 0) -> Any:
    """Return data of another tool as a persona file can hold it.

    Numbers that are not finite or too large, and what is nested too deep, become texts.
    """
    if depth > _DEEPEST:
        return json.dumps(value, ensure_ascii=False, default=str)
    if isinstance(value, Mapping):
        return {str(key): plain(one, depth + 1) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one, depth + 1) for one in value]
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, int):
        return value if abs(value) <= yaml.MAX_INTEGER else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return str(value)
