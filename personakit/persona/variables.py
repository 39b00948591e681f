"""The variables of a persona: their declarations and the values for a render."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from personakit.base import TYPES, article, brief, describe, infer_type, is_type, read_json
from personakit.errors import VariableError, did_you_mean
from personakit.frozen import ATOMS, FrozenDict, freeze, thaw
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
        if self.enum and freeze(value) not in self.enum:
            shown = brief(", ".join(map(str, self.enum)))
            hint = did_you_mean(str(value), map(str, self.enum))
            return f"{brief(repr(value))} is not one of {shown}{hint}"
        return self._out_of_range(value) or self._mismatch(value)

    def _out_of_range(self, value: Any) -> str | None:
        unbounded = self.minimum is None and self.maximum is None
        if unbounded or self.type in ("boolean", "object"):
            return None
        sized = self.type in ("string", "array")
        size, what = (len(value), "its length") if sized else (value, "it")
        if self.minimum is not None and size < self.minimum:
            return f"{what} is {size}, the minimum is {self.minimum}"
        if self.maximum is not None and size > self.maximum:
            return f"{what} is {size}, the maximum is {self.maximum}"
        return None

    def _mismatch(self, value: Any) -> str | None:
        if self.pattern is None or self.type != "string":
            return None
        if not matcher(self.pattern)(value):
            return f"{brief(repr(value))} does not match the pattern {brief(self.pattern)}"
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
                f"variable {self.name!r}: expected {article(self.type)}{hint}, found {text!r}"
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


def matcher(pattern: str) -> Callable[[str], bool]:
    """Return a function that tests whether a string matches a pattern.

    Raises:
        ValueError: The pattern is invalid, or the linear-time engine does not support it.
    """
    from pydantic_core import SchemaError, SchemaValidator, core_schema  # noqa: PLC0415

    schema = core_schema.str_schema(pattern=pattern, strict=True, regex_engine="rust-regex")
    try:
        return SchemaValidator(schema).isinstance_python
    except SchemaError as error:
        raise ValueError(str(error).rsplit("error: ", 1)[-1].strip()) from None


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
        changes["pattern"] = _pattern(checker, given["pattern"], at)
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


def _pattern(checker: Checker, value: Any, at: tuple[str, ...]) -> str | None:
    pattern = checker.text(value, *at, "pattern")
    try:
        matcher(pattern)
    except ValueError as error:
        checker.fail(f"invalid regular expression: {error}", *at, "pattern")
        return None
    return pattern


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


_KINDS: dict[str, frozenset[type]] = {
    "string": frozenset((str,)),
    "integer": frozenset((int,)),
    "number": frozenset((int, float)),
    "boolean": frozenset((bool,)),
    "array": frozenset((list, tuple)),
    "object": frozenset((dict, FrozenDict)),
}
_ANY: frozenset[type] = frozenset()
_TEXT = frozenset((str,))


class Values(NamedTuple):
    """A value for every variable.

    Attributes:
        frozen: The values by name, read-only.
        own: Private copies of the values, of the types that templates see.
        size: The number of characters and items in them, nested ones included.
    """

    frozen: FrozenDict
    own: dict[str, Any]
    size: int


class _Rule(NamedTuple):
    """A fast check that accepts most values without `Variable.fault`.

    Attributes:
        kinds: The exact types that are accepted; empty if a value needs further checks.
        enum: The allowed values; empty if every value is allowed.
        low: The least number; None where there is none to compare.
        high: The greatest number.
    """

    kinds: frozenset[type]
    enum: tuple[Any, ...]
    low: float | None = None
    high: float = math.inf


class Declared:
    """The variables that a persona declares, prepared for checking values.

    Args:
        variables: The variables by name.
    """

    def __init__(self, variables: Mapping[str, Variable]) -> None:
        self._variables = variables
        self._defaults = {name: variable.default for name, variable in variables.items()}
        self._required = {name for name, variable in variables.items() if variable.required}
        self._rules = {name: _rule(variable) for name, variable in variables.items()}
        # The type of which any value is accepted, where there is one.
        self._exact = {
            name: next(iter(rule.kinds))
            if len(rule.kinds) == 1 and not rule.enum and rule.low is None
            else None
            for name, rule in self._rules.items()
        }
        taken = {name: _taken(value) for name, value in self._defaults.items()}
        self._plain = Values(
            FrozenDict({name: part[0] for name, part in taken.items()}),
            {name: part[1] for name, part in taken.items()},
            sum([part[2] for part in taken.values()]),
        )
        # A template could change containers, so they are copied for each render.
        self._containers = {n: v for n, v in self._defaults.items() if type(v) not in ATOMS}

    def values(self, given: Mapping[str, Any]) -> Values:  # noqa: C901 - every value comes by
        """Return a value for every variable.

        Args:
            given: The values from the caller.

        Raises:
            VariableError: A value is unknown, missing or invalid; the message lists all of them.
        """
        plain, rules, exact = self._plain, self._rules, self._exact
        if not given and not self._required and not self._containers:
            return plain
        if type(given) is not dict:
            _check_mapping(given)
        own, size = {**plain.own, **given}, plain.size
        if len(own) != len(rules) or not self._required <= given.keys():
            self._fail(given)
        frozen = FrozenDict(own)
        for name, value in given.items():
            kind = type(value)
            if kind is not exact[name]:
                kinds, enum, low, high = rules[name]
                if not (
                    kind in kinds
                    and (not enum or value in enum)
                    and (low is None or low <= value <= high)
                ) and self._variables[name].fault(value):
                    self._fail(given)
            if kind is str:
                size += len(value)
            elif kind not in ATOMS:
                item, own[name], more = _taken(value)
                # It is nobody else's yet.
                dict.__setitem__(frozen, name, item)
                size += more
        for name, value in self._containers.items():
            if name not in given:
                item, own[name], _ = _taken(value)
                dict.__setitem__(frozen, name, item)
        return Values(frozen, own, size)

    def _fail(self, given: Mapping[str, Any]) -> None:
        declared = self._variables
        faults = [
            f"unknown variable {name!r}{did_you_mean(name, declared)}" + _known(declared)
            for name in given
            if name not in declared
        ]
        for name, variable in declared.items():
            if name in given:
                fault = variable.fault(given[name])
                faults += [f"variable {name!r}: {fault}"] if fault else []
            elif variable.required:
                faults.append(missing(variable))
        raise VariableError("\n".join(faults))


def _check_mapping(given: Mapping[str, Any]) -> None:
    if not isinstance(given, Mapping):
        kind = type(given).__name__
        raise VariableError(f"variables must be a mapping of names to values, found {kind}")


def _rule(variable: Variable) -> _Rule:
    low, high = variable.minimum, variable.maximum
    bounded = low is not None or high is not None
    if variable.type == "number" or (variable.type == "integer" and bounded):
        # Neither infinity nor NaN is within these.
        low = -sys.float_info.max if low is None else low
        high = sys.float_info.max if high is None else high
        return _Rule(_KINDS[variable.type], variable.enum, low, high)
    kinds = _ANY if bounded or variable.pattern else _KINDS.get(variable.type, _ANY)
    if variable.enum and variable.type in ("array", "object"):
        kinds = _ANY
    return _Rule(kinds, variable.enum)


def _taken(value: Any) -> tuple[Any, Any, int]:
    """Return a frozen value, a copy of it, and its size; optimized, as every value passes it."""
    kind = type(value)
    if kind is str:
        return value, value, len(value)
    if kind in ATOMS:
        return value, value, 1
    if kind is dict or kind is FrozenDict:
        size = 1 + len(value)
        for key, item in value.items():
            kind = type(item)
            if type(key) is not str or kind not in ATOMS:
                break
            size += len(key) + (len(item) if kind is str else 1)
        else:
            return FrozenDict(value), dict(value), size
        parts = {key: _taken(item) for key, item in value.items()}
        frozen = FrozenDict({str(key): part[0] for key, part in parts.items()})
        size = 1 + 2 * len(parts) + sum([part[2] for part in parts.values()])
        return frozen, {key: part[1] for key, part in parts.items()}, size
    if kind is list or kind is tuple:
        if (kinds := {*map(type, value)}) <= ATOMS:
            size = sum(map(len, value)) if kinds == _TEXT else sum([_taken(v)[2] for v in value])
            return tuple(value), list(value), 1 + len(value) + size
        items = [_taken(item) for item in value]
        size = 1 + len(items) + sum([item[2] for item in items])
        return tuple([item[0] for item in items]), [item[1] for item in items], size
    if not isinstance(value, list | tuple | Mapping):
        return freeze(value), value, len(value) if isinstance(value, str) else 1
    own = thaw(value)
    return freeze(value), own, _taken(own)[2]


def _known(declared: Mapping[str, Variable]) -> str:
    names = ", ".join(declared)
    return f" (declared: {names})" if names else " (the persona declares no variables)"
