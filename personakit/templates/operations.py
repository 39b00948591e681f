"""What a shortcut runs: the filters, tests and methods of templates on plain values, unmetered."""

from __future__ import annotations

import contextlib
import functools
import json
import re
from collections.abc import Callable
from typing import Any

import jinja2
from jinja2 import filters as jinja_filters
from jinja2 import tests as jinja_tests

from personakit.frozen import FrozenDict
from personakit.templates.budget import MAX_SIZE
from personakit.templates.plain import MAX_NUMBER, STEPS, Context, GivenUp, calculable, text

# What is written with these is no longer than what is given: no widths, few digits.
_FORMAT = re.compile(r"(?:[^%]|%%|%(?:\.\d)?[dfgs])*")
_ITERABLE = frozenset((tuple, list, str, FrozenDict))


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
    return tuple(found) if len(found) < STEPS else _give_up()


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
    return found if -MAX_NUMBER < found < MAX_NUMBER else _give_up()


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
