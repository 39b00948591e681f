"""The subset of JSON Schema that an API accepts for a structured answer."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

_TYPED = frozenset("$ref allOf anyOf const enum oneOf type".split())


@dataclass(frozen=True, slots=True)
class SchemaSubset:
    """The subset of JSON Schema that an API accepts for a structured answer.

    It has `properties`, `$defs`, `items`, `anyOf` and `allOf`, and neither objects with free keys
    nor values of any type.

    Attributes:
        keywords: The other keywords that it has with any value.
        values: The keywords of which it has some values.
    """

    keywords: Collection[str] = tuple("$ref const description enum required title type".split())
    values: Mapping[str, Collection[Any]] = field(default_factory=dict)

    def reduced(self, schema: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return a schema without what the subset does not have; None if it cannot express it.

        What is left out, such as limits of numbers and lengths, becomes part of the description
        for the model. An answer is checked against the whole schema anyway.
        """
        try:
            return self._part(schema)
        except (AttributeError, RecursionError, TypeError, ValueError):
            return None

    def _part(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        part: dict[str, Any] = {}
        rest: dict[str, Any] = {}
        for key, value in schema.items():
            if key in ("properties", "$defs"):
                part[key] = {name: self._part(inner) for name, inner in value.items()}
            elif key in ("anyOf", "oneOf", "allOf"):
                part[key.replace("one", "any")] = [self._part(inner) for inner in value]
            elif key == "items":
                part[key] = self._part(value)
            elif key in self.keywords or value in self.values.get(key, ()):
                part[key] = value
            else:
                rest[key] = value
        more = rest.pop("additionalProperties", not schema.get("properties"))
        if "object" in schema.get("type", ()):
            part["additionalProperties"] = False
        is_closed = part.get("additionalProperties") is False
        if not schema.keys() & _TYPED or (is_closed and more is not False):
            raise ValueError("free keys, or a value of any type")
        if rest:
            part["description"] = f"{part.get('description', '')} {json.dumps(rest)}".lstrip()
        return part
