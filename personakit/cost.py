"""What a render may use: a budget that every operation of a template is charged to.

The unit is a step: one turn of a loop, one call, one item handled by a filter, or 64 characters.
The count is what stops a template, the same on every machine; the clock is there for the costs that
no hook of Jinja's shows, such as comparing long texts in a loop.
"""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from typing import Any

MAX_STEPS = 200_000
MAX_SIZE = 200_000
MAX_NUMBER_BITS = 4_096
MAX_SECONDS = 0.5
_UNITS_PER_STEP = 64
_STEPS_PER_LOOK = 256
_WIDTH = re.compile(r"%[^a-zA-Z%]*")


class LimitExceeded(Exception):
    """A template asked for more than a render may use."""


class Budget:
    """What is left to one render.

    Args:
        allowance: The size in characters of what the caller gave, which never counts as excess:
            texts of up to `MAX_SIZE` + 4 * `allowance` characters may be made.
    """

    __slots__ = ("left", "next_look", "size", "started")

    def __init__(self, allowance: int = 0) -> None:
        self.size = MAX_SIZE + 4 * allowance
        self.left = MAX_STEPS + allowance
        self.next_look = self.left - _STEPS_PER_LOOK
        self.started = 0.0

    def charge(self, steps: int) -> None:
        """Take steps off the budget."""
        self.left -= steps
        if self.left < self.next_look:
            self.look()

    def look(self) -> None:
        """Stop a render that has used up its steps or its time."""
        if self.left < 0:
            raise LimitExceeded(f"the template does too much: the limit is {MAX_STEPS:,} steps")
        # The thread's own time, so that a busy machine does not fail an honest template.
        now = time.thread_time()
        self.started = self.started or now
        if now - self.started > MAX_SECONDS:
            raise LimitExceeded(f"the template takes too much time: the limit is {MAX_SECONDS} s")
        self.next_look = max(self.left - _STEPS_PER_LOOK, 0)

    def room(self, size: int) -> None:
        """Refuse a result before it is made, if it would be larger than anything may be."""
        if size > self.size:
            raise LimitExceeded(
                f"a result would be too large: the limit is {self.size:,} characters or items"
            )
        self.charge(1 + size // _UNITS_PER_STEP)

    def made(self, value: Any) -> Any:
        """Charge for a result; return it."""
        if isinstance(value, str):
            self.room(len(value))
        elif isinstance(value, list | tuple | dict | set | frozenset):
            # In depth: lists that hold a list twice, over and over, are small until written.
            self.room(size_of(value, self.size))
        return value

    def steps(self, values: Iterable[Any]) -> Iterator[Any]:
        """Yield values, charging a step for each."""
        for value in values:
            self.left -= 1
            if self.left < self.next_look:
                self.look()
            yield value

    def concat(self, parts: Iterable[str]) -> str:
        """Join the parts of an output, refusing to build more than fits."""
        kept: list[str] = []
        size = 0
        for part in parts:
            size += len(part)
            if size > self.size:
                self.room(size)
            kept.append(part)
        self.charge(size // _UNITS_PER_STEP)
        return "".join(kept)

    def binop(self, operator: str, left: Any, right: Any) -> None:
        """Refuse an operator whose result would be too large."""
        if operator == "*":
            self._times(left, right)
        elif operator == "**":
            self._power(left, right)
        elif operator == "%" and isinstance(left, str | bytes):
            self._format(str(left), right)
        elif operator == "+":
            self.room(_len(left) + _len(right))

    def _times(self, left: Any, right: Any) -> None:
        if isinstance(left, int) and isinstance(right, int):
            self._bits(left.bit_length() + right.bit_length())
        elif isinstance(right, int):
            self.room(_len(left) * max(right, 0))
        elif isinstance(left, int):
            self.room(_len(right) * max(left, 0))

    def _power(self, left: Any, right: Any) -> None:
        if isinstance(left, int) and isinstance(right, int):
            self._bits(left.bit_length() * max(right, 0))

    def _bits(self, bits: int) -> None:
        if bits > MAX_NUMBER_BITS:
            raise LimitExceeded(f"a number would be too large: the limit is {MAX_NUMBER_BITS} bits")

    def _format(self, text: str, values: Any) -> None:
        widths = sum(int(n) for spec in _WIDTH.findall(text) for n in re.findall(r"\d+", spec)[:4])
        stars = text.count("*") and sum(n for n in _flat(values) if isinstance(n, int) and n > 0)
        self.room(len(text) + widths + stars + size_of(values, self.size))

    def call(self, function: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Refuse a call of a method of text whose result would be too large."""
        self.charge(1)
        owner = getattr(function, "__self__", None)
        if not isinstance(owner, str | bytes | list | tuple | dict):
            return
        self.charge(_len(owner) // _UNITS_PER_STEP)
        name = getattr(function, "__name__", "")
        values = (*args, *kwargs.values())
        if name in ("ljust", "rjust", "center", "zfill", "expandtabs"):
            factor = str(owner).count("\t") if name == "expandtabs" else 1
            self.room(_len(owner) + factor * max([0, *_integers(values)]))
        elif name == "replace" and len(values) >= 2:
            self.replacing(str(owner), *values[:2])
        elif name == "join" and values:
            self.joining(str(owner), values[0])

    def replacing(self, text: str, old: Any, new: Any) -> None:
        """Refuse a replacement whose result would be too large."""
        old, new = str(old), str(new)
        self.room(len(text) + text.count(old) * len(new))

    def joining(self, separator: str, values: Any) -> None:
        """Refuse a join whose result would be too large."""
        if isinstance(values, Sized):
            self.room(size_of(values, self.size) + len(separator) * len(values))


def bounded_range(*args: int) -> range:
    """`range`, for at most `MAX_STEPS` items."""
    made = range(*args)
    try:
        size = len(made)
    except OverflowError:
        size = MAX_STEPS + 1
    if size > MAX_STEPS:
        raise LimitExceeded(f"the range is too large: the limit is {MAX_STEPS:,} items")
    return made


def charged(
    name: str, function: Callable[..., Any], budget: Callable[[], Budget]
) -> Callable[..., Any]:
    """Return a filter that charges what it takes in and what it gives out."""
    passes = int(hasattr(function, "jinja_pass_arg"))
    check = _BEFORE.get(name)
    # Each item is compared about log2(n) times.
    weight = 4 if name in _SORTING else 1

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        account = budget()
        given = args[passes:]
        value = given[0] if given else None
        size = _len(value)
        account.charge(size // _UNITS_PER_STEP if isinstance(value, str) else size * weight)
        if check is not None:
            check(account, given, kwargs)
        if not isinstance(value, str | Sized) and isinstance(value, Iterable):
            args = (*args[:passes], account.steps(value), *given[1:])
        result = function(*args, **kwargs)
        if isinstance(result, Iterator):
            return account.steps(result)
        return account.made(result)

    return run


def _written(account: Budget, given: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    indents = sum(_integers((*given[1:], *kwargs.values())))
    account.room(size_of(given[0], account.size) * (1 + max(indents, 0)))


def _sized_filter(account: Budget, given: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    text, *rest = given
    lines = str(text).count("\n") + 1 if isinstance(text, str) else 1
    numbers = _integers((*rest, *kwargs.values()))
    texts = [len(v) for v in (*rest, *kwargs.values()) if isinstance(v, str)]
    account.room(_len(text) + lines * max([0, *numbers, *texts]))


def _batch(account: Budget, given: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    account.room(_len(given[0]) + max([0, *_integers((*given[1:], *kwargs.values()))]))


def _replace(account: Budget, given: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    values = [*given[1:], *kwargs.values()]
    if len(values) >= 2:
        account.replacing(str(given[0]), values[0], values[1])


def _join(account: Budget, given: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    separator = str(next(iter((*given[1:], *kwargs.values())), ""))
    account.joining(separator, given[0])


def _percent(account: Budget, given: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    account.binop("%", str(given[0]), kwargs or given[1:])


def _wrap(account: Budget, given: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    joints = [len(v) for v in (*given[1:], *kwargs.values()) if isinstance(v, str)]
    account.room(_len(given[0]) * (1 + max([0, *joints])))


_SORTING = frozenset({"sort", "dictsort", "groupby", "unique", "max", "min", "sum"})
_BEFORE: dict[str, Callable[[Budget, tuple[Any, ...], Mapping[str, Any]], None]] = {
    "batch": _batch,
    "slice": _batch,
    "center": _sized_filter,
    "indent": _sized_filter,
    "string": _written,
    "tojson": _written,
    "format": _percent,
    "join": _join,
    "replace": _replace,
    "wordwrap": _wrap,
}


def _len(value: Any) -> int:
    return len(value) if isinstance(value, Sized) else 0


def _integers(values: Iterable[Any]) -> list[int]:
    return [value for value in values if isinstance(value, int)]


def _flat(values: Any) -> Iterable[Any]:
    return values if isinstance(values, tuple | list) else (values,)


def size_of(value: Any, limit: int | None = None) -> int:
    """Return the number of characters and items in a value, what is held twice counted twice.

    Args:
        value: Any value; of other than plain data it is 1.
        limit: Stop counting beyond it.
    """
    total, waiting = 0, [value]
    while waiting and (limit is None or total <= limit):
        item = waiting.pop()
        if isinstance(item, str | bytes):
            total += len(item)
        elif isinstance(item, Mapping):
            total += 1 + len(item)
            waiting.extend(item.keys())
            waiting.extend(item.values())
        elif isinstance(item, list | tuple | set | frozenset):
            total += 1 + len(item)
            waiting.extend(item)
        else:
            total += 6 * len(item) if isinstance(item, range) else 1
    return total
