"""Waits with a limit that take no timer if there is nothing to wait for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Generator
from typing import Any, Generic, TypeVar

T = TypeVar("T")


async def within(seconds: float, action: Awaitable[T]) -> T:
    """Return the result of an action that may take some seconds at most.

    What needs no wait, such as a small body that is there, gets no timer.

    Raises:
        TimeoutError: It took longer.
    """
    steps = action.__await__()
    try:
        first = next(steps)
    except StopIteration as ended:
        result: T = ended.value
        return result
    async with asyncio.timeout(seconds):
        return await _Rest(steps, first)


class _Rest(Generic[T]):
    """What is left of an action after its first step."""

    def __init__(self, steps: Generator[Any, Any, T], first: Any) -> None:
        self._steps, self._first = steps, first

    def __await__(self) -> Generator[Any, Any, T]:
        item = self._first
        while True:
            try:
                yield item
            except BaseException as error:
                # The awaitables of servers that are not written in Python may lack it.
                throw = getattr(self._steps, "throw", None)
                if throw is None:
                    raise
                try:
                    item = throw(error)
                except StopIteration as ended:
                    return ended.value  # type: ignore[no-any-return]
            else:
                return (yield from self._steps)
