"""The variables of a persona: what they accept, and the values they end up with."""

from __future__ import annotations

import dataclasses
import json
import math
import re
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
# Words that mean something else in a template, whatever a variable says.
_RESERVED = frozenset("true false none True False None not self loop".split())
_WORDS = {"true": True, "yes": True, "on": True, "1": True}
_WORDS |= {"false": False, "no": False, "off": False, "0": False}


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable of a persona.

    Attributes:
        name: A Python identifier without a leading double underscore.
        type: string, integer, number, boolean, array or object.
        default: The value when none is given; meaningless if `required`.
        required: True when a value must be given.
        enum: The only values allowed; empty when any is.
        minimum: The least number, array length or text length allowed.
        maximum: The greatest number, array length or text length allowed.
        pattern: A regular expression that a text must match somewhere, in the syntax of Rust's
            `regex` crate: linear in time, so that a persona file cannot hang a process.
        description: What it is for.
        example: A value to show; it is never used at run time.
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
        """Return the value that a text from a command line stands for.

        Raises:
            VariableError: The text is no such value.
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
    """Return a test for a pattern.

    Raises:
        ValueError: The pattern is not one that the linear-time engine takes.
    """
    from pydantic_core import SchemaError, SchemaValidator, core_schema  # noqa: PLC0415

    schema = core_schema.str_schema(pattern=pattern, strict=True, regex_engine="rust-regex")
    try:
        return SchemaValidator(schema).isinstance_python
    except SchemaError as error:
        raise ValueError(str(error).rsplit("error: ", 1)[-1].strip()) from None


def missing(variable: Variable) -> str:
    """Return what to say of a required variable that has no value."""
    about = f" ({variable.description.rstrip('.')})" if variable.description else ""
    value = variable.example if variable.example is not None else "…"
    shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    quoted = f"'{shown}'" if re.search(r"[^\w…@%+=:,./-]", shown) else shown
    return f"variable {variable.name!r} is required{about}: give it as -v {variable.name}={quoted}"


def declare(checker: Checker, name: str, value: Any, base: Variable | None = None) -> Variable:
    """Read one entry of a persona's `variables:`.

    Args:
        checker: Notes what is wrong.
        name: The variable's name.
        value: A default, or a mapping of the keys of `KEYS`.
        base: The variable of that name in the parent; its keys hold where `value` has none.
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
            f"variable {name[:80]!r} is no name: use letters, digits and '_', "
            f"beginning with a letter or '_'",
            *at,
            key=True,
        )
    if name in ("input", "parent"):
        checker.fail(f"variable {name!r} is set by personakit; choose another name", *at, key=True)
    if name in _RESERVED:
        checker.fail(f"variable {name!r} is a word of Jinja's; choose another name", *at, key=True)


def _read(
    checker: Checker,
    base: Variable,
    given: Mapping[str, Any],
    at: tuple[str, ...],
    *,
    inferred: bool,
) -> Variable:
    """Return a variable with the keys that are given, each checked by itself."""
    changes = _value_keys(checker, base, given, at, inferred=inferred)
    if changes["required"] and given.get("default") is not None:
        checker.fail("a required variable has no default; use `example`", *at, "default")
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
    """Return what says which values there are: enum, type, default, required."""
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
        checker.fail(f"not a pattern: {error}", *at, "pattern")
        return None
    return pattern


def _consistent(
    checker: Checker, variable: Variable, given: Mapping[str, Any], at: tuple[str, ...]
) -> Variable:
    """Note an enum, a default or an example that the variable itself would not accept."""
    for i, choice in enumerate(variable.enum if "enum" in given else ()):
        if not is_type(choice, variable.type):
            found = f"expected {article(variable.type)}, found {describe(choice)}"
            checker.fail(found, *at, "enum", i)
    if given.get("enum") == []:
        checker.fail("enum: the list is empty; no value could be given", *at, "enum")
    for key, types in _RULES.items():
        if given.get(key) is not None and variable.type not in types:
            found = f"{key}: {article(variable.type)} variable has none"
            checker.fail(found, *at, key, key=True)
    low, high = variable.minimum, variable.maximum
    if low is not None and high is not None and low > high:
        found = f"the minimum {low} is greater than the maximum {high}"
        checker.fail(found, *at, "minimum" if "minimum" in given else "maximum")
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
        own: Copies of the values, of the types that templates see, and nobody else's.
        size: The characters and items in them, all that they hold counted.
    """

    frozen: FrozenDict
    own: dict[str, Any]
    size: int


class _Rule(NamedTuple):
    """What is known to be accepted without asking the variable.

    Attributes:
        kinds: The types that are, exactly; none where there is more to look at.
        enum: The only values; empty when any is.
    """

    kinds: frozenset[type]
    enum: tuple[Any, ...]


class Declared:
    """The variables that a persona declares, ready to take values.

    Args:
        variables: The variables by name.
    """

    def __init__(self, variables: Mapping[str, Variable]) -> None:
        self._variables = variables
        self._defaults = {name: variable.default for name, variable in variables.items()}
        self._required = {name for name, variable in variables.items() if variable.required}
        self._rules = {name: _rule(variable) for name, variable in variables.items()}
        taken = {name: _taken(value) for name, value in self._defaults.items()}
        self._plain = Values(
            FrozenDict({name: part[0] for name, part in taken.items()}),
            {name: part[1] for name, part in taken.items()},
            sum([part[2] for part in taken.values()]),
        )
        # What a template might be able to change is copied for each render.
        self._containers = {n: v for n, v in self._defaults.items() if type(v) not in ATOMS}

    def values(self, given: Mapping[str, Any]) -> Values:
        """Return a value for every variable.

        Args:
            given: The values that the caller gives.

        Raises:
            VariableError: A value is unknown, missing or of the wrong kind; all of them are named.
        """
        plain = self._plain
        if not given and not self._required and not self._containers:
            return plain
        if type(given) is not dict:
            _check_mapping(given)
        # These are nobody else's yet.
        frozen, own, size = FrozenDict(plain.frozen), {**plain.own, **given}, plain.size
        dict.update(frozen, given)
        if len(own) != len(self._rules) or not self._required <= given.keys():
            self._fail(given)
        for name, value in given.items():
            kinds, enum = self._rules[name]
            kind = type(value)
            known = kind in kinds and (not enum or value in enum)
            known = known and (kind is not float or math.isfinite(value))
            if not known and self._variables[name].fault(value):
                self._fail(given)
            if kind is str:
                size += len(value)
            elif kind not in ATOMS:
                item, own[name], more = _taken(value)
                dict.__setitem__(frozen, name, item)
                size += more
        for name, value in self._containers.items():
            if name not in given:
                own[name] = _taken(value)[1]
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
        found = type(given).__name__
        raise VariableError(f"variables are a mapping of names to values, found {found}")


def _rule(variable: Variable) -> _Rule:
    unbounded = variable.minimum is None and variable.maximum is None and not variable.pattern
    kinds = _KINDS.get(variable.type, _ANY) if unbounded else _ANY
    if variable.enum and variable.type in ("array", "object"):
        kinds = _ANY
    return _Rule(kinds, variable.enum)


def _taken(value: Any) -> tuple[Any, Any, int]:
    """Return a value read-only, a copy of it, and its size; written for speed, as all come by."""
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
    return f" (it has: {names})" if names else " (it declares none)"
