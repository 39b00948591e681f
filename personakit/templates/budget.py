"""The limits of a render: a budget of steps, and a maximum size of results.

A step is the evaluation of one node of a template, one item that a filter handles, 32 characters
that are copied or compared, or 6 items of a list. Only the count stops a template, never the time,
so that a template stops at the same place on every machine. `codegen` charges for nodes; this
module charges for costs that depend on values.

Two rules keep the count reliable. The size of a result is computed before the result is built, if
it could be much larger than its inputs. And the size limit of a text also applies to a list with
all its nested items: lists that repeatedly contain another list twice stay small until they are
written out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Set, ValuesView
from contextvars import ContextVar
from typing import Any

MAX_STEPS = 400_000
MAX_SIZE = 200_000
MAX_NUMBER_BITS = 4_096
# The most steps that large values add to the budget, for handling their texts and items.
_MOST_ALLOWED = 600_000
_CHARACTERS_PER_STEP = 32
_FEW = 64
# A list item that is a separate object uses up to 90 bytes.
_ITEMS_PER_STEP = 6
# Character comparisons of a search, which may compare a text at each position of another.
PAIRS_PER_STEP = 4_096
# From about this many pairs on, CPython's search runs in linear time.
_MOST_PAIRS = 3_000_000
# The part of a format specifier between `%` or its `(key)` and a letter.
_SPEC = re.compile(r"[%)][^a-zA-Z%()]*")
_CONTAINERS = (list, tuple, Mapping, Set, ValuesView)
_WIDTHS = frozenset({"ljust", "rjust", "center", "zfill", "expandtabs"})
_SEARCHES = frozenset("count find index partition removeprefix removesuffix replace split".split())
_FROM_THE_END = frozenset("strip lstrip rstrip rfind rindex rsplit rpartition".split())


class Refused(Exception):
    """A template uses an operation that is not allowed."""


class LimitExceeded(Refused):
    """A template exceeds a limit of a render."""


class Budget:
    """The remaining budget of one render.

    Args:
        allowance: The size in characters of the values from the caller. It raises the limit: texts
            of up to `MAX_SIZE` + 4 * `allowance` characters are allowed.
        source: The size in characters of the templates, which also raises the limit.

    Attributes:
        left: The remaining steps; below 0 the render fails.
        size: The maximum number of characters or items of a result.
    """

    __slots__ = ("left", "size")

    def __init__(self, allowance: int = 0, source: int = 0) -> None:
        self.size = MAX_SIZE + 4 * allowance + source
        self.left = MAX_STEPS + (allowance if allowance < _MOST_ALLOWED else _MOST_ALLOWED)

    def charge(self, steps: int) -> None:
        """Charge steps to the budget.

        Raises:
            LimitExceeded: The budget is used up.
        """
        self.left -= steps
        if self.left < 0:
            self.exhausted()

    def exhausted(self) -> None:
        """Raise the error for a render without remaining steps."""
        raise LimitExceeded(f"the template does too much: the limit is {MAX_STEPS:,} steps")

    def room(self, size: int, per_step: int = _CHARACTERS_PER_STEP) -> None:
        """Charge for a result of a size before it is built; reject it if it is too large."""
        if size > self.size:
            raise LimitExceeded(
                f"a result would be too large: the limit is {self.size:,} characters or items"
            )
        self.left -= 1 + size // per_step
        if self.left < 0:
            self.exhausted()

    def made(self, value: Any) -> Any:
        """Charge for a result, and return it."""
        if isinstance(value, str):
            self.room(len(value))
        elif isinstance(value, int):
            self._bits(value.bit_length())
        elif isinstance(value, _CONTAINERS):
            self.room(size_of(value, self.size), _ITEMS_PER_STEP)
        return value

    def read(self, value: Any) -> None:
        """Charge for reading a value without the content of its items."""
        if isinstance(value, str):
            self.charge(len(value) // _CHARACTERS_PER_STEP)
        elif isinstance(value, _CONTAINERS):
            self.charge(len(value) // _ITEMS_PER_STEP)

    def whole(self, value: Any) -> int:
        """Charge for reading a value with all nested items; return its size."""
        if isinstance(value, str):
            self.charge(1 + len(value) // _CHARACTERS_PER_STEP)
            return len(value)
        if not isinstance(value, _CONTAINERS):
            return 1
        # Texts in a container count by their characters, at the same price as items: 6 per step.
        size = size_of(value, self.size)
        self.room(size, _ITEMS_PER_STEP)
        return size

    def steps(self, values: Iterable[Any], price: int = 1) -> Iterator[Any]:
        """Yield values, and charge for each."""
        for value in values:
            self.left -= price
            if self.left < 0:
                self.exhausted()
            yield value

    def concat(self, parts: Iterable[str]) -> str:
        """Join the parts of an output; reject a result that is too large."""
        kept = parts if isinstance(parts, list) else list(parts)
        # Each part is within the limit, so a few of them can be joined to count their characters.
        joined = "".join(kept) if len(kept) <= _FEW else None
        size = sum(map(len, kept)) if joined is None else len(joined)
        self.left -= 1 + size // _CHARACTERS_PER_STEP
        if size > self.size or self.left < 0:
            self.room(size)
        return "".join(kept) if joined is None else joined

    def binop(self, operator: str, left: Any, right: Any) -> None:
        """Charge for an operator; reject it if its result would be too large."""
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
        """Charge for formatting with `%`; reject it if its result would be too large."""
        specs = _SPEC.findall(text)
        widths = sum(int(n[:20]) for spec in specs for n in re.findall(r"\d+", spec))
        given = values if isinstance(values, tuple | list) else (values,)
        stars = sum(n for n in integers(given) if n > 0) if "*" in text else 0
        # The text can refer to a key many times.
        times = max(text.count("%("), 1) if isinstance(values, Mapping) else 1
        self.room(len(text) + widths + stars + times * size_of(values, self.size))

    def call(self, function: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Charge for calling a method of plain data, by its arguments and possible result."""
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
            # Methods of Markup escape the values that they join or format.
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
        """Charge for a replacement; reject it if its result would be too large."""
        if isinstance(old, str) and isinstance(new, str):
            self.room(len(text) + text.count(old) * len(new))

    def searching(self, text: str, part: Any = None, *, from_the_end: bool = False) -> None:
        """Charge for a search, which may compare `part` at each position of `text`."""
        if isinstance(part, str):
            pairs = len(text) * len(part)
            if not from_the_end:
                pairs = min(pairs, _MOST_PAIRS)
            self.charge((len(text) + len(part)) // _CHARACTERS_PER_STEP + pairs // PAIRS_PER_STEP)


current_budget: ContextVar[Budget] = ContextVar("personakit_render_budget")


def bounded_range(*args: int) -> range:
    """Return a `range` of at most `MAX_SIZE` items."""
    result = range(*args)
    try:
        size = len(result)
    except OverflowError:
        size = MAX_SIZE + 1
    if size > MAX_SIZE:
        raise LimitExceeded(f"the range is too large: the limit is {MAX_SIZE:,} items")
    return result


def integers(values: Iterable[Any]) -> list[int]:
    """Return the integers among `values`."""
    return [value for value in values if isinstance(value, int)]


def size_of(value: Any, limit: int | None = None) -> int:
    """Return the number of characters and items in a value; repeated items count each time.

    Args:
        value: Any value; the size of other than plain data is 1.
        limit: Stop counting beyond this size.
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
