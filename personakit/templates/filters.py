"""The filters and tests of templates, which charge to the budget of the current render."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from typing import Any, NoReturn

import jinja2
from jinja2 import filters as jinja_filters
from jinja2 import tests as jinja_tests
from jinja2.utils import missing

from personakit.templates.budget import (
    PAIRS_PER_STEP,
    Budget,
    LimitExceeded,
    Refused,
    current_budget,
    integers,
    size_of,
)

# Filters that are removed: those for HTML; `random`, which would make renders differ; and `pprint`,
# which writes memory addresses.
_DROPPED = frozenset("filesizeformat pprint random striptags urlize xmlattr".split())
# Filters that convert any value to text.
_TEXT = frozenset(
    "capitalize center e escape forceescape format indent lower replace safe string title trim "
    "truncate upper urlencode wordcount wordwrap".split()
)
# Filters that yield items lazily, and may read items that they do not yield.
_LAZY = frozenset("batch map reject rejectattr select selectattr".split())
# Filters that compare each item about log2(n) times, or keep all items.
_SORTING = frozenset("dictsort groupby max min sort sum unique".split())
# The position of their `attribute` argument, counted after the value.
_BY = {"groupby": 0, "max": 1, "min": 1, "sort": 2, "unique": 1}
_ATTRIBUTE = _SORTING | _LAZY
# The price of applying another filter or test, given by its name, to one item.
_STEPS_PER_ITEM = 6
_SHORT = 256
"""The length up to which filtering a text is included in the price of its node."""
_FEW = 16
"""The number of texts up to which a list is joined before the result is charged."""
_ONLY_TEXT = {str}
# Filters that read only the type or the length of a value.
_FREE = frozenset("abs attr count d default first last length".split())
_FREE_TESTS = frozenset(
    "boolean callable defined escaped false filter float integer iterable mapping none number "
    "sameas sequence string test true undefined".split()
)
_REMAINDER = frozenset("divisibleby even odd".split())


class MissingField(jinja2.UndefinedError):
    """An access to a missing field or item.

    Attributes:
        obj: The value.
        name: The name of the field, or the index of the item.
    """

    def __init__(self, obj: Any, name: Any, message: str | None = None) -> None:
        super().__init__(message)
        self.obj, self.name = obj, name


class Undefined(jinja2.StrictUndefined):
    """An undefined value: using it raises an error that knows what is missing."""

    __slots__ = ()

    def __init__(
        self,
        hint: str | None = None,
        obj: Any = missing,
        name: Any = None,
        exc: Callable[..., Exception] = jinja2.UndefinedError,
    ) -> None:
        if hint is None and obj is not missing:
            exc = functools.partial(MissingField, obj, name)
        super().__init__(hint, obj, name, exc)  # type: ignore[arg-type]


def writable(value: Any) -> Any:
    """Return a value that a prompt may contain; reject others, such as methods, with `Refused`."""
    if isinstance(value, str | int | float | jinja2.Undefined):
        return value
    if value is None:
        raise Refused(
            "cannot write nothing (null); test it first, as in {% if x %}{{ x }}{% endif %}"
        )
    current_budget.get().made(value)
    waiting: list[Any] = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, Mapping):
            waiting.extend(item.values())
        elif isinstance(item, list | tuple | set | frozenset):
            waiting.extend(item)
        elif isinstance(item, jinja2.Undefined):
            str(item)  # raises the error
        elif not isinstance(item, str | int | float | None):
            _refuse(item)
    return value


def _refuse(value: Any) -> NoReturn:
    kind = type(value).__name__
    hint = "did you forget the ()?" if callable(value) else "end it with a filter such as |list"
    raise Refused(f"a {kind} object is not allowed in a prompt; {hint}")


def text(value: Any) -> str:
    """Return the text of a value in a prompt."""
    kind = value.__class__
    if kind is int or kind is float or kind is bool or kind is str:
        return str(value)
    return str(writable(value))


def joined(joint: str, values: Iterable[Any]) -> str:
    """Return ``joint.join(values)``; reject a result that is too large."""
    budget = current_budget.get()
    items = values if isinstance(values, list | tuple) else list(budget.steps(values))
    budget.charge(2 * len(items))
    if {*map(type, items)} <= _ONLY_TEXT:
        size = sum(map(len, items))
    else:
        writable(items)
        size = size_of(items, budget.size)
    # Markup escapes the texts that it joins.
    budget.room(len(joint) * len(items) + (size if joint.__class__ is str else 6 * size))
    return joint.join(items)


@jinja2.pass_environment
def _join(env: jinja2.Environment, value: Any, d: Any = "", attribute: Any = None) -> str:
    short = attribute is None and value.__class__ is list and len(value) <= _FEW
    if short and d.__class__ is str and {*map(type, value)} == _ONLY_TEXT:
        result: str = d.join(value)
        if len(result) > _SHORT:
            current_budget.get().room(len(result))
        return result
    budget, separator = current_budget.get(), text(d)
    if attribute is not None:
        price = _STEPS_PER_ITEM + _parts(attribute)
        getter = jinja_filters.make_attrgetter(env, attribute)
        value = [getter(item) for item in budget.steps(value, price)]
    elif not isinstance(value, list | tuple):
        value = list(budget.steps(value))
    budget.charge(2 * len(value))
    parts = [item if item.__class__ is str else text(item) for item in value]
    budget.room(sum(map(len, parts)) + len(separator) * len(parts))
    return separator.join(parts)


def _tojson(value: Any, indent: int | None = None, *, compact: bool = False) -> str:
    """Serialize as JSON without the HTML escapes of Jinja's tojson; `compact` without spaces."""
    if indent is not None and indent not in range(17):
        raise Refused("the indent of tojson must be from 0 to 16")
    budget = current_budget.get()
    budget.made(value)
    marks = (",", ":") if compact and indent is None else None
    encoder = json.JSONEncoder(ensure_ascii=False, indent=indent, separators=marks)
    return budget.concat(encoder.iterencode(value))


