"""What a shortcut runs: the operations of templates on plain values, without the meter.

Plain values are texts, numbers, null, tuples and read-only mappings of exactly these types (see
`frozen.plain`): no operation on them runs anybody's code or finds an attribute that matters. What
meets anything else, or would make too much, raises `GivenUp`: see `shortcut`.
"""

from __future__ import annotations

import contextlib
import functools
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jinja2
from jinja2 import filters as jinja_filters
from jinja2 import tests as jinja_tests

from personakit.cost import MAX_SIZE, MAX_STEPS
from personakit.frozen import FrozenDict

# Every part of a template is a step here, and costs the meter at most four.
_STEPS = MAX_STEPS // 4
_CHARACTERS = _STEPS * 64
_MAX_NUMBER = 2**63
_NUMBERS = (int, float)
# What is written with these is no longer than what is given: no widths, few digits.
_FORMAT = re.compile(r"(?:[^%]|%%|%(?:\.\d)?[dfgs])*")
_ITERABLE = frozenset((tuple, list, str, FrozenDict))

Root = Callable[[Any], Iterator[str]]


class GivenUp(Exception):
    """A template needs the meter after all."""


class Context:
    """What Jinja's code asks of a context, and what one render has used.

    Jinja's own takes longer to make than most templates take to render.

    Args:
        names: A value for every name that the template uses.
        longest: The length of the longest text, list or mapping in them.
        steps: The parts of the templates that are about to be rendered.
        linear: How many of them may read or make a text.

    Attributes:
        steps: The parts of templates that are done, all turns of loops counted.
        linear: How many of them may have read or made a text.
        longest: The length of the longest that there was to read.
        most: How many characters may be written.
    """

    __slots__ = ("linear", "longest", "most", "resolve_or_missing", "steps")

    def __init__(self, names: Mapping[str, Any], longest: int, steps: int, linear: int) -> None:
        self.resolve_or_missing = names.__getitem__
        self.longest = longest
        self.most = MAX_SIZE + longest
        self.steps = steps
        self.linear = linear
        if steps > _STEPS or linear * longest > _CHARACTERS:
            raise GivenUp

    def enter(self, turns: int, steps: int, linear: int) -> None:
        """Charge for all turns of a loop."""
        self.steps += turns * steps
        self.linear += turns * linear
        if self.steps > _STEPS or self.linear * self.longest > _CHARACTERS:
            raise GivenUp

    def made(self, text: str) -> str:
        """Charge for a text that may be longer than those that it was made from."""
        if len(text) > self.longest:
            self.longest = len(text)
            self.enter(0, 0, 0)
        return text

    def run(self, root: Root, piece: int) -> str:
        """Return the text that a compiled template makes.

        Args:
            root: The template, which was charged for.
            piece: The length of the longest text between its tags.
        """
        parts = list(root(self))
        # Before they are joined: a hundred thousand times the same text takes no room until then.
        many = self.steps * max(self.longest, piece) > self.most
        if many and sum(map(len, parts)) > self.most:
            raise GivenUp
        return "".join(parts)


def text(value: Any) -> str:
    """Return a value as it is written into a prompt."""
    kind = type(value)
    if kind is str:
        return value  # type: ignore[no-any-return]
    if kind is int and -_MAX_NUMBER < value < _MAX_NUMBER:
        return str(value)
    # What an `if` without an `else` gives is no name without a value: it is nothing.
    if kind is float or kind is bool or kind is jinja2.Undefined:
        return str(value)
    raise GivenUp


def calculable(value: Any) -> None:
    """Give up for anything but a number that is not large."""
    if type(value) not in _NUMBERS or not -_MAX_NUMBER < value < _MAX_NUMBER:
        raise GivenUp


def _expect(value: Any, *kinds: type) -> None:
    if type(value) not in kinds:
        raise GivenUp


@jinja2.pass_context
def _each(context: Context, values: Any, steps: int, linear: int) -> Any:
    if type(values) not in _ITERABLE:
        raise GivenUp
    context.enter(len(values), steps, linear)
    return values


@jinja2.pass_context
def _range(context: Context, *limits: Any) -> tuple[int, ...]:
    for limit in limits:
        _expect(limit, int)
    with contextlib.suppress(KeyError):
        context.resolve_or_missing("range")
        raise GivenUp  # a variable of that name
    found = range(*limits)
    return tuple(found) if len(found) < _STEPS else _give_up()


@jinja2.pass_context
def _concat(context: Context, *parts: Any) -> str:
    return context.made("".join(map(text, parts)))


@jinja2.pass_context
def _join(context: Context, values: Any, d: Any = "", attribute: str | None = None) -> str:
    _expect(values, tuple)
    _expect(d, str)
    context.enter(len(values), 1, 1)
    if attribute is not None:
        if not attribute.isidentifier():
            raise GivenUp
        values = [value[attribute] if type(value) is FrozenDict else _give_up() for value in values]
    if len(d) * len(values) > MAX_SIZE:
        raise GivenUp
    return context.made(d.join(map(text, values)))


def _give_up() -> Any:
    raise GivenUp


