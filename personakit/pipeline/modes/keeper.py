"""The end of an async stream that nobody reads to its end.

A run whose reader stops is suspended with its request open. The garbage collector and the end of an
event loop would close the async generators of the HTTP library in any order, some while others wait
for them, which fails. A keeper closes them from the outside in.
"""

from __future__ import annotations

import asyncio
import functools
import sys
from collections.abc import Callable
from types import AsyncGeneratorType
from typing import Any, ClassVar

from personakit.errors import PersonakitError

Task = asyncio.Task[Any]


class Keeper:
    """Closes the generator of a run after its reader has left.

    A reader has left if nothing refers to the stream any more, if its task ended with an exception
    and no other task read on within a turn of the loop, or if the loop ends. A task that returned
    may have handed the stream to another one.

    Attributes:
        items: The generator.
        reader: The task that reads it; None after its end.
        current_task: Returns the running task.
    """

    __slots__ = ("_closing", "_has_left", "_loop", "_open", "current_task", "items", "reader")

    def __init__(self, items: AsyncGeneratorType[str, None]) -> None:
        self.items, self._loop = items, asyncio.get_running_loop()
        self.current_task = _current_task(self._loop)
        self.reader: Task | None = None
        self._has_left = False
        self._closing: Task | None = None
        self._open = _Open.of(self._loop)
        self._open.add(self)

    def begin(self) -> None:
        """Make the running task the reader.

        Raises:
            PersonakitError: The stream was closed, because its last reader left.
        """
        if self._has_left:
            raise PersonakitError(
                "the stream was closed because the task that read it failed or was cancelled; read "
                "it in one task, or start a new stream"
            )
        if self.items.ag_frame is not None:
            self._set_reader(self.current_task())

    def _set_reader(self, task: Task | None) -> None:
        if self.reader is not None:
            self.reader.remove_done_callback(self._reader_ended)
        self.reader = task
        if task is not None:
            task.add_done_callback(self._reader_ended)

    def _reader_ended(self, task: Task) -> None:
        # The method exception() would keep the loop from reporting an exception that nobody reads.
        if task.cancelled() or task._exception is not None:
            # A task that awaits this one may read on in the next turn.
            self._loop.call_soon(self._leave_unless_read_on, task)
        elif self.reader is task:
            self.reader = None

    def _leave_unless_read_on(self, task: Task) -> None:
        if self.reader is task:
            self._leave()

    def ended(self) -> None:
        """Record the end of the generator."""
        self._open.remove(self)
        self._set_reader(None)

    def drop(self) -> None:
        """Close the generator, if it has not ended: nothing refers to the stream any more.

        May be called in any thread.
        """
        if self.items.ag_frame is None or self._has_left:
            return
        try:
            self._loop.call_soon_threadsafe(self._leave)
        except RuntimeError:
            self._open.remove(self)  # the loop is closed

    def _leave(self) -> None:
        if not self._has_left and self.items.ag_frame is not None:
            self._has_left = True
            self._closing = self._loop.create_task(self.close())

    async def close(self) -> None:
        """Close the generator, unless a task is reading or closing it."""
        if not self.items.ag_running:
            self._has_left = True
            await self.items.aclose()

    async def closed(self) -> None:
        """Wait until the generator is closed, if the keeper closes it."""
        if self._closing is not None:
            await asyncio.wait([self._closing])


def _current_task(loop: asyncio.AbstractEventLoop) -> Callable[[], Task | None]:
    if sys.version_info >= (3, 12):
        return asyncio.current_task
    # Before Python 3.12 that is not in C, and would take an eighth of the time of an event.
    return functools.partial(asyncio.tasks._current_tasks.get, loop)  # type: ignore[attr-defined]


class _Open:
    """The keepers of an event loop whose streams are open.

    They refer to their generators, so the garbage collector closes none of the generators in these.
    While there are any, a task waits for the end of the loop, which cancels its tasks.
    """

    _of: ClassVar[dict[asyncio.AbstractEventLoop, _Open]] = {}

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._keepers: set[Keeper] = set()
        self._is_ending = False
        self._idle: asyncio.Future[None] = loop.create_future()
        self._task = loop.create_task(self._wait())

    @classmethod
    def of(cls, loop: asyncio.AbstractEventLoop) -> _Open:
        """Return those of a loop."""
        own = cls._of.get(loop)
        if own is None:
            for other in list(cls._of):
                if other.is_closed():
                    cls._of.pop(other, None)
            own = cls._of[loop] = cls(loop)
        return own

    def add(self, keeper: Keeper) -> None:
        self._keepers.add(keeper)

    def remove(self, keeper: Keeper) -> None:
        self._keepers.discard(keeper)
        if not (self._keepers or self._is_ending or self._loop.is_closed()):
            # The next stream often begins at once.
            self._is_ending = True
            self._loop.call_soon(self._end_if_idle)

    def _end_if_idle(self) -> None:
        self._is_ending = False
        if not self._keepers and self._of.get(self._loop) is self:
            del self._of[self._loop]
            if not self._idle.done():
                self._idle.set_result(None)

    async def _wait(self) -> None:
        try:
            await self._idle
        except asyncio.CancelledError:
            for keeper in list(self._keepers):
                try:
                    await keeper.close()
                except Exception as error:
                    message = "an error occurred while an abandoned stream was closed"
                    self._loop.call_exception_handler({"message": message, "exception": error})
