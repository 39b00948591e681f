"""Requests a second that a provider accepts, if it neither says its limit nor how long to wait."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from personakit.rate.buckets import Bucket

_SPAN = 10.0
"""Seconds over which the accepted requests are counted."""
_BURST = 0.25
_GROWTH = 1.03
"""The growth of the rate in a second."""
_ENOUGH = 20
"""The answers of a span from which on they say something about the rate."""


class Pace:
    """The rate at which a provider has accepted requests lately.

    Args:
        clock: Returns seconds.

    Attributes:
        bucket: The bucket of that rate; None as long as no refusal was for the rate.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._counts: deque[tuple[float, int]] = deque()
        self._began = self._grown = clock()
        self._lowered: float | None = None
        self.bucket: Bucket | None = None

    def answered(self) -> None:
        """Note an answer."""
        now = self._clock()
        if self._counts and now - self._counts[-1][0] < 1:
            second, count = self._counts[-1]
            self._counts[-1] = second, count + 1
        else:
            self._counts.append((now, 1))
            while self._counts[0][0] < now - _SPAN:
                self._counts.popleft()
        if self.bucket is not None and now - self._grown > 1:
            self._set(self.bucket.rate * _GROWTH, now)

    def refused(self) -> None:
        """Note that requests were refused for their rate, once for all that were under way."""
        now = self._clock()
        if self._lowered is not None and now - self._lowered < _SPAN:
            return
        count = sum(count for second, count in self._counts if second >= now - _SPAN)
        if count < _ENOUGH:
            return
        self._lowered = now
        self._set(count / min(_SPAN, max(1.0, now - self._began)), now)

    def _set(self, rate: float, now: float) -> None:
        self._grown, size = now, max(1.0, rate * _BURST)
        if self.bucket is None:
            self.bucket = Bucket(rate, size, 0.0, now)
        else:
            self.bucket.rate, self.bucket.size = rate, size
