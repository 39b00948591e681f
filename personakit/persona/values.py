"""Values for the variables of a persona, checked and copied once for each render."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

from personakit.errors import VariableError, did_you_mean
from personakit.frozen import ATOMS, FrozenDict, check_plain, freeze, thaw
from personakit.persona.variable import Variable, missing

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
    """A fast check that accepts most values without `Variable.faults`.

    Attributes:
        kinds: The exact types that are accepted; empty if a value needs further checks.
        enum: The allowed values; empty if every value is allowed.
        low: The least number; None if numbers are not compared.
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
        self._defaults = {n: variable.filled(variable.default) for n, variable in variables.items()}
        self._required = {name for name, variable in variables.items() if variable.required}
        self._nested = {name for name, variable in variables.items() if variable.nested}
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
            if kind not in ATOMS and not (kind is list and {*map(type, value)} <= ATOMS):
                check_plain(value, f"variable {name!r}", VariableError)
            if kind is not exact[name]:
                kinds, enum, low, high = rules[name]
                if not (
                    kind in kinds
                    and (not enum or value in enum)
                    and (low is None or low <= value <= high)
                ) and self._variables[name].faults(value):
                    self._fail(given)
            if kind is str:
                size += len(value)
            elif kind not in ATOMS:
                item, own[name], more = (
                    self._filled(name, value) if name in self._nested else _taken(value)
                )
                # The mapping is not shared before this function returns.
                dict.__setitem__(frozen, name, item)
                size += more
        for name, value in self._containers.items():
            if name not in given:
                item, own[name], _ = _taken(value)
                dict.__setitem__(frozen, name, item)
        return Values(frozen, own, size)

    def _filled(self, name: str, value: Any) -> tuple[Any, Any, int]:
        """Return the parts of a value with the defaults of its fields; its size is without them.

        A file could otherwise raise the limit of a render, which grows with the caller's values.
        """
        filled = self._variables[name].filled(value)
        if filled is value:
            return _taken(value)
        # A long list of objects repeats the defaults of each.
        check_plain(filled, f"variable {name!r} with the defaults of its fields", VariableError)
        item, own, _ = _taken(filled)
        return item, own, _taken(value)[2]

    def _fail(self, given: Mapping[str, Any]) -> None:
        declared = self._variables
        faults = [
            f"unknown variable {name!r}{did_you_mean(name, declared)}" + _known(declared)
            for name in given
            if name not in declared
        ]
        for name, variable in declared.items():
            if name in given:
                faults += variable.errors(given[name])
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
    kinds = (
        _ANY if bounded or variable.pattern or variable.nested else _KINDS.get(variable.type, _ANY)
    )
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
