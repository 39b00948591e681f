"""Checking the values of a YAML document and collecting its problems."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from personakit.base import describe
from personakit.errors import PersonaError, Problem, did_you_mean
from personakit.persona.yaml import Document

MAX_PATTERNS = 100_000
"""The largest total size of the patterns of a document, besides those in JSON Schemas."""

MAX_PROBLEMS = 100


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

    def unknown(self, data: Mapping[str, Any], known: Iterable[str], *at: str | int) -> None:
        """Add a problem for each unknown key of a mapping."""
        names = list(known)
        for key in data:
            if key not in names:
                hint = did_you_mean(key, names) or f" (known: {', '.join(names)})"
                self.fail(f"unknown key {key!r}{hint}", *at, key, key=True, code="PK010")

    def text(self, value: Any, *at: str | int) -> str:
        """Return a string; add a problem for any other value."""
        if isinstance(value, str):
            return value
        hint = "; quote it" if isinstance(value, int | float) else ""
        self.fail(
            f"{_name(at)}: expected a string, found {describe(value)}{hint}", *at, code="PK011"
        )
        return ""

    def mapping(self, value: Any, *at: str | int) -> dict[str, Any]:
        """Return a mapping; add a problem for any other value."""
        if isinstance(value, dict):
            return value
        message = f"{_name(at)}: expected a mapping, found {describe(value)}"
        self.fail(message, *at, code="PK011")
        return {}

    def list(self, value: Any, *at: str | int) -> list[Any]:
        """Return a list; add a problem for any other value."""
        if isinstance(value, list):
            return value
        self.fail(f"{_name(at)}: expected a list, found {describe(value)}", *at, code="PK011")
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
            message = f"{_name(at)}: expected true or false, found {describe(value)}"
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

        schema = self.mapping(value, *at)
        if not isinstance(value, dict):
            return {}
        try:
            checked(schema, foreign_pattern)
        except InvalidSchema as error:
            message = f"{_name(at)}: not a valid JSON Schema: {error}"
            self.fail(message, *at, *error.path)
        return schema


def _name(at: tuple[str | int, ...]) -> str:
    return next((str(part) for part in reversed(at) if isinstance(part, str)), "it")
