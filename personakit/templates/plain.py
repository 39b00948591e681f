"""Plain values, and what one render of a shortcut may do with them.

Plain values are texts, numbers, null, tuples and read-only mappings of exactly these types (see
`frozen.plain`): no operation on them runs anybody's code or finds an attribute that matters. What
meets anything else, or would make too much, raises `GivenUp`: see `shortcut`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jinja2

from personakit.templates.budget import MAX_SIZE, MAX_STEPS

# Every part of a template is a step here, and costs the meter at most four.
STEPS = MAX_STEPS // 4
_CHARACTERS = STEPS * 64
MAX_NUMBER = 2**63
_NUMBERS = (int, float)

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
        if steps > STEPS or linear * longest > _CHARACTERS:
            raise GivenUp

    def enter(self, turns: int, steps: int, linear: int) -> None:
        """Charge for all turns of a loop."""
        self.steps += turns * steps
        self.linear += turns * linear
        if self.steps > STEPS or self.linear * self.longest > _CHARACTERS:
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
    if kind is int and -MAX_NUMBER < value < MAX_NUMBER:
        return str(value)
    # What an `if` without an `else` gives is no name without a value: it is nothing.
    if kind is float or kind is bool or kind is jinja2.Undefined:
        return str(value)
    raise GivenUp


def calculable(value: Any) -> None:
    """Give up for anything but a number that is not large."""
    if type(value) not in _NUMBERS or not -MAX_NUMBER < value < MAX_NUMBER:
        raise GivenUp
