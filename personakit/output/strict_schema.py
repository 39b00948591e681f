"""OpenAI's rules for a strict JSON Schema, which its models then cannot but follow.

Source: OpenAI's guide "Structured model outputs", section "Supported schemas".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_KNOWN = frozenset(
    "$defs $ref additionalProperties anyOf const definitions description enum exclusiveMaximum "
    "exclusiveMinimum format items maxItems maximum minItems minimum multipleOf pattern "
    "properties required title type".split()
)
_FORMATS = frozenset("date date-time duration email hostname ipv4 ipv6 time uuid".split())
_DEPTH = 10
_PROPERTIES = 5000
_ENUM = 1000


def qualifies(schema: Mapping[str, Any]) -> bool:
    """Tell whether a schema keeps the rules, so that it can be sent with ``strict: true``.

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
    return schema.get("type") == "object" and properties <= _PROPERTIES and enums <= _ENUM


def _sound(part: Mapping[str, Any], own: Mapping[str, Any]) -> bool:
    """Tell whether one schema within a schema keeps the rules that concern it alone."""
    kind = part.get("type")
    if "$ref" in part:
        return len(part) == 1
    if kind == "object" or (isinstance(kind, list | tuple) and "object" in kind) or own:
        required = set(part.get("required") or ())
        return part.get("additionalProperties") is False and required == own.keys()
    if kind == "array" and not isinstance(part.get("items"), Mapping):
        return False
    if part.get("format", "date") not in _FORMATS:
        return False
    return bool(part.keys() & {"type", "anyOf"})


def _parts(schema: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], int]]:
    """Yield a schema and all schemas in it, each with the number of objects and arrays around."""
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
    """Return a schema that was made from a type so that it qualifies, where that is possible.

    Every property becomes required, defaults go, and no other properties are allowed. A schema
    that does not qualify even so is returned as it was.
    """
    changed = _changed(schema, schema.get("$defs") or {}, 0)
    return changed if qualifies(changed) else schema


def rooted(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema whose root is no reference, as that of a type that holds itself is."""
    shared = schema.get("$defs") or {}
    name = str(schema.get("$ref", "")).removeprefix("#/$defs/")
    return {**shared[name], "$defs": shared} if name in shared else schema


def _changed(part: Any, shared: Mapping[str, Any], depth: int) -> Any:
    if not isinstance(part, dict):
        return part
    name = str(part.get("$ref", "")).removeprefix("#/$defs/")
    # Nothing may stand beside a reference: what it names is written out, a few levels deep.
    if len(part) > 1 and name in shared and depth < _DEPTH:
        beside = {key: value for key, value in part.items() if key != "$ref"}
        return _changed({**shared[name], **beside}, shared, depth + 1)
    made = {key: value for key, value in part.items() if key != "default"}
    if "oneOf" in made and "anyOf" not in made:
        # Of a tagged union only one can match anyway.
        made["anyOf"] = made.pop("oneOf")
        made.pop("discriminator", None)
    for key in ("properties", "$defs"):
        if key in made:
            inner = made[key].items()
            made[key] = {one: _changed(value, shared, depth + 1) for one, value in inner}
    if "items" in made:
        made["items"] = _changed(made["items"], shared, depth + 1)
    if "anyOf" in made:
        made["anyOf"] = [_changed(one, shared, depth + 1) for one in made["anyOf"]]
    if made.get("type") == "object" and "additionalProperties" not in made:
        made["additionalProperties"] = False
    if "properties" in made:
        made["required"] = list(made["properties"])
    return made
