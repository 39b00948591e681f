"""Picoschema (https://google.github.io/dotprompt/reference/picoschema/) as JSON Schema."""

from __future__ import annotations

import re
from typing import Any

from personakit.formats.note import Unreadable

_KEY = re.compile(
    r"(?P<name>[^?(\s]+)(?P<optional>\??)(?:\((?P<kind>[^,)]*)(?:,(?P<about>[^)]*))?\))?\Z"
)
_TYPES = ("string", "number", "integer", "boolean", "null", "any", "object", "array")
_DEEPEST = 20


def schema_of(value: Any, depth: int = 0) -> dict[str, Any]:
    """Return the JSON Schema of a Picoschema, or of what is one already.

    Raises:
        Unreadable: It is neither.
    """
    if depth > _DEEPEST:
        raise Unreadable("a schema is nested too deep")
    if isinstance(value, str):
        kind, comma, about = value.partition(",")
        kind = kind.strip()
        if kind.endswith("[]"):
            # Dotprompt has no such spelling; its own examples do.
            schema: dict[str, Any] = {"type": "array", "items": schema_of(kind[:-2], depth + 1)}
            return {**schema, "description": about.strip()} if comma else schema
        if kind not in _TYPES:
            raise Unreadable(
                f"unknown type {kind!r:.40} in a schema; use one of {', '.join(_TYPES)}"
            )
        schema = {} if kind == "any" else {"type": kind}
        return {**schema, "description": about.strip()} if comma else schema
    if not isinstance(value, dict):
        raise Unreadable(f"{value!r:.40} is no schema")
    if value.get("type") in _TYPES or "$ref" in value or "anyOf" in value or "enum" in value:
        return value
    return _object(value, depth)


def _object(value: dict[str, Any], depth: int) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    required = []
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    additional: Any = False
    for key, one in value.items():
        match = _KEY.match(str(key))
        if match is None:
            raise Unreadable(f"{key!r:.40} is no name in a schema")
        if match["name"] == "":
            continue
        if str(key).startswith("(*)") or match["name"] == "*":
            additional = schema_of(one, depth + 1)
            continue
        kind, about = (match["kind"] or "").strip(), (match["about"] or "").strip()
        part = _part(kind, one, depth)
        if about:
            part = {**part, "description": about}
        properties[match["name"]] = part
        if not match["optional"]:
            required.append(match["name"])
    schema["additionalProperties"] = additional
    return {**schema, "required": required} if required else schema


def _part(kind: str, one: Any, depth: int) -> dict[str, Any]:
    if kind == "":
        return schema_of(one, depth + 1)
    if kind == "array":
        return {"type": "array", "items": schema_of(one, depth + 1)}
    if kind == "object":
        return schema_of(one, depth + 1)
    if kind == "enum":
        if not isinstance(one, list):
            raise Unreadable(f"an enum is a list, found {one!r:.40}")
        return {"enum": [value for value in one if value is not None]}
    raise Unreadable(f"unknown kind {kind!r:.40} in a schema; use array, object or enum")


def variables_of(schema: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the declarations of variables for the properties of a JSON Schema."""
    required = schema.get("required") or []
    found = {}
    properties = schema.get("properties")
    for name, declared in (properties if isinstance(properties, dict) else {}).items():
        one = declared if isinstance(declared, dict) else {}
        kind = one.get("type")
        types = [each for each in kind if each != "null"] if isinstance(kind, list) else [kind]
        nullable = isinstance(kind, list) and "null" in kind
        type_ = types[0] if len(types) == 1 and types[0] in _TYPES[:4] + _TYPES[6:] else None
        values = one.get("enum")
        if type_ is None and isinstance(values, list) and all(isinstance(v, str) for v in values):
            type_ = "string"
        found[str(name)] = {
            "type": (type_ or "any") if type_ != "string" else None,
            "enum": values if isinstance(values, list) and values and not nullable else None,
            "description": one.get("description") or None,
            "default": one.get("default"),
            "required": None if name in required and not nullable else False,
        }
    return found
