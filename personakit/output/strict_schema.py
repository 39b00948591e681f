"""OpenAI's rules for a strict JSON Schema, which guarantees that the model follows it.

Source: OpenAI's guide "Structured model outputs", section "Supported schemas".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

_KNOWN = frozenset(
    "$defs $ref additionalProperties anyOf const definitions description enum exclusiveMaximum "
    "exclusiveMinimum format items maxItems maximum minItems minimum multipleOf pattern "
    "properties required title type".split()
)
# Strict mode compiles patterns with an engine for regular languages: it rejects look-around, which
# pydantic 2.12 writes for every Decimal, and references to groups.
_IRREGULAR = re.compile(r"\(\?<?[=!]|\(\?P=|\(\?>|\(\?\(|\\[1-9k]")
_LITERAL = re.compile(r"\\[^1-9k]|\[(?:\\.|[^\]\\])+\]", re.DOTALL)
_FORMATS = frozenset("date date-time duration email hostname ipv4 ipv6 time uuid".split())
_DEPTH = 10
_PROPERTIES = 5000
_ENUM = 1000


def qualifies(schema: Mapping[str, Any]) -> bool:
    """Return whether a schema follows the rules and can be sent with ``strict: true``.

    The root is an object; every object lists all its properties as required and allows no
    others; only known keywords are used; at most 5,000 properties, 1,000 values of an enum and 10
    levels.
    """
    properties = enums = 0
    for part, depth in _parts(schema):
        own = part.get("properties") or {}
        properties += len(own)
        enums += len(part.get("enum") or ())
        if depth > _DEPTH or not (part.keys() <= _KNOWN and _sound(part, own)):
            return False
    is_object = schema.get("type") == "object" and "anyOf" not in schema
    return is_object and properties <= _PROPERTIES and enums <= _ENUM


def _sound(part: Mapping[str, Any], own: Mapping[str, Any]) -> bool:
    """Return whether one subschema follows the rules, its own subschemas aside."""
    kind = part.get("type")
    if "$ref" in part:
        return len(part) == 1
    if not _is_regular(part.get("pattern")) or not (part.get("enum", 1) and part.get("anyOf", 1)):
        return False
    if kind == "object" or (isinstance(kind, list | tuple) and "object" in kind) or own:
        required = set(part.get("required") or ())
        return part.get("additionalProperties") is False and required == own.keys()
    kinds = kind if isinstance(kind, list | tuple) else [kind]
    if "array" in kinds and not isinstance(part.get("items"), Mapping):
        return False
    if part.get("format", "date") not in _FORMATS:
        return False
    return bool(part.keys() & {"type", "anyOf"})


def _is_regular(pattern: Any) -> bool:
    """Return whether a pattern is missing, or has neither look-around nor references."""
    return pattern is None or not _IRREGULAR.search(_LITERAL.sub("_", str(pattern)))


def _parts(schema: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], int]]:
    """Yield a schema and all its subschemas, each with its nesting depth in objects and arrays."""
    waiting: list[tuple[Any, int]] = [(schema, 1)]
    while waiting:
        part, depth = waiting.pop()
        if not isinstance(part, Mapping):
            continue
        yield part, depth
        for name in ("properties", "$defs", "definitions"):
            inner = part.get(name)
            deeper = depth + (name == "properties")
            waiting += [(one, deeper) for one in (inner or {}).values()] if inner else []
        waiting += [(one, depth) for one in part.get("anyOf") or ()]
        waiting.append((part.get("items"), depth + 1))


def strictened(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a type, changed to follow the strict rules if possible.

    Every property becomes required, defaults are removed, and no other properties are allowed. A
    schema that then still does not qualify is returned unchanged.
    """
    changed = _changed(schema, schema.get("$defs") or {}, 0)
    return changed if qualifies(changed) else schema


def rooted(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema with its root reference resolved; the schema of a recursive type has one."""
    shared = schema.get("$defs") or {}
    name = str(schema.get("$ref", "")).removeprefix("#/$defs/")
    return {**shared[name], "$defs": shared} if name in shared else schema


def _changed(part: Any, shared: Mapping[str, Any], depth: int) -> Any:
    if not isinstance(part, dict):
        return part
    name = str(part.get("$ref", "")).removeprefix("#/$defs/")
    # The rules allow no keyword beside `$ref`, so its target is inlined, at most `_DEPTH` levels.
    if len(part) > 1 and name in shared and depth < _DEPTH:
        beside = {key: value for key, value in part.items() if key != "$ref"}
        return _changed({**shared[name], **beside}, shared, depth + 1)
    result = {key: value for key, value in part.items() if key != "default"}
    if "oneOf" in result and "anyOf" not in result:
        # In a tagged union, only one branch can match anyway.
        result["anyOf"] = result.pop("oneOf")
        result.pop("discriminator", None)
    for key in ("properties", "$defs"):
        if key in result:
            inner = result[key].items()
            result[key] = {one: _changed(value, shared, depth + 1) for one, value in inner}
    if "items" in result:
        result["items"] = _changed(result["items"], shared, depth + 1)
    if "anyOf" in result:
        result["anyOf"] = [_changed(one, shared, depth + 1) for one in result["anyOf"]]
    if result.get("type") == "object" and "additionalProperties" not in result:
        result["additionalProperties"] = False
    if "properties" in result:
        result["required"] = list(result["properties"])
    return result
