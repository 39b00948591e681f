"""Requests of all kinds to `personakit serve`: good ones, failing ones, and clients that leave."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from benchmarks.serving.faults import order, text_of
from benchmarks.serving.load import Connection, Wrong
from benchmarks.serving.load import text_of as answered
from benchmarks.serving.servers import PATH

SHARES = {
    "answer": 60, "slow": 4, "once": 3, "429": 3, "500": 3, "reset": 3, "cut": 4, "hang": 4,
}  # fmt: skip
"""How often the upstream does what; see `benchmarks.serving.faults`."""
STREAMED, LEAVES = 0.4, 0.06
"""The shares of requests that are streamed, and whose client leaves before the end."""
PATIENCE = 60.0
"""Seconds after which a request without an end is a fault."""
ATTEMPTS = 3
"""How often the openai client sends a request whose answer is a 429 or 500."""


@dataclass(slots=True)
class Outcome:
    """What came of some requests.

    Attributes:
        sent: The requests by kind: the mode, and whether it was streamed or left.
        ended: The requests by kind and end: a status, ``cut`` (no end), ``left`` or ``lost`` (no
            answer has begun).
        answered: The ids of the runs whose answers arrived whole and right.
        begun: The ids of all runs whose answers have begun.
        faults: What must not be, at most a hundred.
    """

    sent: Counter[str] = field(default_factory=Counter)
    ended: Counter[str] = field(default_factory=Counter)
    answered: set[str] = field(default_factory=set)
    begun: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def fault(self, text: str) -> None:
        """Note what must not be."""
        if len(self.faults) < 100:
            self.faults.append(text)

    def count(self, *ends: str) -> int:
        """Return how many requests ended in one of some ways."""
        return sum(n for name, n in self.ended.items() if name.rpartition(": ")[2] in ends)


@dataclass(frozen=True, slots=True)
class Order:
    """A request to make."""

    number: int
    mode: str
    streamed: bool
    leaves: bool

    @property
    def kind(self) -> str:
        """What it is counted as."""
        return self.mode + ", streamed" * self.streamed + ", left" * self.leaves


def orders(count: int, seed: int = 1, first: int = 0) -> Iterator[Order]:
    """Yield requests of all kinds, in an order that depends on the seed alone."""
    chance = random.Random(seed)
    modes, shares = list(SHARES), list(SHARES.values())
    for number in range(first, first + count):
        (mode,) = chance.choices(modes, shares)
        # Nobody but the client ends a request whose upstream hangs.
        leaves = mode == "hang" or chance.random() < LEAVES
        yield Order(number, mode, chance.random() < STREAMED, leaves)


class Mixed:
    """Sends requests to a server.

    Args:
        port: Where it listens on loopback.
        headers: The key.
        outcome: What comes of them.
        keep: Keep the ids of runs, for a comparison with the run log.
        parameters: Further parts of the bodies, such as `max_tokens`.
    """

    def __init__(
        self,
        port: int,
        headers: dict[str, str],
        outcome: Outcome,
        *,
        keep: bool = False,
        **parameters: Any,
    ) -> None:
        self._port, self._headers, self.outcome, self._keep = port, headers, outcome, keep
        self._parameters = parameters

    async def send(
        self, them: Iterator[Order], at_once: int, each: Callable[[int], None] = lambda _: None
    ) -> None:
        """Send requests, some of them at once; `each` is called after each with their number."""
        done = 0

        async def one_after_the_other() -> None:
            nonlocal done
            connection = Connection(self._port)
            for one in them:
                try:
                    async with asyncio.timeout(PATIENCE):
                        await self._one(connection, one)
                except TimeoutError:
                    connection.close()
                    self.outcome.fault(f"{one}: no end after {PATIENCE:g} s")
                done += 1
                each(done)
            connection.close()

        await asyncio.gather(*(one_after_the_other() for _ in range(at_once)))

    async def _one(self, connection: Connection, one: Order) -> None:
        outcome = self.outcome
        outcome.sent[one.kind] += 1
        end = "lost"
        try:
            end = await (self._left if one.leaves else self._read)(connection, one)
        except (OSError, EOFError, Wrong) as error:
            connection.close()
            if isinstance(error, Wrong):
                end = "cut"
        outcome.ended[f"{one.kind}: {end}"] += 1

    def _body(self, one: Order) -> bytes:
        said = {"role": "user", "content": f"What shall we eat? {order(one.number, one.mode)}"}
        variables = {"location": "Lyon", "guests": one.number % 9 + 1}
        asked = {"model": "bench", "messages": [said], "variables": variables, **self._parameters}
        return json.dumps({**asked, **({"stream": True} if one.streamed else {})}).encode()

    async def _left(self, connection: Connection, one: Order) -> str:
        """Leave after a moment, whatever has arrived."""
        wait = 0.01 + one.number % 5 / 100
        begin = asyncio.create_task(connection.begin(PATH, self._body(one), self._headers))
        done, _ = await asyncio.wait([begin], timeout=wait)
        if done and begin.exception() is None:
            self._began(begin.result().headers)
        begin.cancel()
        connection.close()
        await asyncio.gather(begin, return_exceptions=True)
        return "left"

    async def _read(self, connection: Connection, one: Order) -> str:
        reply = await connection.begin(PATH, self._body(one), self._headers)
        run = self._began(reply.headers)
        try:
            await connection.read(reply)
        except (OSError, EOFError):
            connection.close()
            return "cut"
        if reply.status != 200:
            return str(reply.status)
        text, right = answered(reply.body), text_of(one.number)
        if text != right:
            self.outcome.fault(f"{one}: the answer is {text[:80]!r}, not {right!r}")
        elif run and self._keep:
            self.outcome.answered.add(run)
        return "200"

    def _began(self, headers: dict[str, str]) -> str:
        run = headers.get("x-personakit-run", "")
        if run and self._keep:
            self.outcome.begun[run] += 1
        return run
