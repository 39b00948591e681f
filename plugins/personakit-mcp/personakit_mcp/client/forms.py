"""Questions of a server to the user, asked with `personakit.ask`."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import personakit

_log = logging.getLogger("personakit")
_LONGEST = 200
_ATTEMPTS = 3
_DECLINE, _OMIT = "decline", "leave out"


async def answered(server: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """Ask the user what a server asks for, one field after the other.

    Args:
        server: The name of the server.
        params: The parameters of `elicitation/create`, as JSON.

    Returns:
        The result of `elicitation/create`, as JSON. It declines if the user does, and if this code
        does not run in a run, so that nobody can be asked.

    Raises:
        Blocked: Nobody answers, and the run shall be refused then.
    """
    try:
        return await _answered(server, params)
    except personakit.UsageError as error:
        _log.warning("personakit: the question of the MCP server %r is declined: %s", server, error)
        return {"action": "decline"}


async def _answered(server: str, params: Mapping[str, Any]) -> dict[str, Any]:
    message = str(params.get("message", ""))
    begin = f"The MCP server {server!r} asks: {_line(message)}"
    if params.get("mode") == "url":
        details = f"{message}\n\nOpen {params.get('url')}\nand answer when you are done there."
        done = await personakit.ask(begin, choices=["done", _DECLINE], details=details)
        return {"action": "accept" if done == "done" else "decline"}
    schema = params.get("requestedSchema") or {}
    required = schema.get("required") or []
    fields = [
        _Field(name, part, name in required)
        for name, part in (schema.get("properties") or {}).items()
    ]
    if not fields:
        agreed = await personakit.ask(begin, choices=["accept", _DECLINE], details=message)
        return {"action": agreed, **({"content": {}} if agreed == "accept" else {})}
    content: dict[str, Any] = {}
    for field in fields:
        text = begin if len(fields) == 1 else f"{begin} {field.title}:"
        value = await field.ask(text, f"{message}\n\n{field.details}")
        if isinstance(value, _Declined):
            return {"action": "decline"}
        if value is not None:
            content[field.name] = value
    return {"action": "accept", "content": content}


class _Declined:
    """The user declined."""


@dataclass(frozen=True, slots=True)
class _Field:
    """A field of a form.

    Attributes:
        name: Its key in the answer.
        schema: Its JSON Schema, of a text, a number, a boolean or a list of choices.
        is_required: Whether an answer must have it.
    """

    name: str
    schema: Mapping[str, Any]
    is_required: bool

    @property
    def title(self) -> str:
        return _line(str(self.schema.get("title") or self.name))

    @property
    def details(self) -> str:
        """What the answer may be."""
        lines = [f"{self.title} ({self.schema.get('type', 'string')})"]
        if description := self.schema.get("description"):
            lines.append(str(description))
        if self._is_list and (values := self._values()):
            lines.append(f"Separate several by commas: {', '.join(values)}")
        else:
            lines += [f"{value}: {title}" for value, title in self._values().items() if title]
        if "default" in self.schema:
            lines.append(f"Default: {self.schema['default']}")
        if not self.choices:
            lines.append(f"An empty answer {'declines' if self.is_required else 'leaves it out'}.")
        return "\n".join(lines)

    @property
    def choices(self) -> list[str]:
        """The possible answers; empty if the answer is a text."""
        if self._is_list:
            return []
        values = ["yes", "no"] if self.schema.get("type") == "boolean" else list(self._values())
        choices = [*values, _DECLINE if self.is_required else _OMIT]
        # The choices of a question must differ by more than case.
        unique = len({choice.casefold() for choice in choices}) == len(choices)
        return choices if values and unique and all(map(str.strip, choices)) else []

    async def ask(self, text: str, details: str) -> Any:
        """Return the value, None to leave it out, or `_Declined`."""
        check = personakit.schema_validator(dict(self.schema))
        fault = ""
        for _ in range(_ATTEMPTS):
            question = f"{text} ({fault})" if fault else text
            answer = await personakit.ask(question, choices=self.choices, details=details)
            if answer in (_DECLINE, _OMIT, "") or not answer.strip():
                return _Declined() if self.is_required else None
            try:
                value = self._value(answer.strip())
            except ValueError:
                fault = f"{_line(answer)!r} is not a {self.schema.get('type')}"
                continue
            faults = check(value)
            if not faults:
                return value
            fault = _line(faults[0])
        return _Declined()

    @property
    def _is_list(self) -> bool:
        return self.schema.get("type") == "array"

    def _values(self) -> dict[str, str]:
        """Return the values that the schema lists, with their titles."""
        schema = self.schema.get("items") or {} if self._is_list else self.schema
        if titled := schema.get("oneOf") or schema.get("anyOf"):
            return {str(one.get("const")): str(one.get("title", "")) for one in titled}
        values = schema.get("enum") or []
        names = schema.get("enumNames") or [""] * len(values)
        return dict(zip(map(str, values), map(str, names), strict=False))

    def _value(self, answer: str) -> Any:
        kind = self.schema.get("type", "string")
        if kind == "array":
            return [part.strip() for part in answer.split(",") if part.strip()]
        if kind == "boolean":
            if answer.casefold() not in ("yes", "no"):
                raise ValueError(answer)
            return answer.casefold() == "yes"
        if kind == "integer":
            return int(answer)
        return float(answer) if kind == "number" else answer


def _line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"
