"""What a render may use: a budget that every operation of a template is charged to.

The unit is a step: one turn of a loop, one call, filter, operator or attribute, one item handled by
a filter, 64 characters or 12 items of a list. The count is what stops a template, the same on every
machine; the clock is there for the costs that no hook of Jinja's shows, such as a loop around a
thousand assignments.

Two rules keep the count honest. Nothing is made that could be far larger than what it is made from:
the size of a result is worked out first. And no list is larger, all that it holds counted, than a
text may be: lists that hold a list twice, over and over, are small until they are written.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Mapping, Set, ValuesView
from contextvars import ContextVar
from typing import Any

MAX_STEPS = 200_000
MAX_SIZE = 200_000
MAX_NUMBER_BITS = 4_096
MAX_SECONDS = 0.5
_CHARACTERS_PER_STEP = 64
# An item that is an object of its own takes up to 90 bytes.
_ITEMS_PER_STEP = 12
_STEPS_PER_LOOK = 64
# Comparing a text at each place of another.
PAIRS_PER_STEP = 4_096
# What follows a `%` or its `(key)`, up to a letter.
_SPEC = re.compile(r"[%)][^a-zA-Z%()]*")
_SCALARS = (int, float, type(None))
_CONTAINERS = (list, tuple, Mapping, Set, ValuesView)
_WIDTHS = frozenset({"ljust", "rjust", "center", "zfill", "expandtabs"})
_FROM_THE_END = frozenset("strip lstrip rstrip rfind rindex rsplit rpartition".split())


class Refused(Exception):
    """A template did what none may do."""


class LimitExceeded(Refused):
    """A template asked for more than a render may use."""


class Budget:
    """What is left to one render.

    Args:
        allowance: The size in characters of what the caller gave, which never counts as excess:
            texts of up to `MAX_SIZE` + 4 * `allowance` characters may be made.
        source: The size of the templates themselves, which does not count as excess either.
    """

    __slots__ = ("left", "next_look", "size", "started")

    def __init__(self, allowance: int = 0, source: int = 0) -> None:
        self.size = MAX_SIZE + 4 * allowance + source
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

    def room(self, size: int, per_step: int = _CHARACTERS_PER_STEP) -> None:
        """Refuse a result before it is made, if it would be larger than anything may be."""
        if size > self.size:
            raise LimitExceeded(
                f"a result would be too large: the limit is {self.size:,} characters or items"
            )
        self.charge(1 + size // per_step)

    def made(self, value: Any) -> Any:
        """Charge for a result; return it."""
        if isinstance(value, str):
            self.room(len(value))
        elif isinstance(value, int):
            self._bits(value.bit_length())
        elif isinstance(value, _CONTAINERS):
            self.room(size_of(value, self.size), _ITEMS_PER_STEP)
        return value

    def read(self, value: Any) -> Any:
        """Charge for a value that is looked at whole, such as one side of a comparison."""
        if isinstance(value, str):
            self.charge(1 + len(value) // _CHARACTERS_PER_STEP)
            return value
        self.charge(1)
        if not isinstance(value, _SCALARS) and isinstance(value, _CONTAINERS):
            self.charge(len(value) // _ITEMS_PER_STEP)
            self.look()
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
        self.charge(1 + size // _CHARACTERS_PER_STEP)
        return "".join(kept)

    def binop(self, operator: str, left: Any, right: Any) -> None:
        """Charge for an operator; refuse one whose result would be too large."""
        self.charge(1)
        if operator == "*":
            self._times(left, right)
        elif operator == "**":
            self._power(left, right)
        elif operator == "%" and isinstance(left, str):
            self.format(left, right)
        elif operator == "+":
            self._plus(left, right)
        else:
            self.read(left)
            self.read(right)

    def _plus(self, left: Any, right: Any) -> None:
        if isinstance(left, str) and isinstance(right, str):
            self.room(len(left) + len(right))
        elif isinstance(left, _CONTAINERS) and isinstance(right, _CONTAINERS):
            size = size_of(left, self.size) + size_of(right, self.size)
            self.room(size, _ITEMS_PER_STEP)

    def _times(self, left: Any, right: Any) -> None:
        if isinstance(left, int) and isinstance(right, int):
            self._bits(left.bit_length() + right.bit_length())
            return
        value, times = (left, right) if isinstance(right, int) else (right, left)
        if isinstance(value, str | list | tuple) and isinstance(times, int):
            per_step = _CHARACTERS_PER_STEP if isinstance(value, str) else _ITEMS_PER_STEP
            self.room(size_of(value, self.size) * max(times, 0), per_step)

    def _power(self, left: Any, right: Any) -> None:
        if isinstance(left, int) and isinstance(right, int):
            self._bits(left.bit_length() * max(right, 0))

    def _bits(self, bits: int) -> None:
        if bits > MAX_NUMBER_BITS:
            raise LimitExceeded(f"a number would be too large: the limit is {MAX_NUMBER_BITS} bits")

    def format(self, text: str, values: Any) -> None:
        """Refuse a formatting with `%` whose result would be too large."""
        specs = _SPEC.findall(text)
        widths = sum(int(n[:20]) for spec in specs for n in re.findall(r"\d+", spec))
        given = values if isinstance(values, tuple | list) else (values,)
        stars = sum(n for n in integers(given) if n > 0) if "*" in text else 0
        # A key can stand in the text many times.
        times = max(text.count("%("), 1) if isinstance(values, Mapping) else 1
        self.room(len(text) + widths + stars + times * size_of(values, self.size))

    def call(self, function: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Charge for a call; refuse one of a method whose result would be too large."""
        self.charge(1)
        values = (*args, *kwargs.values())
        for value in values:
            self.made(value) if isinstance(value, _CONTAINERS) else self.read(value)
        owner = getattr(function, "__self__", None)
        if isinstance(owner, str | list | tuple | dict):
            self.read(owner)
        if isinstance(owner, str):
            name = getattr(function, "__name__", "")
            if name in _WIDTHS:
                times = owner.count("\t") if name == "expandtabs" else 1
                self.room(len(owner) + times * max([0, *integers(values)]))
            elif name in _FROM_THE_END:
                self.searching(owner, *values[:1])
            elif name == "replace" and len(values) >= 2:
                self.replacing(owner, values[0], values[1])

    def replacing(self, text: str, old: Any, new: Any) -> None:
        """Refuse a replacement whose result would be too large."""
        if isinstance(old, str) and isinstance(new, str):
            self.room(len(text) + text.count(old) * len(new))

    def searching(self, text: str, part: Any = None) -> None:
        """Charge for a search that may compare a text at each place of another."""
        if isinstance(part, str):
            self.charge(len(text) * len(part) // PAIRS_PER_STEP)


current_budget: ContextVar[Budget] = ContextVar("personakit_render_budget")


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


def integers(values: Iterable[Any]) -> list[int]:
    """Return those of some values that are integers."""
    return [value for value in values if isinstance(value, int)]


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
        elif isinstance(item, _CONTAINERS):
            total += 1 + len(item)
            waiting.extend(item)
        else:
            total += 6 * len(item) if isinstance(item, range) else 1
    return total
