"""What a value is, in the words of YAML and JSON Schema."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from personakit.frozen import thaw

# The types of JSON Schema, each with the Python types that stand for it.
TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list, tuple),
    "object": (dict, Mapping),
}


def is_type(value: Any, name: str) -> bool:
    """Tell whether a value is of a type; a boolean is no number, NaN and infinity are none."""
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
    """Return the value of a key; of a key without a value the default."""
    value = data.get(key)
    return default if value is None else value


def article(type_name: str) -> str:
    """Return ``an integer``, ``a string``."""
    return f"{'an' if type_name[0] in 'aeiou' else 'a'} {type_name}"


def describe(value: Any) -> str:
    """Return what a value is, short enough for an error message."""
    if value is None:
        return "nothing (null)"
    name = infer_type(value)
    shown = brief(repr(thaw(value)), 40)
    names = {"array": "a list", "object": "a mapping"}
    kind = names.get(name, article(name)) if name else type(value).__name__
    return f"{kind} {shown}"


def brief(text: str, most: int = 200) -> str:
    """Return a text, or its beginning when it is long."""
    return text if len(text) <= most else f"{text[: most - 3]}…"
