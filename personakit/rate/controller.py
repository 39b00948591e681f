"""The controller of one provider and key: how many requests at once, and how many a minute."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from personakit.rate.buckets import Bucket
from personakit.rate.headers import told
from personakit.rate.pace import Pace
from personakit.rate.window import Window

_KINDS = ("requests", "tokens")
_REMEMBERED = 50
_FIRST_PAUSE, _LONGEST_PAUSE, _LONG = 1.0, 60.0, 0.5


@dataclass(frozen=True, slots=True)
class Learnt:
    """What a controller knows of its provider.

    Attributes:
        concurrency: The requests that may be under way now.
        in_flight: Those that are.
        requests: Requests a minute; None if no limit is known.
        tokens: Tokens a minute; None if no limit is known.
        waits: Seconds until requests may be sent again; 0 if they may.
        refused: How many requests the provider refused for their rate.
    """

    concurrency: int
    in_flight: int
    requests: float | None = None
    tokens: float | None = None
    waits: float = 0.0
    refused: int = 0


class Permit:
    """A request that may be sent. Exactly one of its methods is called, when it has ended."""

    __slots__ = ("_controller", "number", "sent_at", "tokens")

    def __init__(self, controller: Controller, number: int, tokens: float, now: float) -> None:
        self._controller, self.number, self.tokens, self.sent_at = controller, number, tokens, now

    def answered(self, tokens: float | None = None, headers: Mapping[str, str] = {}) -> None:
        """Note an answer.

        Args:
            tokens: The tokens of prompt and answer; None if unknown.
            headers: The headers by their names in lower case.
        """
        self._controller._answered(self, tokens, headers)

    def refused(self, retry_after: float | None, headers: Mapping[str, str] = {}) -> None:
        """Note that the provider refused the request for its rate: all requests wait for a while.

        Args:
            retry_after: The seconds to wait that it asks for; None if it does not.
            headers: See `answered`.
        """
        self._controller._refused(self, retry_after, headers)

    def failed(self, *, overloaded: bool = False) -> None:
        """Note another failure; `overloaded` is one of a provider that has too much to do."""
        self._controller._failed(self, overloaded=overloaded)

    def unsent(self) -> None:
        """Give the permit back: nothing was sent."""
        self._controller._unsent(self)


class Controller:
    """Decides when the next request to a provider may be sent. One event loop uses it.

    Args:
        concurrency: Requests at once; None to find it out.
        requests: The most requests a minute; None for what the provider says.
        tokens: The most tokens a minute; None for what the provider says.
        clock: Returns seconds.
    """

    def __init__(
        self,
        *,
        concurrency: int | None = None,
        requests: float | None = None,
        tokens: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock, self._window, self._pace = clock, Window(concurrency, clock), Pace(clock)
        now = clock()
        given = zip(_KINDS, (requests, tokens), strict=True)
        self._own = {kind: Bucket.of(limit, now) for kind, limit in given if limit}
        self._learnt: dict[str, Bucket] = {}
        self._taken = dict.fromkeys(_KINDS, 0.0)
        self._in_flight = self._number = self._refusals = self._in_a_row = 0
        self._until = 0.0
        self._sizes: deque[float] = deque(maxlen=_REMEMBERED)
        self._waiting: deque[tuple[asyncio.Future[Permit], float]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def concurrency(self) -> int:
        """The requests that may be under way now."""
        return int(self._window.size)

    def learnt(self) -> Learnt:
        """Return what is known of the provider."""
        waits = max(0.0, self._until - self._clock())
        limits = {
            kind: min((b.rate * 60 for b in self._buckets(kind)), default=None) for kind in _KINDS
        }
        return Learnt(
            self.concurrency, self._in_flight, **limits, waits=waits, refused=self._refusals
        )

    def _buckets(self, kind: str) -> list[Bucket]:
        buckets = [group[kind] for group in (self._own, self._learnt) if kind in group]
        if kind == "requests" and self._pace.bucket is not None and not self._learnt:
            buckets.append(self._pace.bucket)
        return buckets

    async def permit(self, tokens: float = 0.0) -> Permit:
        """Wait until a request may be sent, in the order of the calls.

        Args:
            tokens: The tokens of its prompt.
        """
        if not self._waiting and self._wait() == 0:
            return self._begun(tokens)
        future: asyncio.Future[Permit] = asyncio.get_running_loop().create_future()
        self._waiting.append((future, tokens))
        self._pump()
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                future.result().unsent()
            raise

    def _wait(self) -> float | None:
        """Return the seconds until a request may be sent; None until one has ended."""
        if self._in_flight >= self.concurrency:
            return None
        now = self._clock()
        waits = [bucket.wait(now) for kind in _KINDS for bucket in self._buckets(kind)]
        return max(0.0, self._until - now, *waits)

    def _begun(self, tokens: float) -> Permit:
        now = self._clock()
        expected = tokens + (statistics.median(self._sizes) if self._sizes else 0.0)
        self._take({"requests": 1.0, "tokens": expected}, now)
        self._in_flight += 1
        self._number += 1
        return Permit(self, self._number, expected, now)

    def _take(self, amounts: Mapping[str, float], now: float) -> None:
        for kind, amount in amounts.items():
            self._taken[kind] += amount
            for bucket in self._buckets(kind):
                bucket.take(amount, now)

    def _pump(self) -> None:
        """Let the requests that wait go, as far as that is possible now."""
        while self._waiting:
            future, tokens = self._waiting[0]
            if future.done():
                self._waiting.popleft()
                continue
            wait = self._wait()
            if wait == 0:
                self._waiting.popleft()
                future.set_result(self._begun(tokens))
                continue
            if wait is not None:
                self._again_in(wait)
            return

    def _again_in(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(min(seconds, _LONGEST_PAUSE), self._pump)

    def _answered(self, permit: Permit, tokens: float | None, headers: Mapping[str, str]) -> None:
        self._in_a_row = 0
        if tokens is not None:
            self._take({"tokens": tokens - permit.tokens}, self._clock())
            self._sizes.append(tokens)
        self._learn(permit, headers)
        self._window.ended(self._in_flight)
        self._pace.answered()
        self._ended()

    def _refused(
        self, permit: Permit, retry_after: float | None, headers: Mapping[str, str]
    ) -> None:
        now = self._clock()
        self._refusals += 1
        self._learn(permit, headers)
        if permit.sent_at >= self._until:
            self._in_a_row += 1
        pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** (self._in_a_row - 1))
        self._until = max(self._until, now + (pause if retry_after is None else retry_after))
        self._take({"tokens": -permit.tokens}, now)
        is_rate = self._window.refused(permit.sent_at, self._in_flight)
        # A provider that asks for less sets the pace by that.
        is_long = retry_after is None or retry_after >= _LONG
        if is_rate and is_long and not self._learnt:
            self._pace.refused()
        self._ended()

    def _failed(self, permit: Permit, *, overloaded: bool) -> None:
        if overloaded:
            self._window.refused(permit.sent_at, self._in_flight)
        self._ended()

    def _unsent(self, permit: Permit) -> None:
        self._take({"requests": -1.0, "tokens": -permit.tokens}, self._clock())
        self._ended()

    def _learn(self, permit: Permit, headers: Mapping[str, str]) -> None:
        """Take over what a provider says about its limits."""
        if not headers:
            return
        now = self._clock()
        for kind in _KINDS:
            value = told(headers, kind)
            if value is None:
                continue
            bucket = self._learnt.get(kind)
            if bucket is None:
                bucket = self._learnt[kind] = Bucket(
                    value.limit / 60, value.limit, value.limit, now
                )
            later = self._number - permit.number
            since = later if kind == "requests" else later * permit.tokens
            bucket.learn(value, min(since, self._in_flight * max(1.0, permit.tokens)), now)

    def _ended(self) -> None:
        self._in_flight -= 1
        self._pump()
