"""The variables of a persona: their declarations, and the checks of a value."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from personakit.base import TYPES, article, brief, describe, infer_type, is_type, read_json, shown
from personakit.errors import VariableError, did_you_mean
from personakit.frozen import freeze
from personakit.persona.validation import Checker

KEYS = "type default required enum minimum maximum pattern description example".split()
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}\Z")
_SIZED = ("string", "integer", "number", "array")
_RULES = {"minimum": _SIZED, "maximum": _SIZED, "pattern": ("string",)}
# Names that Jinja itself defines in a template.
_RESERVED = frozenset("true false none True False None not self loop".split())
_WORDS = {"true": True, "yes": True, "on": True, "1": True}
_WORDS |= {"false": False, "no": False, "off": False, "0": False}


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable of a persona.

    Attributes:
        name: A Python identifier without a leading double underscore.
        type: string, integer, number, boolean, array or object.
        default: The value used if the caller gives none; ignored if `required`.
        required: True if the caller must give a value.
        enum: The allowed values; empty if every value is allowed.
        minimum: The smallest allowed number, array length or string length.
        maximum: The largest allowed number, array length or string length.
        pattern: A regular expression that must match somewhere in a string, in the syntax of
            Rust's `regex` crate: linear in time, so that a persona file cannot hang a process.
        description: The purpose of the variable.
        example: A value for documentation; never used at run time.
    """

    name: str
    type: str = "string"
    default: Any = None
    required: bool = False
    enum: tuple[Any, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    pattern: str | None = None
    description: str = ""
    example: Any = None

    def fault(self, value: Any) -> str | None:
        """Return what is wrong with a value and what would be right, or None."""
        if not is_type(value, self.type):
            return f"expected {article(self.type)}, found {describe(value)}"
        if self.enum and freeze(value, f"variable {self.name!r}") not in self.enum:
            allowed = brief(", ".join(map(str, self.enum)))
            found = value if isinstance(value, str) else shown(value)
            hint = did_you_mean(found, map(str, self.enum))
            return f"{brief(shown(value))} is not one of {allowed}{hint}"
        return self._out_of_range(value) or self._mismatch(value)

    def _out_of_range(self, value: Any) -> str | None:
        unbounded = self.minimum is None and self.maximum is None
        if unbounded or self.type in ("boolean", "object"):
            return None
        sized = self.type in ("string", "array")
        size, what = (len(value), "its length") if sized else (value, "it")
        if self.minimum is not None and size < self.minimum:
            return f"{what} is {shown(size)}, the minimum is {self.minimum}"
        if self.maximum is not None and size > self.maximum:
            return f"{what} is {shown(size)}, the maximum is {self.maximum}"
        return None

    def _mismatch(self, value: Any) -> str | None:
        if self.pattern is None or self.type != "string":
            return None
        from personakit.schemas import Pattern  # noqa: PLC0415

        try:
            matches = Pattern.of(self.pattern).search(value)
        except ValueError as error:
            return str(error)
        if not matches:
            return f"{brief(shown(value))} does not match the pattern {brief(self.pattern)}"
        return None

    def convert(self, text: str) -> Any:
        """Convert a text from a command line to the type of the variable.

        Raises:
            VariableError: The text is not a value of that type.
        """
        try:
            value = self._converted(text)
        except ValueError:
            example = {"array": '\'["a", "b"]\' or a,b', "object": "'{\"key\": 1}'"}.get(self.type)
            hint = f", as in {self.name}={example}" if example else ""
            raise VariableError(
                f"variable {self.name!r}: expected {article(self.type)}{hint}, "
                f"found {brief(repr(text))}"
            ) from None
        return value

    def _converted(self, text: str) -> Any:
        if self.type == "string":
            return text
        if self.type == "boolean":
            if text.strip().lower() not in _WORDS:
                raise ValueError(text)
            return _WORDS[text.strip().lower()]
        if self.type == "array" and not text.lstrip().startswith("["):
            return [part.strip() for part in text.split(",")] if text.strip() else []
        value = read_json(text)
        if not is_type(value, self.type):
            raise ValueError(text)
        return value


def missing(variable: Variable) -> str:
    """Return the error message for a required variable without a value."""
    about = f" ({variable.description.rstrip('.')})" if variable.description else ""
    value = variable.example if variable.example is not None else "…"
    shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    quoted = f"'{shown}'" if re.search(r"[^\w…@%+=:,./-]", shown) else shown
    return f"variable {variable.name!r} is required{about}: give it as -v {variable.name}={quoted}"


def declare(checker: Checker, name: str, value: Any, base: Variable | None = None) -> Variable:
    """Read one entry of a persona's `variables:`.

    Args:
        checker: Collects the problems.
        name: The variable's name.
        value: A default, or a mapping with keys from `KEYS`.
        base: The variable of that name in the parent; it provides the keys missing in `value`.
    """
    at = ("variables", name)
    _check_name(checker, name, at)
    given = value if isinstance(value, dict) else {"default": value}
    checker.unknown(given, KEYS, *at)
    if "type" in given and given["type"] not in list(TYPES):
        checker.choice(given["type"], TYPES, *at, "type")
        return Variable(name)
    variable = _read(checker, base or Variable(name), given, at, inferred=base is None)
    return _consistent(checker, variable, given, at)


def _check_name(checker: Checker, name: str, at: tuple[str, ...]) -> None:
    if not NAME.match(name) or name.startswith("__"):
        checker.fail(
            f"invalid variable name {name[:80]!r}: use at most 64 letters, digits and '_', "
            f"beginning with a letter or a single '_'",
            *at,
            key=True,
        )
    if name in ("input", "parent"):
        checker.fail(f"variable {name!r} is set by personakit; choose another name", *at, key=True)
    if name in _RESERVED:
        message = f"variable {name!r} is a reserved word in templates; choose another name"
        checker.fail(message, *at, key=True)


def _read(
    checker: Checker,
    base: Variable,
    given: Mapping[str, Any],
    at: tuple[str, ...],
    *,
    inferred: bool,
) -> Variable:
    """Return a variable with the given keys, each checked on its own."""
    changes = _value_keys(checker, base, given, at, inferred=inferred)
    if changes["required"] and given.get("default") is not None:
        checker.fail("a required variable cannot have a default; use `example`", *at, "default")
    for bound in ("minimum", "maximum"):
        if given.get(bound) is not None and not is_type(given[bound], "number"):
            checker.fail(f"expected a number, found {describe(given[bound])}", *at, bound)
        elif bound in given:
            changes[bound] = given[bound]
    if given.get("pattern") is not None:
        changes["pattern"] = checker.pattern(given["pattern"], *at, "pattern")
    if given.get("description") is not None:
        changes["description"] = checker.text(given["description"], *at, "description")
    if "example" in given:
        changes["example"] = freeze(given["example"])
    return dataclasses.replace(base, **changes)


def _value_keys(
    checker: Checker,
    base: Variable,
    given: Mapping[str, Any],
    at: tuple[str, ...],
    *,
    inferred: bool,
) -> dict[str, Any]:
    """Return the keys that determine the possible values: enum, type, default, required."""
    changes: dict[str, Any] = {"required": inferred or base.required}
    if "enum" in given:
        changes["enum"] = freeze(checker.list(given["enum"], *at, "enum"))
    if "type" in given:
        changes["type"] = given["type"]
    elif inferred:
        first = changes["enum"][0] if changes.get("enum") else given.get("default")
        changes["type"] = infer_type(first) or "string"
    if "default" in given:
        changes["default"], changes["required"] = freeze(given["default"]), False
    if "required" in given:
        changes["required"] = checker.boolean(given["required"], *at, "required")
    return changes


def _consistent(
    checker: Checker, variable: Variable, given: Mapping[str, Any], at: tuple[str, ...]
) -> Variable:
    """Check the keys against each other; `default` and `example` must be valid values."""
    for i, choice in enumerate(variable.enum if "enum" in given else ()):
        if not is_type(choice, variable.type):
            message = f"expected {article(variable.type)}, found {describe(choice)}"
            checker.fail(message, *at, "enum", i)
    if given.get("enum") == []:
        checker.fail("enum: the list is empty, so every value is invalid", *at, "enum")
    for key, types in _RULES.items():
        if given.get(key) is not None and variable.type not in types:
            message = f"{key}: not supported for {article(variable.type)} variable"
            checker.fail(message, *at, key, key=True)
    low, high = variable.minimum, variable.maximum
    if low is not None and high is not None and low > high:
        message = f"the minimum {low} is greater than the maximum {high}"
        checker.fail(message, *at, "minimum" if "minimum" in given else "maximum")
    for key in ("default", "example"):
        value = getattr(variable, key)
        fault = variable.fault(value) if value is not None else None
        if fault:
            checker.fail(f"{key}: {fault}", *at, key)
    return variable