def _of_short_texts(function: Callable[[str], str], general: Callable[..., Any]) -> Any:
    """Return a filter with a fast path for a short text without further arguments."""

    @functools.wraps(general)
    def run(value: Any, *args: Any, **kwargs: Any) -> Any:
        if value.__class__ is str and len(value) <= _SHORT and not args and not kwargs:
            return function(value)
        return general(value, *args, **kwargs)

    return run


@jinja2.pass_eval_context
def _replace(context: Any, value: Any, *args: Any, **kwargs: Any) -> Any:
    if len(args) == 2 and not kwargs and value.__class__ is str and len(value) <= _SHORT:
        old, new = args
        if old.__class__ is str and new.__class__ is str and len(new) <= _SHORT // 8:
            return value.replace(old, new)
    return _measured_replace(context, value, *args, **kwargs)


def measured(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a filter that charges what it takes in and what it gives out."""
    passes = int(hasattr(function, "jinja_pass_arg"))
    check = _BEFORE.get(name)

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        budget = current_budget.get()
        first, *rest = args[passes:]
        price = _STEPS_PER_ITEM
        if name in _ATTRIBUTE:
            price += sum(map(_parts, (*rest, *kwargs.values())))
        first = _taken(budget, name, first, price)
        attribute = _argument((*rest,), kwargs, _BY[name], "attribute") if name in _BY else None
        if attribute is not None:
            first = _keyed(budget, args[0], first, attribute)
        if name in _TEXT:
            writable(first)
            for value in (*rest, *kwargs.values()):
                if value is not None:
                    writable(value)
        if check is not None:
            check(budget, (first, *rest), kwargs)
        result = function(*args[:passes], first, *rest, **kwargs)
        return budget.steps(result) if isinstance(result, Iterator) else budget.made(result)

    return run


def _taken(budget: Budget, name: str, value: Any, price: int) -> Any:
    """Charge for the input of a filter; return it."""
    if isinstance(value, Iterator):
        value = budget.steps(value, price)
        if name not in _SORTING:
            return value
        value = list(value)
    if name in _SORTING:
        # Each comparison may read two values completely.
        size, items = budget.whole(value), len(value) if isinstance(value, Sized) else 1
        budget.charge(price * items + size * items.bit_length() // 64)
    elif name in _LAZY and isinstance(value, Iterable) and value:
        return budget.steps(value, price)
    else:
        budget.read(value)
    return value


def _keyed(budget: Budget, env: Any, values: Any, attribute: Any) -> Any:
    """Charge for the attributes by which values are sorted; return the values."""
    values = list(values)
    size = 0
    for name in attribute.split(",") if isinstance(attribute, str) else [attribute]:
        getter = jinja_filters.make_attrgetter(env, name)
        size += sum(budget.whole(getter(value)) for value in values)
    budget.charge(size * len(values).bit_length() // 64)
    return values


def _parts(attribute: Any) -> int:
    """Return the price of an attribute such as ``a.b``: a failed lookup takes longest."""
    return 1 + 3 * attribute.count(".") + attribute.count(",") if isinstance(attribute, str) else 0


def tested(name: str, function: Any) -> Callable[..., Any]:
    """Return a test, as in `x is lower`, that charges for its arguments."""
    passes = int(hasattr(function, "jinja_pass_arg"))

    @functools.wraps(function)
    def run(*args: Any) -> Any:
        budget = current_budget.get()
        values = args[passes:]
        for value in values:
            budget.whole(value)
        if name in _REMAINDER and isinstance(args[0], str):
            # For str, `%` formats; it is not a remainder.
            budget.format(args[0], args[1:])
        if name == "in" and len(values) == 2 and isinstance(values[1], str):
            budget.searching(values[1], values[0])
        return function(*args)

    return run


Check = Callable[[Budget, tuple[Any, ...], Mapping[str, Any]], None]


def _argument(given: tuple[Any, ...], kwargs: Mapping[str, Any], at: int, name: str) -> Any:
    return given[at] if len(given) > at else kwargs.get(name)


def _escaped(budget: Budget, given: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    written = given[0] if isinstance(given[0], str) else str(given[0])
    budget.room(len(written) + 4 * sum(map(written.count, "&<>\"'")))


def _lines(budget: Budget, given: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    text, *rest = given
    lines = text.count("\n") + 1 if isinstance(text, str) else 1
    values = (*rest, *kwargs.values())
    texts = [len(v) for v in values if isinstance(v, str)]
    budget.room(size_of(text, budget.size) + lines * max([0, *integers(values), *texts]))


def _wrapped(budget: Budget, given: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    text, width = str(given[0]), _argument(given, kwargs, 1, "width") or 79
    joint = _argument(given, kwargs, 3, "wrapstring") or "\n"
    budget.room(len(text) * (1 + len(str(joint))))
    # A long word is cut piece by piece, and copied each time.
    longest = max(map(len, re.findall(r"\s+|\S+", text)), default=0)
    budget.charge(longest * longest // max(int(width), 1) // PAIRS_PER_STEP)


def _pieces(budget: Budget, given: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    numbers = integers((*given[1:], *kwargs.values()))
    budget.room(size_of(given[0], budget.size) + max([0, *numbers]))


def _replaced(budget: Budget, given: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    old, new = _argument(given, kwargs, 1, "old"), _argument(given, kwargs, 2, "new")
    budget.searching(str(given[0]), str(old))
    budget.replacing(str(given[0]), str(old), str(new))


def _rounded(budget: Budget, given: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    if any(abs(digits) > 300 for digits in integers((*given[1:], *kwargs.values()))):
        raise LimitExceeded("a number would be too large: the limit of round is 300 digits")


def _summed(budget: Budget, given: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    start = _argument(given, kwargs, 2, "start")
    if start is not None and not isinstance(start, int | float):
        raise Refused("sum accepts numbers only; join strings with |join")


# Checks of the size of a result, which run before the filter.
_BEFORE: dict[str, Check] = {
    "batch": _pieces,
    "center": _lines,
    "e": _escaped,
    "escape": _escaped,
    "forceescape": _escaped,
    "format": lambda budget, given, kwargs: budget.format(str(given[0]), kwargs or given[1:]),
    "indent": _lines,
    "replace": _replaced,
    "round": _rounded,
    "slice": _pieces,
    "sum": _summed,
    "trim": lambda budget, given, kwargs: budget.searching(
        str(given[0]), _argument(given, kwargs, 1, "chars"), from_the_end=True
    ),
    "wordwrap": _wrapped,
}

_measured_replace = measured("replace", jinja_filters.FILTERS["replace"])
FILTERS: dict[str, Callable[..., Any]] = {
    name: measured(name, jinja_filters.FILTERS[name])
    for name in jinja_filters.FILTERS
    if name not in _DROPPED
}
FILTERS |= {name: jinja_filters.FILTERS[name] for name in _FREE}
FILTERS |= {"join": _join, "tojson": measured("tojson", _tojson), "replace": _replace}
for _name, _function in {
    "capitalize": str.capitalize,
    "lower": str.lower,
    "title": jinja_filters.FILTERS["title"],
    "trim": str.strip,
    "upper": str.upper,
}.items():
    FILTERS[_name] = _of_short_texts(_function, FILTERS[_name])
_tests: dict[str, Any] = jinja_tests.TESTS
TESTS: dict[str, Callable[..., Any]] = {
    name: function if name in _FREE_TESTS else tested(name, function)
    for name, function in _tests.items()
}
