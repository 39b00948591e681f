"""What an async generator yields, for a caller that has no event loop."""

from __future__ import annotations

import asyncio
import contextvars
import queue
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from typing import Any, TypeVar

T = TypeVar("T")
_MOST = 1000
"""The most values that wait for the caller."""
_PAUSE = 0.01
_ENDED = object()


class _Worker:
    """Runs an async generator in an event loop of its own, in a thread of its own."""

    def __init__(self, start: Callable[[], AsyncGenerator[Any]]) -> None:
        self._start = start
        self.values: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.failure: BaseException | None = None
        self._cancel: Callable[[], object] = lambda: None

    def main(self) -> None:
        try:
            asyncio.run(self._work())
        except BaseException as error:  # it is raised in the caller's thread
            self.failure = error
        finally:
            self.values.put(_ENDED)

    async def _work(self) -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        self._cancel = lambda: loop.call_soon_threadsafe(task.cancel)
        async with aclosing(self._start()) as generator:
            async for value in generator:
                self.values.put(value)
                while self.values.qsize() >= _MOST:
                    await asyncio.sleep(_PAUSE)

    def finish(self) -> None:
        """Wait for the end; a Ctrl-C cancels what is under way."""
        try:
            self._drain()
        except KeyboardInterrupt:
            self._cancel()
            self._drain()

    def _drain(self) -> None:
        while self.values.get() is not _ENDED:
            pass


def in_thread(start: Callable[[], AsyncGenerator[T]], stop: Callable[[], None]) -> Iterator[T]:
    """Yield what an async generator yields, which runs in a thread and an event loop of its own.

    It goes on while the caller works, until `_MOST` values wait. A caller that leaves early waits
    for the end of the generator.

    Args:
        start: Returns the generator.
        stop: Asks it to end soon.
    """
    worker = _Worker(start)
    context = contextvars.copy_context()
    threading.Thread(
        target=context.run, args=(worker.main,), name="personakit-batch", daemon=True
    ).start()
    try:
        while (value := worker.values.get()) is not _ENDED:
            yield value
    except BaseException:
        stop()
        worker.finish()
        raise
    if worker.failure is not None:
        raise worker.failure
