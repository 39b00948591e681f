"""Runs against the server, in the four ways."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from faulty.modes import Mode
from faulty.server import LIFE, Faulty
from personakit import Response, Runner
from personakit.testing import MODES as WAYS
from personakit.testing import persona

WHO = persona()


@dataclass(slots=True)
class Ended:
    """How a run ended: in a response or an error, what it had streamed, and when."""

    response: Response | None = None
    error: Exception | None = None
    pieces: list[str] | None = None
    seconds: float = 0.0

    @property
    def streamed(self) -> str | None:
        """The text that was streamed; None when the run was whole."""
        return None if self.pieces is None else "".join(self.pieces)

    def __str__(self) -> str:
        said = f"{self.response.text[:80]!r}" if self.response else repr(self.error)[:400]
        return f"{said} after {self.seconds:.2f} s"


@contextmanager
def ending(ended: Ended) -> Iterator[None]:
    start = time.monotonic()
    try:
        yield
    except Exception as error:
        ended.error = error
    ended.seconds = time.monotonic() - start


def attempt(way: str, runner: Runner, settings: dict[str, Any], **options: Any) -> Ended:
    """Run once in the sync API."""
    ended = Ended()
    request = runner.render(WHO, "Hi!").replace(**settings)
    with ending(ended):
        if way == "run":
            ended.response = runner.run(WHO, request, **options)
        else:
            stream = runner.stream(WHO, request, **options)
            ended.pieces = []
            for text in stream:
                ended.pieces.append(text)
            ended.response = stream.response
    return ended


async def aattempt(way: str, runner: Runner, settings: dict[str, Any], **options: Any) -> Ended:
    """Run once in the async API."""
    ended = Ended()
    request = runner.render(WHO, "Hi!").replace(**settings)
    with ending(ended):
        if way == "arun":
            ended.response = await runner.arun(WHO, request, **options)
        else:
            stream = runner.astream(WHO, request, **options)
            ended.pieces = []
            async for text in stream:
                ended.pieces.append(text)
            ended.response = stream.response
    return ended


def attempts(way: str, server: Faulty, mode: Mode, runs: int = 1, retries: int = 1) -> list[Ended]:
    """Run over the same connections, one run after the other."""
    runner = Runner(server.config())
    options = {"timeout": mode.timeout, "deadline": mode.deadline}
    settings = {"max_retries": retries, "api": mode.api}

    async def all_of_them() -> list[Ended]:
        ended: list[Ended] = []
        for _ in range(runs):
            if ended:
                await asyncio.to_thread(server.settled.wait, LIFE)
            ended.append(await aattempt(way, runner, settings, **options))
        await runner.aclose()
        return ended

    if way in ("arun", "astream"):
        return asyncio.run(all_of_them())
    ended: list[Ended] = []
    for _ in range(runs):
        if ended:
            server.settled.wait(LIFE)
        ended.append(attempt(way, runner, settings, **options))
    runner.close()
    return ended


def in_all_ways(check: Callable[[str], Any]) -> dict[str, Any]:
    """Run a check in the four ways at once; return what it returned."""
    with ThreadPoolExecutor(len(WAYS)) as pool:
        return dict(zip(WAYS, pool.map(check, WAYS), strict=True))
