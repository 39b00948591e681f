"""How long a batch's controller takes to learn the limit of a provider: ``python limits.py``.

It runs in an environment of personakit, in virtual time: the clock jumps to the next event, so an
hour takes as long as its requests. It prints JSON: for each kind of provider the seconds until the
answers of ten seconds in a row are 90 % of what it could give (null for never), the share of its
limit in the last minute, and the refusals.
"""

from __future__ import annotations

import asyncio
import json
import selectors
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from personakit.rate import Controller

_SPAN = 10
_ENOUGH = 0.9


class _Selector(selectors.DefaultSelector):
    """A selector for which time passes at once."""

    now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        self.now += timeout or 0.0
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time jumps to the next event."""

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        """Return the virtual time in seconds."""
        return self._virtual.now


@dataclass(slots=True)
class Provider:
    """A provider with a limit that nobody was told.

    Attributes:
        rate: Requests a second that it accepts; 0 for any.
        at_once: Requests that it accepts at the same time; 0 for any.
        slots: Requests that it answers at the same time, while others wait; 0 for any.
        latency: Seconds that an answer takes.
        is_used_up: Whether others have used up what may be sent when the batch begins.
        says: ``headers`` with each answer, ``retry-after`` with a refusal, or ``nothing``.
    """

    rate: float = 0.0
    at_once: int = 0
    slots: int = 0
    latency: float = 0.5
    is_used_up: bool = False
    says: str = "nothing"
    running: int = 0
    level: float = 0.0
    at: float = 0.0
    turn: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(1))

    @property
    def best(self) -> float:
        """The most answers a second."""
        return self.rate or (self.at_once or self.slots) / self.latency

    @property
    def size(self) -> float:
        """The requests that it accepts at once after a pause: those of two seconds."""
        return max(1.0, 2 * self.rate)

    async def ask(self, now: float) -> bool:
        """Return whether a request was answered; it was refused if not."""
        self.level = min(self.size, self.level + self.rate * (now - self.at))
        self.at = now
        if (self.rate and self.level < 1) or (self.at_once and self.running >= self.at_once):
            await asyncio.sleep(0.05)
            return False
        self.level -= 1
        self.running += 1
        if self.slots:
            async with self.turn:
                await asyncio.sleep(self.latency)
        else:
            await asyncio.sleep(self.latency)
        self.running -= 1
        return True

    def headers(self) -> Mapping[str, str]:
        """Return what it says with an answer."""
        if self.says != "headers":
            return {}
        reset = (self.size - self.level) / self.rate
        return {
            "x-ratelimit-limit-requests": str(int(self.size)),
            "x-ratelimit-remaining-requests": str(max(0, int(self.level))),
            "x-ratelimit-reset-requests": f"{reset:.3f}s",
        }

    @property
    def retry_after(self) -> float | None:
        """The seconds to wait after a refusal; None if it does not say."""
        return 1.0 if self.says == "retry-after" else None


PROVIDERS = {
    "600 requests a minute, told by headers": Provider(10, says="headers"),
    "600 requests a minute, `retry-after`": Provider(10, says="retry-after"),
    "600 requests a minute, 429 alone": Provider(10),
    "6,000 requests a minute, told by headers": Provider(100, says="headers"),
    "6,000 requests a minute, `retry-after`": Provider(100, says="retry-after"),
    "6,000 requests a minute, 429 alone": Provider(100),
    "6,000 requests a minute, used up at the start": Provider(100, is_used_up=True),
    "40 requests at once, 429 beyond": Provider(at_once=40, says="retry-after"),
    "300 requests at once, 429 beyond": Provider(at_once=300, says="retry-after"),
    "50 answered at once, others wait": Provider(slots=50),
}


async def learn(provider: Provider, seconds: int) -> tuple[int | None, float, int]:
    """Send as many requests as a controller allows, and return how it went."""
    provider.level = 1.0 if provider.is_used_up else provider.size
    loop = asyncio.get_running_loop()
    controller = Controller(clock=loop.time)
    provider.turn = asyncio.Semaphore(provider.slots or 1)
    counts = [0] * (seconds + 1)
    rows: set[asyncio.Task[None]] = set()
    begin = asyncio.Event()

    async def row() -> None:
        while True:
            permit = await controller.permit(100)
            if await provider.ask(loop.time()):
                permit.answered(200, provider.headers())
                counts[min(seconds, int(loop.time()))] += 1
                return
            permit.refused(provider.retry_after)

    def ended(task: asyncio.Task[None]) -> None:
        rows.discard(task)
        task.result()
        begin.set()

    while loop.time() < seconds:
        while len(rows) < controller.concurrency:
            task = asyncio.create_task(row())
            rows.add(task)
            task.add_done_callback(ended)
        begin.clear()
        await begin.wait()
    for task in rows:
        task.remove_done_callback(ended)
        task.cancel()
    await asyncio.gather(*rows, return_exceptions=True)
    enough = _ENOUGH * provider.best * _SPAN
    spans = range(seconds - _SPAN + 1)
    first = next((at + _SPAN for at in spans if sum(counts[at : at + _SPAN]) >= enough), None)
    late = counts[max(0, seconds - 60) : seconds]
    refused = controller.learnt().refused
    return first, sum(late) / len(late) / provider.best, refused


def main(seconds: int) -> None:
    found = {}
    for name, provider in PROVIDERS.items():
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            found[name] = runner.run(learn(provider, seconds))
    print(json.dumps(found))


if __name__ == "__main__":
    main(int(sys.argv[1]))
