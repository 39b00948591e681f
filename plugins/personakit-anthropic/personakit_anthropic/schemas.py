"""The schema of an answer in the subset of JSON Schema that the API accepts.

The subset: https://platform.claude.com/docs/en/build-with-claude/structured-outputs
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

_SAME = frozenset("$ref const description enum required title type".split())
_VALUES: dict[str, Any] = {
    "format": "date date-time duration email hostname ipv4 ipv6 time uri uuid".split(),
    "minItems": (0, 1),
}
_TYPED = frozenset("$ref allOf anyOf const enum oneOf type".split())


def accepted(schema: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return a schema as the API accepts it; None for one that it cannot express.

    It cannot express objects with free keys and values of any type. Limits of numbers and
    lengths become part of the description: personakit checks them in the answer.
    """
    try:
        return _said(schema)
    except (AttributeError, ValueError):
        return None


def _said(schema: Mapping[str, Any]) -> dict[str, Any]:
    said: dict[str, Any] = {}
    rest: dict[str, Any] = {}
    for key, value in schema.items():
        if key in ("properties", "$defs"):
            said[key] = {name: _said(part) for name, part in value.items()}
        elif key in ("anyOf", "oneOf", "allOf"):
            said[key.replace("one", "any")] = [_said(part) for part in value]
        elif key == "items":
            said[key] = _said(value)
        else:
            (said if key in _SAME or value in _VALUES.get(key, ()) else rest)[key] = value
    more = rest.pop("additionalProperties", not schema.get("properties"))
    if "object" in schema.get("type", ()):
        said["additionalProperties"] = False
    if not schema.keys() & _TYPED or (
        said.get("additionalProperties") is False and more is not False
    ):
        raise ValueError("free keys, or a value of any type")
    if rest:
        said["description"] = f"{said.get('description', '')} {json.dumps(rest)}".lstrip()
    return said
