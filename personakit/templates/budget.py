"""What a render may use: a budget of steps, and a size that no result may have.

A step is the evaluation of one node of a template, one item that a filter handles, 32 characters
that are copied or compared, or 6 items of a list. The count alone stops a template, so that it is
stopped on every machine and in every rendering at the same place. `codegen` takes off what nodes
cost, and what is here what depends on values.

Two rules keep the count honest. Nothing is made that could be far larger than what it is made from:
the size of a result is worked out first. And no list is larger, all that it holds counted, than a
text may be: lists that hold a list twice, over and over, are small until they are written.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Set, ValuesView
from contextvars import ContextVar
from typing import Any

MAX_STEPS = 400_000
MAX_SIZE = 200_000
MAX_NUMBER_BITS = 4_096
# What a large value adds to the steps, for the texts and items in it that are handled.
_MOST_ALLOWED = 600_000
_CHARACTERS_PER_STEP = 32
# An item that is an object of its own takes up to 90 bytes.
_ITEMS_PER_STEP = 6
# Comparing a text at each place of another.
PAIRS_PER_STEP = 4_096
# CPython looks for a text in a time that is linear, from about this many pairs on.
_MOST_PAIRS = 3_000_000
# What follows a `%` or its `(key)`, up to a letter.
_SPEC = re.compile(r"[%)][^a-zA-Z%()]*")
_CONTAINERS = (list, tuple, Mapping, Set, ValuesView)
_WIDTHS = frozenset({"ljust", "rjust", "center", "zfill", "expandtabs"})
_SEARCHES = frozenset("count find index partition removeprefix removesuffix replace split".split())
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

    Attributes:
        left: The steps that are left; below 0 the render is at its end.
        size: The characters or items that a result may have.
    """

    __slots__ = ("left", "size")

    def __init__(self, allowance: int = 0, source: int = 0) -> None:
        self.size = MAX_SIZE + 4 * allowance + source
        self.left = MAX_STEPS + min(allowance, _MOST_ALLOWED)

    def charge(self, steps: int) -> None:
        """Take steps off the budget."""
        self.left -= steps
        if self.left < 0:
            self.exhausted()

    def exhausted(self) -> None:
        """End a render that has used up its steps."""
        raise LimitExceeded(f"the template does too much: the limit is {MAX_STEPS:,} steps")

    def room(self, size: int, per_step: int = _CHARACTERS_PER_STEP) -> None:
        """Refuse a result before it is made, if it would be larger than anything may be."""
        if size > self.size:
            raise LimitExceeded(
                f"a result would be too large: the limit is {self.size:,} characters or items"
            )
        self.left -= 1 + size // per_step
        if self.left < 0:
            self.exhausted()

    def made(self, value: Any) -> Any:
        """Charge for a result; return it."""
        if isinstance(value, str):
            self.room(len(value))
        elif isinstance(value, int):
            self._bits(value.bit_length())
        elif isinstance(value, _CONTAINERS):
            self.room(size_of(value, self.size), _ITEMS_PER_STEP)
        return value

    def read(self, value: Any) -> None:
        """Charge for a value that is looked at once, but not at what its items hold."""
        if isinstance(value, str):
            self.charge(len(value) // _CHARACTERS_PER_STEP)
        elif isinstance(value, _CONTAINERS):
            self.charge(len(value) // _ITEMS_PER_STEP)

    def whole(self, value: Any) -> int:
        """Charge for a value that is looked at in all its parts; return its size."""
        if isinstance(value, str):
            self.charge(1 + len(value) // _CHARACTERS_PER_STEP)
            return len(value)
        if not isinstance(value, _CONTAINERS):
            return 1
        # The texts in it count by their characters, so what is looked at is worth a step for 6.
        size = size_of(value, self.size)
        self.room(size, _ITEMS_PER_STEP)
        return size

    def steps(self, values: Iterable[Any], price: int = 1) -> Iterator[Any]:
        """Yield values, charging for each."""
        for value in values:
            self.left -= price
            if self.left < 0:
                self.exhausted()
            yield value

    def concat(self, parts: Iterable[str]) -> str:
        """Join the parts of an output, refusing to build more than fits."""
        kept = parts if isinstance(parts, list) else list(parts)
        size = sum(map(len, kept))
        self.left -= 1 + size // _CHARACTERS_PER_STEP
        if size > self.size or self.left < 0:
            self.room(size)
        return "".join(kept)

    def binop(self, operator: str, left: Any, right: Any) -> None:
        """Charge for an operator; refuse one whose result would be too large."""
        if operator == "*":
            self._times(left, right)
        elif operator == "**":
            self._power(left, right)
        elif operator == "%" and isinstance(left, str):
            self.format(left, right)
        elif operator == "+":
            self._plus(left, right)

    def _plus(self, left: Any, right: Any) -> None:
        if isinstance(left, str) and isinstance(right, str):
            self.room(len(left) + len(right))
        elif isinstance(left, _CONTAINERS) and isinstance(right, _CONTAINERS):
            size = size_of(left, self.size) + size_of(right, self.size)
            self.room(size, _ITEMS_PER_STEP)
        elif isinstance(left, int) and isinstance(right, int):
            self._bits(max(left.bit_length(), right.bit_length()))

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
        """Charge for a call of a method of plain data, by what it looks at and may make."""
        for value in (*args, *kwargs.values()):
            self.whole(value)
        owner = getattr(function, "__self__", None)
        if isinstance(owner, str):
            self._text_method(owner, getattr(function, "__name__", ""), (*args, *kwargs.values()))
        elif isinstance(owner, list | tuple | dict):
            self.whole(owner)

    def _text_method(self, owner: str, name: str, values: tuple[Any, ...]) -> None:
        self.charge(1 + len(owner) // _CHARACTERS_PER_STEP)
        if type(owner) is not str:
            # Of Markup: what it is joined or formatted with is escaped.
            self.room(6 * (len(owner) + sum(size_of(value, self.size) for value in values)))
        if name in _WIDTHS:
            times = owner.count("\t") if name == "expandtabs" else 1
            self.room(len(owner) + times * max([0, *integers(values)]))
        elif name in _FROM_THE_END:
            self.searching(owner, *values[:1], from_the_end=True)
        elif name in _SEARCHES:
            self.searching(owner, *values[:1])
            if name == "replace" and len(values) >= 2:
                self.replacing(owner, values[0], values[1])

    def replacing(self, text: str, old: Any, new: Any) -> None:
        """Refuse a replacement whose result would be too large."""
        if isinstance(old, str) and isinstance(new, str):
            self.room(len(text) + text.count(old) * len(new))

    def searching(self, text: str, part: Any = None, *, from_the_end: bool = False) -> None:
        """Charge for a search that may compare a text at each place of another."""
        if isinstance(part, str):
            pairs = len(text) * len(part)
            if not from_the_end:
                pairs = min(pairs, _MOST_PAIRS)
            self.charge((len(text) + len(part)) // _CHARACTERS_PER_STEP + pairs // PAIRS_PER_STEP)


current_budget: ContextVar[Budget] = ContextVar("personakit_render_budget")


def bounded_range(*args: int) -> range:
    """`range`, for at most `MAX_SIZE` items."""
    made = range(*args)
    try:
        size = len(made)
    except OverflowError:
        size = MAX_SIZE + 1
    if size > MAX_SIZE:
        raise LimitExceeded(f"the range is too large: the limit is {MAX_SIZE:,} items")
    return made


def integers(values: Iterable[Any]) -> list[int]:
    """Return the integers among `values`."""
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
