"""Immutable plain data: a plugin cannot change what others hold."""

from __future__ import annotations

import copy
import dataclasses
import functools
import operator
from collections.abc import Mapping
from typing import Any, NoReturn, Self, TypeVar

ATOMS = frozenset((str, int, float, bool, type(None)))


T = TypeVar("T")


class FrozenDict(dict[str, Any]):
    """A read-only `dict`, which json and `==` accept as a `dict`."""

    __slots__ = ()

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise TypeError("this mapping is read-only: create a new one, as in {**old, 'key': value}")

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
    # Freezing each item is ten times slower, and most lists hold only strings and numbers.
    if kind is list or kind is tuple:
        atoms = {*map(type, value)} <= ATOMS
        return tuple(value) if atoms else tuple([freeze(item) for item in value])
    if isinstance(value, Mapping):
        return FrozenDict({str(key): freeze(item) for key, item in value.items()})
    if isinstance(value, list | tuple):
        return tuple(freeze(item) for item in value)
    return value


def thaw(value: Any) -> Any:
    """Return a mutable copy of frozen data."""
    if type(value) in ATOMS:
        return value
    if isinstance(value, Mapping):
        return {key: thaw(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [thaw(item) for item in value]
    return copy.deepcopy(value)


def quick_init(cls: type[T]) -> type[T]:
    """Give a frozen dataclass with slots an `__init__` that takes half the time.

    `object.__setattr__`, which the one of dataclasses calls, looks up each attribute by its name;
    here the descriptors of the slots set them. The signature stays the same.
    """
    names: dict[str, Any] = {"missing": dataclasses.MISSING}
    parameters, lines = ["self"], []
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]
        name = value = field.name
        names[f"set_{name}"] = getattr(cls, name).__set__
        names[f"default_{name}"] = field.default
        if field.default_factory is not dataclasses.MISSING:
            names[f"make_{name}"] = field.default_factory
            value = f"make_{name}() if {name} is missing else {name}"
        is_required = field.default is field.default_factory
        parameters.append(name if is_required else f"{name}=default_{name}")
        lines.append(f" set_{name}(self, {value})")
    if hasattr(cls, "__post_init__"):
        lines.append(" self.__post_init__()")
    source = "\n".join([f"def __init__({', '.join(parameters)}):", *lines])
    scope: dict[str, Any] = {}
    exec(source, names, scope)  # noqa: S102 - as dataclasses does; the names are those of the fields
    init: Any = functools.update_wrapper(scope["__init__"], cls.__init__)
    type.__setattr__(cls, "__init__", init)
    return cls


def replaced(value: T, changes: dict[str, Any]) -> T:
    """Return a copy of a dataclass with slots, with some fields changed.

    Like `dataclasses.replace`, which inspects every field and takes twice as long.
    """
    names: tuple[str, ...] = value.__slots__  # type: ignore[attr-defined]
    kept = zip(names, operator.attrgetter(*names)(value), strict=True)
    return type(value)(**{**dict(kept), **changes})