@jinja2.pass_context
def _replace(context: Context, value: Any, old: Any, new: Any) -> str:
    for given in (value, old, new):
        _expect(given, str)
    if value.count(old) * len(new) > MAX_SIZE:
        raise GivenUp
    return context.made(value.replace(old, new))


@jinja2.pass_context
def _tojson(context: Context, value: Any, indent: int | None = None) -> str:
    if indent is not None and indent not in range(17):
        raise GivenUp
    return context.made(json.dumps(value, ensure_ascii=False, indent=indent))


@jinja2.pass_context
def _sort(context: Context, values: Any) -> tuple[Any, ...]:
    _expect(values, tuple)
    context.enter(len(values), 4, 4 + len(values).bit_length())
    return tuple(jinja_filters.do_sort(context, values))  # type: ignore[arg-type]


def _odd(value: Any) -> bool:
    # Of a text, `%` is formatting.
    _expect(value, int)
    return bool(value % 2)


def _even(value: Any) -> bool:
    return not _odd(value)


def _first(values: Any) -> Any:
    _expect(values, tuple, str)
    return values[0]


def _last(values: Any) -> Any:
    _expect(values, tuple, str)
    return values[-1]


def _title(value: Any) -> str:
    _expect(value, str)
    return jinja_filters.do_title(value)


def _length(value: Any) -> int:
    _expect(value, tuple, str, FrozenDict)
    return len(value)


def _round(value: Any, precision: int = 0) -> Any:
    _expect(value, int, float)
    _expect(precision, int)
    return jinja_filters.do_round(value, precision) if abs(precision) < 100 else _give_up()


def _int(value: Any) -> int:
    _expect(value, int, float, str)
    found = jinja_filters.do_int(value) if type(value) is not str or len(value) < 20 else _give_up()
    return found if -_MAX_NUMBER < found < _MAX_NUMBER else _give_up()


def _abs(value: Any) -> Any:
    calculable(value)
    return abs(value)


@jinja2.pass_context
def _format(context: Context, value: Any, *given: Any) -> str:
    if type(value) is not str or not _FORMAT.fullmatch(value):
        raise GivenUp
    for item in given:
        if type(item) is not str:
            calculable(item)
    return context.made(value % given)


def _list(value: Any) -> Any:
    _expect(value, tuple)
    return value


def _wordcount(value: Any) -> int:
    _expect(value, str)
    return jinja_filters.do_wordcount(value)


def _of_numbers(function: Callable[[Any], Any]) -> Callable[..., Any]:
    @jinja2.pass_context
    def run(context: Context, values: Any) -> Any:
        _expect(values, tuple)
        context.enter(len(values), 1, 1)
        for value in values:
            calculable(value)
        return function(values)

    return run


def _divisible(value: Any, number: Any) -> bool:
    _expect(value, int)
    _expect(number, int)
    return bool(value % number == 0)


def _starts(value: str, start: Any) -> bool:
    _expect(start, str)
    return value.startswith(start)


def _ends(value: str, end: Any) -> bool:
    _expect(end, str)
    return value.endswith(end)


@jinja2.pass_context
def _split(context: Context, value: Any, separator: Any = None) -> tuple[str, ...]:
    _expect(value, str)
    found = tuple(value.split(separator))
    context.enter(len(found), 1, 1)
    return found


@jinja2.pass_context
def _joining(context: Context, separator: Any, values: Any) -> str:
    return _join(context, values, separator)


def _view(value: Any, name: str) -> Any:
    _expect(value, FrozenDict)
    return tuple(getattr(value, name)())


# Methods of texts raise a TypeError for anything else, which is as good as giving up.
FILTERS: dict[str, Callable[..., Any]] = {
    "abs": _abs, "capitalize": str.capitalize, "count": _length, "d": jinja_filters.do_default,
    "default": jinja_filters.do_default, "first": _first, "format": _format, "int": _int,
    "join": _join, "last": _last, "length": _length, "list": _list, "lower": str.lower,
    "max": _of_numbers(max), "min": _of_numbers(min), "replace": _replace, "round": _round,
    "sort": _sort, "string": text, "sum": _of_numbers(sum), "title": _title, "tojson": _tojson,
    "trim": str.strip, "upper": str.upper, "wordcount": _wordcount,
}  # fmt: skip
METHODS: dict[str, Callable[..., Any]] = {
    "capitalize": str.capitalize, "endswith": _ends, "join": _joining, "lower": str.lower,
    "replace": _replace, "split": _split, "startswith": _starts, "strip": str.strip,
    "title": str.title, "upper": str.upper,
}  # fmt: skip
VIEWS = frozenset(("items", "keys", "values"))
SAFE_FILTERS = frozenset(FILTERS)
_SAFE_TESTS = (
    "boolean defined false float integer iterable mapping none number sequence string true "
    "undefined"
)
TESTS: dict[str, Any] = {"divisibleby": _divisible, "even": _even, "odd": _odd}
TESTS |= {name: jinja_tests.TESTS[name] for name in _SAFE_TESTS.split()}
FILTERS |= {"_concat": _concat, "_each": _each, "_range": _range}
FILTERS |= {f".{name}": method for name, method in METHODS.items()}
FILTERS |= {f".{name}": functools.partial(_view, name=name) for name in VIEWS}
