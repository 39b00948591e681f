"""The types of values, in the terms of YAML and JSON Schema."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping
from typing import Any

_FIRST = 14
_LONGEST = 200

# The types of JSON Schema, each with its Python types.
TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list, tuple),
    "object": (dict, Mapping),
}


def is_type(value: Any, name: str) -> bool:
    """Return whether a value is of a type; booleans, NaN and infinity are not numbers."""
    if isinstance(value, bool):
        return name == "boolean"
    if isinstance(value, float) and not math.isfinite(value):
        return False
    return isinstance(value, TYPES[name])


def infer_type(value: Any) -> str | None:
    """Return the type of a value; None for null."""
    for name in ("boolean", "integer", "number", "string", "array", "object"):
        if is_type(value, name):
            return name
    return None


def given(data: Mapping[str, Any], key: str, default: Any) -> Any:
    """Return the value of a key; the default if it is missing or null."""
    value = data.get(key)
    return default if value is None else value


def article(type_name: str) -> str:
    """Return a type name with its article: ``an integer``, ``a string``."""
    return f"{'an' if type_name[0] in 'aeiou' else 'a'} {type_name}"


def describe(value: Any) -> str:
    """Return the type and a short repr of a value, for error messages."""
    if value is None:
        return "nothing (null)"
    name = infer_type(value)
    names = {"array": "a list", "object": "a mapping"}
    kind = names.get(name, article(name)) if name else type(value).__name__
    return f"{kind} {brief(shown(value), 40)}"


def shown(value: Any, levels: int = 3) -> str:
    """Return the beginning of the repr of a value, however large or deep it is.

    Mappings and lists of any type are shown as those of JSON.
    """
    try:
        if isinstance(value, Mapping):
            if not levels:
                return "{…}"
            pairs = itertools.islice(value.items(), _FIRST)
            return f"{{{', '.join(f'{key!r}: {shown(item, levels - 1)}' for key, item in pairs)}}}"
        if isinstance(value, list | tuple):
            if not levels:
                return "[…]"
            return f"[{', '.join([shown(item, levels - 1) for item in value[:_FIRST]])}]"
        return repr(value[:_LONGEST] if isinstance(value, str) else value)
    except Exception:
        # An integer of thousands of digits has no repr, and an object may raise anything.
        return f"<{type(value).__name__}>"


def brief(text: str, most: int = 200) -> str:
    """Return a text, truncated to `most` characters."""
    return text if len(text) <= most else f"{text[: most - 3]}…"


def read_json(text: str) -> Any:
    """Parse a JSON text; for a duplicate key, the last value counts.

    Raises:
        ValueError: The text is not valid JSON (which has no NaN or Infinity), or it is nested too
            deep.
    """
    try:
        return json.loads(text, parse_constant=_no_constant, parse_float=_number)
    except RecursionError:
        raise ValueError("nested too deep") from None


def read_arguments(text: str) -> dict[str, Any]:
    """Parse the arguments of a tool call; ``{"arguments": text}`` for a text that is no object."""
    try:
        value = read_json(text if text.strip() else "{}")
    except ValueError:
        value = None
    return value if isinstance(value, dict) else {"arguments": text}


def _number(text: str) -> float:
    """Parse a number; reject one that is too large for a float, which would become infinity."""
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError(f"the number {text[:40]} is too large")
    return number


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
