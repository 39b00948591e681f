"""The deadline of many waits, one after the other, with one timer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from personakit.base import deadline

T = TypeVar("T")


class Limit:
    """Ends a wait at the deadline of the run.

    `asyncio.timeout` makes a timer for each wait, which takes longer than to read an event.
    """

    __slots__ = ("_limit", "_passed", "_task", "_timer")

    def __init__(self) -> None:
        self._limit: deadline.Deadline | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[Any] | None = None
        self._passed = False

    async def of(self, wait: Callable[[], Awaitable[T]]) -> T:
        """Wait for what a function returns.

        Raises:
            TimeoutError: The deadline has passed.
        """
        if self._limit is not (limit := deadline.current()):
            self.close()
            self._limit = limit
        if limit is None:
            return await wait()
        deadline.left()  # raises if it has passed
        if self._timer is None:
            self._set(limit)
        task = self._task = asyncio.current_task()
        assert task is not None
        cancelling, self._passed = task.cancelling(), False
        try:
            result = await wait()
        except BaseException as error:
            ends = self._passed and task.uncancel() <= cancelling
            if ends and isinstance(error, asyncio.CancelledError):
                raise TimeoutError(f"{limit} has passed") from error
            raise
        finally:
            self._task = None
        if self._passed:
            # The wait went on in spite of the timer; a later cancellation is not of the timer.
            task.uncancel()
        return result

    def close(self) -> None:
        """End the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set(self, limit: deadline.Deadline) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(max(limit.left, 0.0), self._end, limit)

    def _end(self, limit: deadline.Deadline) -> None:
        if limit.left > 0:  # it was moved
            self._set(limit)
        elif self._task is not None:
            self._timer, self._passed = None, True
            self._task.cancel()
        else:
            self._timer = None
