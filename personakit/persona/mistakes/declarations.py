"""Keys and types of a variable that have the names of other formats."""

from __future__ import annotations

from typing import Any


def synonyms(**names: str) -> dict[str, str]:
    """Return the key for each of the names, which are separated by spaces."""
    return {other: key for key, others in names.items() for other in others.split()}


# JSON Schema, OpenAPI, Python, TypeScript, Promptfile.
_KEYS = synonyms(
    minimum="min minlength minitems",
    maximum="max maxlength maxitems",
    pattern="regex",
    description="desc help",
    enum="choices values options allowed one_of",
    default="value",
    example="examples",
    properties="fields",
    additional="additionalproperties",
)
_TYPES = synonyms(
    string="str text enum",
    integer="int",
    number="float double",
    boolean="bool",
    array="list tuple",
    object="dict map mapping",
)


def key_hint(key: str) -> str:
    """Return what to write for an unknown key of a variable, as ``; …``; empty if not known."""
    name = _KEYS.get(key.lower())
    return f"; write `{name}:`" if name else ""


def type_name(value: Any) -> str | None:
    """Return the type of a variable for the name that another format gives it, or None."""
    return _TYPES.get(str(value).lower())
