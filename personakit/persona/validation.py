"""What a value is, in the words of YAML, and a collector of everything wrong in a document."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from personakit.base import describe
from personakit.errors import PersonaError, Problem, did_you_mean
from personakit.persona.yaml import Document

MAX_PROBLEMS = 100


class Checker:
    """Checks the values of a document, collecting every problem."""

    def __init__(self, source: Document) -> None:
        self.document = source
        self.problems: list[Problem] = []

    def fail(self, message: str, *at: str | int, key: bool = False, code: str = "PK012") -> None:
        """Note a problem with the value of a path, or with its key."""
        self.problems.append(self.document.problem(message, at, key=key, code=code))
        if len(self.problems) >= MAX_PROBLEMS:
            found = f"more than {MAX_PROBLEMS - 1} problems"
            more = Problem(found, self.document.path, code=code)
            raise PersonaError([*self.problems[:-1], more])

    def unknown(self, data: Mapping[str, Any], known: Iterable[str], *at: str | int) -> None:
        """Note the keys of a mapping that are none of the known ones."""
        names = list(known)
        for key in data:
            if key not in names:
                hint = did_you_mean(key, names) or f" (known: {', '.join(names)})"
                self.fail(f"unknown key {key!r}{hint}", *at, key, key=True, code="PK010")

    def text(self, value: Any, *at: str | int) -> str:
        """Return a string; of anything else note that it is none."""
        if isinstance(value, str):
            return value
        hint = "; quote it" if isinstance(value, int | float) else ""
        self.fail(
            f"{_name(at)}: expected a string, found {describe(value)}{hint}", *at, code="PK011"
        )
        return ""

    def mapping(self, value: Any, *at: str | int) -> dict[str, Any]:
        """Return a mapping; of anything else note that it is none."""
        if isinstance(value, dict):
            return value
        found = f"{_name(at)}: expected a mapping, found {describe(value)}"
        self.fail(found, *at, code="PK011")
        return {}

    def list(self, value: Any, *at: str | int) -> list[Any]:
        """Return a list; of anything else note that it is none."""
        if isinstance(value, list):
            return value
        self.fail(f"{_name(at)}: expected a list, found {describe(value)}", *at, code="PK011")
        return []

    def texts(self, value: Any, *at: str | int) -> tuple[str, ...]:
        """Return strings out of a list of them, or out of one."""
        if isinstance(value, str):
            return (value,)
        return tuple(self.text(item, *at, i) for i, item in enumerate(self.list(value, *at)))

    def choice(self, value: Any, choices: Iterable[str], *at: str | int) -> Any:
        """Return one of some words; of anything else note what they are."""
        words = list(choices)
        if value not in words:
            hint = did_you_mean(str(value), words)
            wanted = f"one of {', '.join(words)}" if len(words) > 2 else " or ".join(words)
            self.fail(f"{_name(at)}: expected {wanted}, found {describe(value)}{hint}", *at)
        return value

    def boolean(self, value: Any, *at: str | int) -> bool:
        """Return a boolean; of anything else note that it is none."""
        if not isinstance(value, bool):
            found = f"{_name(at)}: expected true or false, found {describe(value)}"
            self.fail(found, *at, code="PK011")
        return value is True


def _name(at: tuple[str | int, ...]) -> str:
    return next((str(part) for part in reversed(at) if isinstance(part, str)), "it")
