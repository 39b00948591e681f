"""Providers with limits that nobody tells, in virtual time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from personakit.rate import Controller, Learnt

T = TypeVar("T")
_WORKERS = 300


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time jumps to the next timer when nothing is left to do."""

    now = 0.0

    def time(self) -> float:
        return self.now

    def _run_once(self) -> None:
        ready, scheduled = vars(self)["_ready"], vars(self)["_scheduled"]
        if not ready and scheduled:
            self.now = max(self.now, scheduled[0].when())
        super()._run_once()  # type: ignore[misc]


def in_virtual_time(main: Callable[[], Awaitable[T]]) -> T:
    """Run a coroutine function in virtual time."""

    async def started() -> T:
        return await main()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(started())


def clock() -> float:
    """Return the time of the running loop."""
    return asyncio.get_running_loop().time()


@dataclass
class Provider:
    """A provider that refuses what is over its limits.

    Attributes:
        rate: Requests a second; 0 for no limit.
        at_once: Requests at once; 0 for no limit.
        latency: Seconds of an answer in the mean; each takes 70 to 130 percent of them.
        retry_after: Seconds that a refusal asks for; None if it says nothing.
        tells: Whether answers have headers with the limit.
        accepted: The times of the accepted requests.
        refused: How many were refused.
    """

    rate: float = 0.0
    at_once: int = 0
    latency: float = 1.0
    retry_after: float | None = None
    tells: bool = False
    accepted: list[float] = field(default_factory=list)
    refused: int = 0
    _running: int = 0
    _tokens: float = 0.0
    _since: float = 0.0
    _random: random.Random = field(default_factory=lambda: random.Random(3))

    def headers(self) -> Mapping[str, str]:
        """Return the headers of an answer."""
        if not self.tells:
            return {}
        left = max(0, int(self._tokens))
        return {
            "x-ratelimit-limit-requests": str(int(self.rate * 60)),
            "x-ratelimit-remaining-requests": str(left),
            "x-ratelimit-reset-requests": f"{(self.rate * 60 - left) / self.rate:.3f}s",
        }

    async def ask(self) -> bool:
        """Return whether a request is accepted, when it is answered."""
        now = clock()
        if self.rate:
            # A second of burst, or a minute where the limit is told as that of a minute.
            most = self.rate * (60 if self.tells else 1)
            first = not self.accepted and not self.refused
            self._tokens = (
                most if first else min(most, self._tokens + (now - self._since) * self.rate)
            )
            self._since = now
        if (self.rate and self._tokens < 1) or (self.at_once and self._running >= self.at_once):
            self.refused += 1
            await asyncio.sleep(0.05)
            return False
        self._tokens -= 1
        self._running += 1
        self.accepted.append(now)
        await asyncio.sleep(self.latency * self._random.uniform(0.7, 1.3))
        self._running -= 1
        return True

    def speed(self, begin: float, end: float) -> float:
        """Return the accepted requests a second in a span."""
        return sum(begin <= at < end for at in self.accepted) / (end - begin)


async def used(provider: Provider, seconds: float, **given: Any) -> Learnt:
    """Send as much as a controller allows for some seconds; return what it knows then."""
    controller = Controller(clock=clock, **given)

    async def work() -> None:
        while clock() < seconds:
            permit = await controller.permit(100)
            if await provider.ask():
                permit.answered(150, provider.headers())
            else:
                permit.refused(provider.retry_after, provider.headers())

    workers = [asyncio.create_task(work()) for _ in range(_WORKERS)]
    await asyncio.sleep(seconds)
    learnt = controller.learnt()
    for worker in workers:
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)
    return learnt
