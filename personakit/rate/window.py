"""How many requests may be under way: as many as make a provider faster."""

from __future__ import annotations

import math
from collections.abc import Callable

FIRST = 8.0
MOST = 1000.0
_EPOCH = 1.0
"""The shortest time in seconds over which the speed is measured."""
_FASTER = 1.05
"""How much faster a larger window must be to be kept."""
_PATIENCE = 4
"""After as many measurements at a good size, a larger one is tried again."""
_STEP = 1.25
_BELOW = 0.95
"""The part of what a provider accepted at once that is sent after it refused more."""
_HOLD = 20.0
"""Seconds in which the window does not grow after a refusal."""


class Window:
    """The number of requests that may be under way.

    It doubles while that makes the answers come faster. Then it stays where they came fastest, and
    tries a larger size now and then. When a request is refused for its rate, or by a provider that
    has too much to do, it shrinks to a little less than what the provider accepted.

    Args:
        fixed: The number, if it shall not change; None to find it.
        clock: Returns seconds.

    Attributes:
        size: The number.
    """

    def __init__(self, fixed: int | None, clock: Callable[[], float]) -> None:
        self.size = float(fixed or FIRST)
        self._fixed, self._clock = fixed is not None, clock
        self._doubling = True
        self._best = self._best_size = 0.0
        self._good = 0
        self._cut_at, self._hold = -math.inf, -math.inf
        self._before, self._accepted, self._counting = self.size, 0, False
        self._start(clock())

    def _start(self, now: float) -> None:
        self._began, self._ended, self._full = now, 0, False

    def ended(self, in_flight: int) -> None:
        """Note an answer; `in_flight` are the requests that were under way with it."""
        if self._fixed:
            return
        self._ended += 1
        self._full = self._full or in_flight >= int(self.size)
        now = self._clock()
        if now - self._began >= _EPOCH and self._ended >= self.size:
            if self._full and now >= self._hold:
                self._measured(self._ended / (now - self._began))
            self._start(now)

    def _measured(self, speed: float) -> None:
        """Choose the next size after answers came at a speed with the one there is."""
        if speed > self._best * _FASTER:
            self._best, self._best_size, self._good = speed, self.size, 0
            self.size = self._larger(2.0 if self._doubling else _STEP)
        elif self.size > self._best_size:
            # A larger window made nothing faster: requests only wait at the provider.
            self._doubling, self.size, self._good = False, self._best_size, 0
        else:
            # The provider may have become slower, which is not the window's fault.
            self._best, self._good = speed, self._good + 1
            if self._good >= _PATIENCE:
                self.size, self._good = self._larger(_STEP), 0

    def _larger(self, factor: float) -> float:
        # A quarter of a small window is no request more, which can make nothing faster.
        return min(MOST, max(self.size + 1.0, self.size * factor))

    def refused(self, sent_at: float, in_flight: int) -> bool:
        """Shrink the window to what the provider accepted, and keep it there for a while.

        If it refuses soon after what it has accepted, it is not the number of requests at once: the
        window is left as it was.

        Args:
            sent_at: When the request was sent.
            in_flight: The requests that were under way with it.

        Returns:
            Whether it is not the number of requests at once.
        """
        now = self._clock()
        if self._fixed:
            soon, self._hold = now < self._hold, now + _HOLD
            return soon
        if sent_at >= self._cut_at:
            self._cut_at, self._doubling, self._good = now, False, 0
            if now < self._hold:
                self.size, self._hold = self._before, now + _HOLD
                self._counting = False
                return True
            self._before, self._accepted, self._counting = self.size, in_flight, True
            self._hold, self._best, self._best_size = now + _HOLD, 0.0, 0.0
        if self._counting:
            self._accepted -= 1
            self.size = max(1.0, round(self._accepted * _BELOW))
        self._start(now)
        return False
