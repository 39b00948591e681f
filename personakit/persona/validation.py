"""Checking the values of a YAML document and collecting its problems."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from personakit.base import brief, describe
from personakit.errors import PersonaError, Problem, did_you_mean
from personakit.persona.yaml import Document

MAX_PATTERNS = 100_000
"""The largest total size of the patterns of a document, besides those in JSON Schemas."""

MAX_PROBLEMS = 100

_BOOLEANS = dict.fromkeys(("yes", "on", "y", "true", "1"), "true")
_BOOLEANS |= dict.fromkeys(("no", "off", "n", "false", "0"), "false")
_LONG = ("messages", "prompt", "system")
_INTEGER = re.compile(r"-?[0-9]{1,18}\Z")
_NUMBER = re.compile(r"-?[0-9]{1,18}(?:\.[0-9]+)?\Z")
_NO_SPACE = re.compile(r"([A-Za-z_]\w*):([^\s/].*)\Z", re.DOTALL)


class Checker:
    """A checker for the values of a document, which collects every problem."""

    def __init__(self, source: Document) -> None:
        self.document = source
        self.problems: list[Problem] = []
        self._patterns = 0

    def fail(self, message: str, *at: str | int, key: bool = False, code: str = "PK012") -> None:
        """Add a problem with the value at a path, or with its key.

        Raises:
            PersonaError: The document has more than `MAX_PROBLEMS` - 1 problems.
        """
        self.problems.append(self.document.problem(message, at, key=key, code=code))
        if len(self.problems) >= MAX_PROBLEMS:
            message = f"more than {MAX_PROBLEMS - 1} problems"
            more = Problem(message, self.document.path, code=code)
            raise PersonaError([*self.problems[:-1], more])

    def unknown(
        self,
        data: Mapping[str, Any],
        known: Iterable[str],
        *at: str | int,
        hint_for: Callable[[str, Any], str] = lambda key, value: "",
    ) -> None:
        """Add a problem for each unknown key of a mapping.

        Args:
            data: The mapping.
            known: The known keys.
            at: The path of the mapping.
            hint_for: Returns what would be right for a key and its value, as ``; …``; empty for
                the nearest known key.
        """
        names = list(known)
        for key, value in data.items():
            if key not in names:
                near = did_you_mean(key.strip(), names) or f" (known: {', '.join(names)})"
                is_spelling = key.strip().lower() in names
                hint = near if is_spelling else hint_for(key, value) or near
                self.fail(f"unknown key {key!r}{hint}", *at, key, key=True, code="PK010")

    def text(self, value: Any, *at: str | int) -> str:
        """Return a string; add a problem for any other value."""
        if isinstance(value, str):
            return value
        message = f"{_name(at)}: expected a string, found {describe(value)}{_as_text(value, at)}"
        self.fail(message, *at, code="PK011")
        return ""

    def mapping(self, value: Any, *at: str | int) -> dict[str, Any]:
        """Return a mapping; add a problem for any other value."""
        if isinstance(value, dict):
            return value
        message = f"{_name(at)}: expected a mapping, found {describe(value)}{_as_mapping(value)}"
        self.fail(message, *at, code="PK011")
        return {}

    def list(self, value: Any, *at: str | int) -> list[Any]:
        """Return a list; add a problem for any other value."""
        if isinstance(value, list):
            return value
        example = f"[{brief(value, 40)}]" if isinstance(value, str) else "[a, b]"
        hint = "; begin each item with `- `" if isinstance(value, dict) else f"; write {example}"
        message = f"{_name(at)}: expected a list, found {describe(value)}{hint}"
        self.fail(message, *at, code="PK011")
        return []

    def texts(self, value: Any, *at: str | int) -> tuple[str, ...]:
        """Return strings from a list of strings or from a single string."""
        if isinstance(value, str):
            return (value,)
        return tuple(self.text(item, *at, i) for i, item in enumerate(self.list(value, *at)))

    def choice(self, value: Any, choices: Iterable[str], *at: str | int) -> Any:
        """Return the value; add a problem if it is not one of the choices."""
        words = list(choices)
        if value not in words:
            hint = did_you_mean(str(value), words)
            expected = f"one of {', '.join(words)}" if len(words) > 2 else " or ".join(words)
            self.fail(f"{_name(at)}: expected {expected}, found {describe(value)}{hint}", *at)
        return value

    def boolean(self, value: Any, *at: str | int) -> bool:
        """Return a boolean; add a problem for any other value."""
        if not isinstance(value, bool):
            hint = retyped(value, "boolean")
            message = f"{_name(at)}: expected true or false, found {describe(value)}{hint}"
            self.fail(message, *at, code="PK011")
        return value is True

    def pattern(self, value: Any, *at: str | int) -> str | None:
        """Return a regular expression; add a problem for an invalid one, and return None."""
        from personakit.schemas import Pattern  # noqa: PLC0415

        text = self.text(value, *at)
        try:
            self._patterns += Pattern.of(text).size
        except ValueError as error:
            self.fail(f"{_name(at)}: invalid regular expression: {error}", *at)
            return None
        if self._patterns > MAX_PATTERNS:
            message = f"the patterns together are larger than {MAX_PATTERNS:,} parts"
            raise PersonaError([self.document.problem(message, at, code="PK012")])
        return text

    def schema(self, value: Any, *at: str | int) -> dict[str, Any]:
        """Return a JSON Schema; add a problem for an invalid one."""
        from personakit.schemas import InvalidSchema, checked, foreign_pattern  # noqa: PLC0415

        if not isinstance(value, dict):
            form = "write a JSON Schema, as in `{type: object, properties: {dish: {type: string}}}`"
            message = f"{_name(at)}: expected a mapping, found {describe(value)}; {form}"
            self.fail(message, *at, code="PK011")
            return {}
        schema: dict[str, Any] = value
        try:
            checked(schema, foreign_pattern)
        except InvalidSchema as error:
            message = f"{_name(at)}: not a valid JSON Schema: {error}"
            self.fail(message, *at, *error.path)
        return schema


def retyped(value: Any, kind: str) -> str:
    """Return how to write a value so that YAML reads it as a type, as ``; …``; empty if unknown.

    YAML 1.2 has no boolean but true and false, and a quoted number is a string.
    """
    if not isinstance(value, str):
        return ""
    word = value.strip().lower()
    if kind == "boolean" and word in _BOOLEANS:
        return f"; write {_BOOLEANS[word]}"
    number = {"integer": _INTEGER, "number": _NUMBER}.get(kind)
    if number is None:
        return ""
    if number.match(value):
        return f"; write {value} without quotes"
    plain = value.replace("_", "").replace(",", "." if kind == "number" else "")
    return f"; write {plain}" if number.match(plain) else ""


def _as_text(value: Any, at: tuple[str | int, ...]) -> str:
    if value is None:
        return "; write a text after the colon, or remove the line"
    if isinstance(value, dict) and value and all(item is None for item in value.values()):
        return "; quote a text that begins with {, and write a variable as {{ name }}"
    if isinstance(value, list) and at[0] not in _LONG:
        return "; write one text instead of a list"
    if isinstance(value, list):
        lines = "write lines of a text below a `|`, without `- `"
        return f"; {lines}, and quote a text that begins with ["
    return "; write a text" if isinstance(value, dict) else "; quote it"


def _as_mapping(value: Any) -> str:
    if isinstance(value, str):
        match = _NO_SPACE.match(value)
        return f"; write a space after the colon: {match[1]}: {match[2][:40]}" if match else ""
    return "; write `name: value` without `- `" if isinstance(value, list) else ""


def _name(at: tuple[str | int, ...]) -> str:
    return next((str(part) for part in reversed(at) if isinstance(part, str)), "it")
