"""The types of values, in the terms of YAML and JSON Schema, and their short forms for people."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import math
import re
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from personakit.base.secrets import MASK

MEGABYTE = 1_000_000
_FIRST = 14
_LONGEST = 200
_ROOM = 1200
"""The length of a repr, in characters: about 15 lines. The lengths of what is cut come on top."""
_TEXT = 160
_LEAST = 16
_ITEMS = 8
_DATA_URL = r"data:([\w.+/-]*)[^,]{0,80};base64,"
# The names of parameters and options whose values can be, or contain, a key.
_CREDENTIAL = (
    r"(?i)api[_-]?key|authorization|base_url|cookie|credential|extra_(?:headers|query)|passw|"
    r"secret|token\Z"
)

# The types of JSON Schema, each with its Python types.
ANY = "any"
"""The type of a variable with values of any type, null among them."""
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
    if name == ANY:
        return True
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
        # `loads` makes a decoder for each text; it explains a byte order mark.
        return json.loads(text) if text[:1] == "\ufeff" else _decoder().decode(text)
    except RecursionError:
        raise ValueError("nested too deep") from None


@functools.cache
def _decoder() -> json.JSONDecoder:
    return json.JSONDecoder(parse_constant=_no_constant, parse_float=_number)


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


def counted(count: int, noun: str) -> str:
    """Return a number with its noun, which gets an s unless the number is 1."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def size(count: int) -> str:
    """Return a number of bytes, formatted for people."""
    if count < 1000:
        return f"{count} bytes"
    return f"{count / 1000:.1f} kB" if count < MEGABYTE else f"{count / MEGABYTE:.1f} MB"


def brief_repr(self: Any) -> str:
    """Return the repr of a value of the package, which fits on a screen; used as `__repr__`.

    It has about 1,200 characters at most and takes no longer for a larger value. Long texts and
    lists are cut, with their length. Fields that have their default are left out, and so are
    credentials. A class that is no dataclass, or that has fields of another form, lists them as
    pairs in a method `_shown`.
    """
    return _record(self, _ROOM)


def _record(value: Any, room: int) -> str:
    """Return the repr of an object with fields."""
    name = type(value).__name__
    fields: Callable[[], Iterable[tuple[str, Any]]] | None = getattr(value, "_shown", None)
    parts, left = [], room - len(name) - 2
    for key, item in _fields(value) if fields is None else fields():
        if left < _LEAST:
            parts.append("…")
            break
        part = f"{key}={_brief(item, (left - len(key)) * 2 // 3)}"
        parts.append(part)
        left -= len(part) + 2
    return f"{name}({', '.join(parts)})"


def _fields(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the fields of a dataclass that differ from their default."""
    for field in dataclasses.fields(value):
        if not field.repr or field.name.startswith("_"):
            continue
        item, default = getattr(value, field.name), field.default
        if default is dataclasses.MISSING and field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        if item is default or (type(item) is type(default) and item == default):
            continue
        yield field.name, item


def _brief(value: Any, room: int) -> str:
    """Return the repr of a value in about `room` characters, without making a longer one first."""
    kind: Any = type(value)
    if isinstance(value, str):
        return _text(value, room)
    if isinstance(value, bytes | bytearray) and len(value) > _LEAST:
        return f"<{size(len(value))}>"
    if (brackets := _BRACKETS.get(kind.__repr__)) is not None:
        return _items(value, brackets, room)
    is_plain = dataclasses.is_dataclass(value) and hasattr(kind.__repr__, "__wrapped__")
    if is_plain or kind.__repr__ is brief_repr:
        return _record(value, room) if room > _LEAST else f"{kind.__name__}(…)"
    try:
        shown = repr(value)
    except Exception:
        # An integer of thousands of digits has no repr, and an object may raise anything.
        return f"<{kind.__name__}>"
    most = max(room, 2 * _LEAST)
    return shown if len(shown) <= most else f"{shown[:most]}…"


# By the repr of the type: a subclass with one of its own may have a reason to hide its items.
_BRACKETS: dict[Any, str] = {
    dict.__repr__: "{}",
    list.__repr__: "[]",
    tuple.__repr__: "()",
    set.__repr__: "{}",
    frozenset.__repr__: "{}",
}


def _items(value: Any, brackets: str, room: int) -> str:
    """Return the repr of the first items of a mapping, a list, a tuple or a set."""
    parts: list[str] = []
    left, is_mapping = room - 2, isinstance(value, dict)
    for item in value.items() if is_mapping else value:
        if left < _LEAST or len(parts) == _ITEMS:
            parts.append(f"… {len(value) - len(parts):,} more" if parts else "…")
            break
        part = _pair(item, left) if is_mapping else _brief(item, left * 2 // 3)
        parts.append(part)
        left -= len(part) + 2
    comma = "," if brackets == "()" and len(parts) == len(value) == 1 else ""
    return f"{brackets[0]}{', '.join(parts)}{comma}{brackets[1]}"


def _pair(pair: tuple[Any, Any], room: int) -> str:
    key, item = pair
    is_long = isinstance(item, str | dict | list | tuple)
    if is_long and isinstance(key, str) and re.search(_CREDENTIAL, key[:_LONGEST]):
        item = MASK
    return f"{_brief(key, room // 4)}: {_brief(item, room * 2 // 3)}"


def _text(text: str, room: int) -> str:
    """Return the repr of a text, or of its beginning with its length."""
    most = max(min(room, _TEXT), _LEAST)
    if len(text) > most and (data := re.match(_DATA_URL, text)):
        return f"<{data[1]}, {size((len(text) - data.end()) * 3 // 4)}>"
    kept = text[:most]
    # A control character takes up to ten characters in a repr.
    while len(shown := repr(kept)) > 2 * most:
        kept = kept[: len(kept) * 2 // 3]
    if len(kept) == len(text):
        return shown
    return f"{shown[:-1]}…{shown[-1]} ({len(text):,} characters)"


@dataclasses.dataclass(frozen=True, slots=True)
class Written:
    """Says in an annotation how pydantic writes the instances of a class: as a JSON object.

    Attributes:
        names: The attributes to write.
        parsed: The type of the attribute `parsed`, if there is one.
    """

    names: tuple[str, ...]
    parsed: Any

    def __get_pydantic_core_schema__(self, kind: Any, handler: Any) -> Any:
        from pydantic_core import core_schema  # noqa: PLC0415

        hints = typing.get_type_hints(kind)
        hints["parsed"] = typing.Optional[self.parsed]  # noqa: UP045 - of any form of a type
        fields = {
            name: core_schema.typed_dict_field(handler.generate_schema(hints[name]))
            for name in self.names
        }
        return core_schema.is_instance_schema(
            kind,
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda value: {name: getattr(value, name) for name in self.names},
                return_schema=core_schema.typed_dict_schema(fields),
            ),
        )
