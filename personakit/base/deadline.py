"""The deadline of a run, which bounds everything that the run waits for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token
from dataclasses import dataclass

DEFAULT_DEADLINE = 1800.0
"""The default time limit of a run, in seconds."""


@dataclass(slots=True)
class Deadline:
    """The time limit of a run.

    Attributes:
        seconds: How long the run may take; error messages show it.
        when: The end, by `time.monotonic`; it moves while a person is asked.
        outer: That of the run around it, which ends later.
    """

    seconds: float
    when: float
    outer: Deadline | None = None

    @property
    def left(self) -> float:
        """The remaining seconds; negative after the deadline."""
        return self.when - time.monotonic()

    def __str__(self) -> str:
        return f"the run's deadline of {self.seconds:g} s"


_current: ContextVar[Deadline | None] = ContextVar("personakit_deadline", default=None)


def current() -> Deadline | None:
    """Return the deadline of the current run; None if it has none."""
    return _current.get()


def left() -> float | None:
    """Return the remaining seconds of the run; None if it has no limit.

    Raises:
        TimeoutError: The deadline has passed. Shortened waits alone would not stop a run that
            never waits.
    """
    deadline = _current.get()
    if deadline is None:
        return None
    if (seconds := deadline.left) <= 0:
        raise TimeoutError(f"{deadline} has passed")
    return seconds


def shorter(seconds: float | None) -> float | None:
    """Return a time to wait, capped at the remaining time of the run; None for no limit."""
    deadline = _current.get()
    if deadline is None:
        return seconds
    left = max(deadline.left, 0.001)
    return left if seconds is None else min(seconds, left)


def begin(seconds: float | None) -> Token[Deadline | None]:
    """Set the deadline, and return the token that restores the previous one.

    An earlier deadline that is already set stays in force. To restore, call
    `token.var.reset(token)`.
    """
    outer = _current.get()
    when = 0.0 if seconds is None else time.monotonic() + seconds
    deadline = None if seconds is None else Deadline(seconds, when, outer)
    if outer is not None and (deadline is None or outer.when < deadline.when):
        deadline = outer
    return _current.set(deadline)


class Patience:
    """A time limit besides the deadline, which does not count the time of a question either.

    Args:
        seconds: The limit.
        changed: Called with the remaining seconds when they begin to count again, and with None
            when they stop.
    """

    def __init__(
        self, seconds: float, changed: Callable[[float | None], object] = lambda _: None
    ) -> None:
        self._when, self._changed = time.monotonic() + seconds, changed
        self._left, self._open, self._lock = seconds, 0, threading.Lock()

    @property
    def left(self) -> float | None:
        """The remaining seconds, not below 0; None while a question is open."""
        with self._lock:
            return None if self._open else max(0.0, self._when - time.monotonic())

    def pause(self) -> None:
        """Stop counting."""
        with self._lock:
            self._open += 1
            if self._open == 1:
                self._left = self._when - time.monotonic()
                self._changed(None)

    def resume(self) -> None:
        """Count on, if no other question is open."""
        with self._lock:
            self._open -= 1
            if not self._open:
                self._when = time.monotonic() + self._left
                self._changed(self._left)


_limits: ContextVar[tuple[Patience, ...]] = ContextVar("personakit_limits", default=())


@contextmanager
def limited(limit: Patience | None) -> Iterator[None]:
    """Pause a time limit with the deadline, in the block and in what it starts; None for none."""
    token = _limits.set(_limits.get() if limit is None else (*_limits.get(), limit))
    try:
        yield
    finally:
        _limits.reset(token)


@contextmanager
def paused() -> Iterator[None]:
    """Do not count the time of the block, in which a person is asked."""
    began, limits = time.monotonic(), _limits.get()
    for limit in limits:
        limit.pause()
    try:
        yield
    finally:
        for limit in limits:
            limit.resume()
        deadline = _current.get()
        while deadline is not None:
            deadline.when += time.monotonic() - began
            deadline = deadline.outer


@contextmanager
def within(seconds: float | None) -> Iterator[None]:
    """Set the deadline of the block, as `begin` does."""
    token = begin(seconds)
    try:
        yield
    finally:
        _current.reset(token)
