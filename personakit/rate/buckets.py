"""Token buckets: how much may be sent now, and what a provider says about that."""

from __future__ import annotations

import math
from dataclasses import dataclass

_BURST = 1.0
"""Seconds of a limit of the user that may be sent at once."""


@dataclass(slots=True)
class Bucket:
    """A bucket that fills with time. It may be overdrawn by one request.

    Attributes:
        rate: What flows in, a second.
        size: The most that it holds.
        level: What it holds; below 0 if it is overdrawn.
        at: The time of `level`, in seconds.
    """

    rate: float
    size: float
    level: float
    at: float

    @classmethod
    def of(cls, minute: float, now: float) -> Bucket:
        """Return a bucket for a limit a minute, which is used evenly."""
        size = max(1.0, minute / 60 * _BURST)
        return cls(minute / 60, size, size, now)

    def wait(self, now: float) -> float:
        """Return the seconds until something can be taken; 0 for now."""
        self._fill(now)
        if self.level > 0:
            return 0.0
        return (1e-9 - self.level) / self.rate if self.rate else math.inf

    def take(self, amount: float, now: float) -> None:
        """Take an amount; a negative one is given back."""
        self._fill(now)
        self.level -= amount

    def learn(self, told: Told, since: float, now: float) -> None:
        """Take over what a provider says.

        Args:
            told: What it says.
            since: What was taken after the request to whose answer it belongs.
            now: The time.
        """
        self._fill(now)
        self.size = told.limit
        self.level = told.remaining - since
        used = told.limit - told.remaining
        if used > 0 and told.reset > 0:
            self.rate = used / told.reset
        self.at = now

    def _fill(self, now: float) -> None:
        self.level = min(self.size, self.level + self.rate * (now - self.at))
        self.at = now


@dataclass(frozen=True, slots=True)
class Told:
    """What a provider says about a limit.

    Attributes:
        limit: The size of the bucket: what can be sent after a pause.
        remaining: What can be sent now.
        reset: Seconds until `remaining` is `limit` again.
    """

    limit: float
    remaining: float
    reset: float
