"""Plain data that cannot be changed: what a plugin holds is nobody else's."""

from __future__ import annotations

import copy
import operator
from collections.abc import Mapping
from typing import Any, NoReturn, Self, TypeVar

ATOMS = frozenset((str, int, float, bool, type(None)))
_TEXT = frozenset((str,))


T = TypeVar("T")


class NotPlain(Exception):
    """A value is not made of texts, numbers, null, lists and mappings alone."""


class FrozenDict(dict[str, Any]):
    """A mapping that refuses changes: a `dict` to json and to `==`, read-only to everyone else."""

    __slots__ = ()

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise TypeError("this mapping is read-only: build a new one, as in {**old, 'key': value}")

    __setitem__ = __delitem__ = clear = pop = popitem = setdefault = update = _refuse
    __ior__ = _refuse

    def __reduce__(self) -> tuple[type[Self], tuple[dict[str, Any]]]:
        return type(self), (dict(self),)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self


def freeze(value: Any) -> Any:
    """Return a copy of plain data in which every mapping and list is read-only."""
    kind = type(value)
    if kind in ATOMS or isinstance(value, FrozenDict):
        return value
    # Item by item is ten times slower, and most lists and mappings hold only texts and numbers.
    if kind is list or kind is tuple:
        atoms = {*map(type, value)} <= ATOMS
        return tuple(value) if atoms else tuple([freeze(item) for item in value])
    if isinstance(value, Mapping):
        return FrozenDict({str(key): freeze(item) for key, item in value.items()})
    if isinstance(value, list | tuple):
        return tuple(freeze(item) for item in value)
    return value


def plain(value: Any) -> tuple[Any, int]:
    """Return a value as `freeze` does, and the length of the longest text or container in it.

    Raises:
        NotPlain: It holds an object of another type than JSON has, or of a type derived from those.
    """
    kind = type(value)
    if kind is str:
        return value, len(value)
    if kind in ATOMS:
        return value, 1
    # Written for speed, as every value of every render comes by here: `max` of two would be a call.
    if kind is list or kind is tuple:
        longest = len(value)
        if {*map(type, value)} == _TEXT:
            size = max(map(len, value))
            return tuple(value), size if size > longest else longest
        items = []
        for item in value:
            found, size = plain(item)
            items.append(found)
            longest = size if size > longest else longest
        return tuple(items), longest
    if (kind is dict or kind is FrozenDict) and {*map(type, value)} <= _TEXT:
        longest, made = len(value), {}
        for key, item in value.items():
            made[key], size = (item, len(item)) if type(item) is str else plain(item)
            longest = size if size > longest else longest
        size = max(map(len, value)) if value else 0
        return FrozenDict(made), size if size > longest else longest
    raise NotPlain


def thaw(value: Any) -> Any:
    """Return a copy of frozen data that its receiver may change."""
    if type(value) in ATOMS:
        return value
    if isinstance(value, Mapping):
        return {key: thaw(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [thaw(item) for item in value]
    return copy.deepcopy(value)


def replaced(value: T, changes: dict[str, Any]) -> T:
    """Return a copy of a dataclass with slots in which some fields are changed.

    As `dataclasses.replace`, which looks at every field's definition and takes twice as long.
    """
    names: tuple[str, ...] = value.__slots__  # type: ignore[attr-defined]
    kept = zip(names, operator.attrgetter(*names)(value), strict=True)
    return type(value)(**{**dict(kept), **changes})
