"""The deadline of a run: the moment by which everything that it waits for has to have come."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token
from dataclasses import dataclass

DEFAULT_DEADLINE = 1800.0
"""How long a run may take when nobody says otherwise."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """A moment that a run has to keep.

    Attributes:
        seconds: How long the run may take, for messages.
        when: The moment, by `time.monotonic`.
    """

    seconds: float
    when: float

    @property
    def left(self) -> float:
        """The seconds that are left; negative when it has passed."""
        return self.when - time.monotonic()

    def __str__(self) -> str:
        return f"the run's deadline of {self.seconds:g} s"


_current: ContextVar[Deadline | None] = ContextVar("personakit_deadline", default=None)


def current() -> Deadline | None:
    """Return the deadline of the run that the code belongs to."""
    return _current.get()


def left() -> float | None:
    """Return the seconds that are left of the run's time; None for no limit.

    Raises:
        TimeoutError: None are: who only shortened the waits would go on as long as nothing waits.
    """
    known = _current.get()
    if known is None:
        return None
    if (found := known.left) <= 0:
        raise TimeoutError(f"{known} has passed")
    return found


def shorter(seconds: float | None) -> float | None:
    """Return a time to wait, or what is left of the run's if that is less; None for no limit."""
    known = _current.get()
    if known is None:
        return seconds
    left = max(known.left, 0.001)
    return left if seconds is None else min(seconds, left)


def begin(seconds: float | None) -> Token[Deadline | None]:
    """Set the deadline of what follows, and return what takes it back: `token.var.reset(token)`.

    One that is set already and earlier stays.
    """
    known = _current.get()
    made = None if seconds is None else Deadline(seconds, time.monotonic() + seconds)
    if known is not None and (made is None or known.when < made.when):
        made = known
    return _current.set(made)


@contextmanager
def within(seconds: float | None) -> Iterator[None]:
    """Set the deadline of what is done inside, as `begin` does."""
    token = begin(seconds)
    try:
        yield
    finally:
        _current.reset(token)
