"""What the answers of a batch depend on: the first line of its journal."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Head:
    """What the answers of a batch depend on.

    Attributes:
        persona: The persona's name.
        hash: ``sha256:…`` of everything in it that can change a request.
        model: ``provider/model``.
        parameters: The parameters of the request.
        plugins: The versions of the plugins by their names.
        variables: Values of variables that are the same in all rows.
        columns: How the columns are used; see `Columns`.
        source: The name, size, time and hash of the source; see `Stamp`.
        format: The version of the format of the files.
    """

    persona: str
    hash: str
    model: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    plugins: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, Any] = field(default_factory=dict)
    columns: Mapping[str, Any] = field(default_factory=dict)
    source: Mapping[str, Any] = field(default_factory=dict)
    format: int = FORMAT

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> Head:
        """Return a head that `to_dict` has made; fields of later versions are left out."""
        names = {each.name for each in dataclasses.fields(cls)}
        return cls(**{name: part for name, part in value.items() if name in names})

    def to_dict(self) -> dict[str, Any]:
        """Return the head as JSON types."""
        value: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return value

    @property
    def table(self) -> str:
        """A hash of what decides which row has which place and key."""
        parts = [self.source.get("digest"), self.columns, self.format]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    @property
    def rules(self) -> str:
        """A hash of what decides which rows are valid."""
        parts = [self.table, self.hash, sorted(self.variables)]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def changes(self, other: Head) -> list[str]:
        """Return what differs from an earlier head and changes answers, each as a clause."""
        result = []
        if self.persona != other.persona:
            result.append(f"the persona was {other.persona!r} and is {self.persona!r}")
        elif self.hash != other.hash:
            result.append(f"the texts or settings of persona {self.persona!r} have changed")
        if self.model != other.model:
            result.append(f"the model was {other.model!r} and is {self.model!r}")
        for name, title in (("parameters", "parameter"), ("variables", "variable")):
            result += _differences(title, getattr(other, name), getattr(self, name))
        return [*result, *_differences("plugin", other.plugins, self.plugins)]


def _differences(title: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    result = []
    for name in sorted({*old, *new}):
        if name not in new:
            result.append(f"{title} {name!r} was {old[name]!r} and is not set")
        elif name not in old:
            result.append(f"{title} {name!r} was not set and is {new[name]!r}")
        elif old[name] != new[name]:
            result.append(f"{title} {name!r} was {old[name]!r} and is {new[name]!r}")
    return result
