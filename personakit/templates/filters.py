"""The filters and tests of templates, each within the budget of the current render."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from typing import Any, NoReturn

import jinja2
from jinja2 import filters as jinja_filters

from personakit.templates.budget import (
    PAIRS_PER_STEP,
    Budget,
    LimitExceeded,
    Refused,
    current_budget,
    integers,
    size_of,
)

# Left out: HTML filters, which have no place in a prompt, `random`, which would make a render
# differ from itself, and `pprint`, which writes memory addresses.
_DROPPED = frozenset(
    "e escape filesizeformat forceescape pprint random safe striptags urlize xmlattr".split()
)
# These turn whatever they are given into text.
_TEXT = frozenset(
    "capitalize center format indent lower replace string title trim truncate upper urlencode "
    "wordcount wordwrap".split()
)
# These compare each item about log2(n) times, or keep them all.
_REMAINDER = frozenset("divisibleby even odd".split())
_SORTING = frozenset("dictsort groupby max min sort sum unique".split())


class Undefined(jinja2.StrictUndefined):
    """A name that has no value: an error wherever it is used, whose message says which."""

    __slots__ = ()


def writable(value: Any) -> Any:
    """Return a value, or refuse what has no business in a prompt, such as a method's address."""
    if isinstance(value, str | int | float | jinja2.Undefined):
        return value
    if value is None:
        raise Refused(
            "nothing (null) would be written; test it first, as in {% if x %}{{ x }}{% endif %}"
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
            str(item)  # says what is undefined
        elif not isinstance(item, str | int | float | None):
            _refuse(item)
    return value


def _refuse(value: Any) -> NoReturn:
    kind = type(value).__name__
    hint = "did you forget the ()?" if callable(value) else "end it with a filter such as |list"
    raise Refused(f"a {kind} object is not allowed in a prompt; {hint}")


def text(value: Any) -> str:
    """Return a value as it is written into a prompt."""
    budget = current_budget.get()
    budget.charge(1)
    return str(budget.made(writable(value)))


def joined(separator: str, values: Iterable[Any]) -> str:
    """Join values, refusing to build more than fits."""
    budget = current_budget.get()

    def parts() -> Iterator[str]:
        for number, value in enumerate(budget.steps(values)):
            if number:
                yield separator
            yield text(value)

    return budget.concat(parts())


@jinja2.pass_environment
def _join(env: jinja2.Environment, value: Any, d: Any = "", attribute: Any = None) -> str:
    getter = jinja_filters.make_attrgetter(env, attribute) if attribute is not None else None
    return joined(text(d), value if getter is None else map(getter, value))


def _tojson(value: Any, indent: int | None = None) -> str:
    """Jinja's tojson escapes for HTML, which a prompt is not."""
    if indent is not None and indent not in range(17):
        raise Refused("the indent of tojson is a number from 0 to 16")
    budget = current_budget.get()
    budget.made(value)
    return budget.concat(json.JSONEncoder(ensure_ascii=False, indent=indent).iterencode(value))


def measured(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a filter that charges what it takes in and what it gives out."""
    passes = int(hasattr(function, "jinja_pass_arg"))
    check = _BEFORE.get(name)

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        budget = current_budget.get()
        first, *rest = args[passes:]
        if isinstance(first, Iterator):
            first = budget.steps(first)
            if name in _SORTING:
                first = list(first)
        budget.made(first) if name in _SORTING else budget.read(first)
        if name in _SORTING and isinstance(first, Sized):
            budget.charge(4 * len(first))
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


def tested(name: str, function: Any) -> Callable[..., Any]:
    """Return a test, as in `x is lower`, that charges for what it looks at."""
    passes = int(hasattr(function, "jinja_pass_arg"))

    @functools.wraps(function)
    def run(*args: Any) -> Any:
        budget = current_budget.get()
        budget.charge(1)
        for value in args[passes:]:
            budget.read(value)
        # These are `%`, which of a text is formatting.
        if name in _REMAINDER and isinstance(args[0], str):
            budget.format(args[0], args[1:])
        return function(*args)

    return run


Check = Callable[[Budget, tuple[Any, ...], Mapping[str, Any]], None]


def _argument(given: tuple[Any, ...], kwargs: Mapping[str, Any], at: int, name: str) -> Any:
    return given[at] if len(given) > at else kwargs.get(name)


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
    budget.replacing(str(given[0]), str(old), str(new))


def _rounded(budget: Budget, given: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    if any(abs(digits) > 300 for digits in integers((*given[1:], *kwargs.values()))):
        raise LimitExceeded("a number would be too large: the limit of round is 300 digits")


def _summed(budget: Budget, given: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    start = _argument(given, kwargs, 2, "start")
    if start is not None and not isinstance(start, int | float):
        raise Refused("sum adds up numbers only; join texts with |join")


# What the result of a filter may come to, checked before it runs.
_BEFORE: dict[str, Check] = {
    "batch": _pieces,
    "center": _lines,
    "format": lambda budget, given, kwargs: budget.format(str(given[0]), kwargs or given[1:]),
    "indent": _lines,
    "replace": _replaced,
    "round": _rounded,
    "slice": _pieces,
    "sum": _summed,
    "trim": lambda budget, given, kwargs: budget.searching(
        str(given[0]), _argument(given, kwargs, 1, "chars")
    ),
    "wordwrap": _wrapped,
}


FILTERS: dict[str, Callable[..., Any]] = {
    name: function for name, function in jinja_filters.FILTERS.items() if name not in _DROPPED
}
FILTERS |= {"join": _join, "tojson": _tojson}
