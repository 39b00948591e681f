"""Immutable plain data: a plugin cannot change what others hold."""

from __future__ import annotations

import copy
import dataclasses
import functools
import operator
from collections.abc import Collection, Mapping
from typing import Any, NoReturn, Self, TypeVar

from personakit.errors import UsageError

ATOMS = frozenset((str, int, float, bool, type(None)))
MAX_DEPTH = 64
"""The most levels of mappings and lists in a value. Python's own functions stop at about 1,000."""
MAX_ITEMS = 1_000_000
"""The most items in the nested mappings and lists of a value; a shared one counts each time."""
_CONTAINERS = (dict, list, tuple, Mapping)


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


def freeze(value: Any, what: str = "the value") -> Any:
    """Return a copy of plain data in which every mapping and list is read-only.

    Args:
        value: The data; values other than plain data are kept.
        what: The name of the value in errors.

    Raises:
        UsageError: The value contains itself, or exceeds `MAX_DEPTH` or `MAX_ITEMS`.
    """
    kind = type(value)
    if kind in ATOMS or isinstance(value, FrozenDict):
        return value
    # Freezing each item is ten times slower, and most lists hold only strings and numbers.
    if (kind is list or kind is tuple) and {*map(type, value)} <= ATOMS:
        return tuple(value)
    check_plain(value, what)
    return freeze_json(value)


def freeze_json(value: Any, levels: int = MAX_DEPTH) -> Any:
    """Return a copy of parsed JSON in which every mapping and list is read-only.

    It takes one pass, because no list occurs in parsed JSON twice.

    Args:
        value: The data.
        levels: The most levels of mappings and lists.

    Raises:
        RecursionError: The value has more levels.
    """
    kind = type(value)
    if kind in ATOMS or isinstance(value, FrozenDict):
        return value
    if levels < 0:
        raise RecursionError
    if kind is list or kind is tuple:
        atoms = {*map(type, value)} <= ATOMS
        return tuple(value) if atoms else tuple([freeze_json(item, levels - 1) for item in value])
    if isinstance(value, Mapping):
        return FrozenDict({str(key): freeze_json(v, levels - 1) for key, v in value.items()})
    if isinstance(value, list | tuple):
        return tuple(freeze_json(item, levels - 1) for item in value)
    return value


def check_plain(value: Any, what: str, kind: type[UsageError] = UsageError) -> None:
    """Check that a value is not nested too deep, and that its items are not too many.

    Recursion would end in an error for a value that contains itself, and would not end in time for
    one whose lists contain the same list many times.

    Args:
        value: Any value; only mappings, lists and tuples are searched.
        what: The name of the value in the error.
        kind: The type of the error.

    Raises:
        UsageError: The value contains itself, or exceeds `MAX_DEPTH` or `MAX_ITEMS`.
    """
    # Each container of a level with the number of its occurrences.
    level: dict[int, tuple[Any, int]] = {}
    if isinstance(value, _CONTAINERS):
        level[0] = value, 1
    count = 0
    for _ in range(MAX_DEPTH):
        below: dict[int, tuple[Any, int]] = {}
        for container, times in level.values():
            count += len(container) * times
            # A single flat list may be as long as it is.
            if count > MAX_ITEMS and (times > 1 or len(level) > 1):
                raise kind(f"{what} has more than {MAX_ITEMS:,} nested items, or contains itself")
            for item in _nested(container):
                below[id(item)] = item, below.get(id(item), (item, 0))[1] + times
        if not below:
            return
        level = below
    raise kind(f"{what} is nested more than {MAX_DEPTH} levels deep, or contains itself")


def _nested(container: Any) -> list[Any]:
    """Return the mappings and lists in a mapping or list; a key may be a tuple."""
    items: Collection[Any] = container
    nested: list[Any] = []
    if isinstance(container, Mapping):
        items = container.values()
        if not {*map(type, container)} <= ATOMS:
            nested = [key for key in container if isinstance(key, tuple)]
    if not {*map(type, items)} <= ATOMS:
        nested += [item for item in items if isinstance(item, _CONTAINERS)]
    return nested


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
    names: dict[str, Any] = {"missing": dataclasses.MISSING, "__name__": __name__}
    parameters, lines = ["self"], []
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]
        if not field.init:
            continue
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
    # That of dataclasses refers to the class without slots, and raises a TypeError for a name that
    # is not a field; a generic class is called with one: `Response[int](…)`.
    type.__setattr__(cls, "__setattr__", _refuse)
    return cls


def _refuse(value: object, name: str, _: object) -> NoReturn:
    raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")


def replaced(value: T, changes: dict[str, Any]) -> T:
    """Return a copy of a dataclass with slots, with some fields changed.

    Like `dataclasses.replace`, which inspects every field and takes twice as long.
    """
    names: tuple[str, ...] = value.__slots__  # type: ignore[attr-defined]
    kept = zip(names, operator.attrgetter(*names)(value), strict=True)
    return type(value)(**{**dict(kept), **changes})


def list_only(cls: type, names: Collection[str]) -> None:
    """Let `dataclasses.fields` list only some fields of a dataclass.

    `dataclasses.asdict`, and the frameworks and serializers that know dataclasses, then write only
    these. The constructor and `dataclasses.replace` still take the others, which become what
    `dataclasses.InitVar` declares.
    """
    hidden: Any = vars(dataclasses)["_FIELD_INITVAR"]
    for name, field in vars(cls)["__dataclass_fields__"].items():
        if name not in names:
            field._field_type = hidden
            # `dataclasses.replace` demands a value for an `InitVar` without a default.
            if field.default is dataclasses.MISSING:
                field.default = field.default_factory()
