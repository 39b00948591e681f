"""The values of a persona's variables for one render."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from personakit.errors import VariableError, did_you_mean
from personakit.frozen import ATOMS, FrozenDict, NotPlain, freeze, plain, thaw
from personakit.variables import Variable, missing

_KINDS: dict[str, frozenset[type]] = {
    "string": frozenset((str,)),
    "integer": frozenset((int,)),
    "number": frozenset((int, float)),
    "boolean": frozenset((bool,)),
    "array": frozenset((list, tuple)),
    "object": frozenset((dict, FrozenDict)),
}
_ANY: frozenset[type] = frozenset()


class Values:
    """A value for every variable.

    Attributes:
        frozen: The values by name, read-only.
        longest: The length of the longest text, list or mapping in them; None for values that are
            not plain, such as an object that stands for a text.
    """

    __slots__ = ("_defaults", "_given", "frozen", "longest")

    def __init__(
        self,
        frozen: FrozenDict,
        longest: int | None,
        defaults: Mapping[str, Any],
        given: Mapping[str, Any],
    ) -> None:
        self.frozen = frozen
        self.longest = longest
        self._defaults = defaults
        self._given = given

    def copied(self) -> dict[str, Any]:
        """Return copies of the values as they were given: of the same types, and nobody else's."""
        return {name: _own(value) for name, value in {**self._defaults, **self._given}.items()}


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
        longest: int | None
        try:
            found, longest = plain(self._defaults)
        except NotPlain:
            found, longest = freeze(self._defaults), None
        self._plain = Values(found, longest, self._defaults, {})

    def values(self, given: Mapping[str, Any]) -> Values:
        """Return a value for every variable.

        Args:
            given: The values that the caller gives.

        Raises:
            VariableError: A value is unknown, missing or of the wrong kind; all of them are named.
        """
        if not given and not self._required:
            return self._plain
        frozen, longest = FrozenDict(self._plain.frozen), self._plain.longest
        # It is nobody else's yet.
        dict.update(frozen, given if type(given) is dict else _mapping(given))
        if len(frozen) != len(self._defaults) or not self._required <= given.keys():
            self._fail(given)
        for name, value in given.items():
            kinds, enum = self._rules[name]
            kind = type(value)
            known = kind in kinds and (not enum or value in enum)
            if kind is float and not math.isfinite(value):
                known = False
            if not known and self._variables[name].fault(value):
                self._fail(given)
            if kind is str:
                size = len(value)
            elif kind in ATOMS:
                size = 1
            else:
                try:
                    item, size = plain(value)
                except NotPlain:
                    item, size, longest = freeze(value), 0, None
                dict.__setitem__(frozen, name, item)
            if longest is not None and size > longest:
                longest = size
        return Values(frozen, longest, self._defaults, given)

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


def _mapping(given: Mapping[str, Any]) -> Mapping[str, Any]:
    if not isinstance(given, Mapping):
        found = type(given).__name__
        raise VariableError(f"variables are a mapping of names to values, found {found}")
    return given


def _rule(variable: Variable) -> _Rule:
    unbounded = variable.minimum is None and variable.maximum is None and not variable.pattern
    kinds = _KINDS.get(variable.type, _ANY) if unbounded else _ANY
    if variable.enum and variable.type in ("array", "object"):
        kinds = _ANY
    return _Rule(kinds, variable.enum)


def _own(value: Any) -> Any:
    return thaw(value) if isinstance(value, list | tuple | Mapping) else value


def _known(declared: Mapping[str, Variable]) -> str:
    names = ", ".join(declared)
    return f" (it has: {names})" if names else " (it declares none)"
