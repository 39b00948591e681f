"""A thread that writes what is queued, in groups, and tells those who wait.

A transaction costs more than a row of it, and so does waking a thread or an event loop. What is
queued during a write is written together in the next.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Generic, TypeVar

from personakit.base import in_sync

T = TypeVar("T")
IDLE = 0.2
"""Seconds that a thread stays without anything to write; starting one costs as much as a row."""
GROUP = 200
"""Items that are written at once."""


class Waiter:
    """Waits in one run for the end of a write, in the sync or the async API."""

    __slots__ = ("_event", "_future", "loop")

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        if in_sync():
            self._event = threading.Event()
        else:
            self.loop = asyncio.get_running_loop()
            self._future: asyncio.Future[bool] = self.loop.create_future()

    async def wait(self, seconds: float) -> bool:
        """Return whether the write ended within so many seconds."""
        if self.loop is None:
            return self._event.wait(seconds)
        # A timer costs a tenth of the task that asyncio.wait_for makes.
        timer = self.loop.call_later(seconds, self.tell, False)
        try:
            return await self._future
        finally:
            timer.cancel()

    def tell(self, ended: bool = True) -> None:
        """End the wait; call this in the event loop that waits."""
        if self.loop is None:
            self._event.set()
        elif not self._future.done():
            self._future.set_result(ended)


def tell(waiters: Iterable[Waiter | None]) -> None:
    """End the wait of several, and wake each event loop once."""
    loops: dict[asyncio.AbstractEventLoop, list[Waiter]] = {}
    for waiter in waiters:
        if waiter is not None and waiter.loop is not None:
            loops.setdefault(waiter.loop, []).append(waiter)
        elif waiter is not None:
            waiter.tell()
    for loop, its in loops.items():
        # A loop that is closed has nobody who waits.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(tell_all, its)


def tell_all(waiters: Sequence[Waiter]) -> None:
    """End the wait of several, in their event loop."""
    for waiter in waiters:
        waiter.tell()


class Writer(Generic[T]):
    """Queues items for a thread, which starts when there is one and ends when there are none."""

    def __init__(self) -> None:
        self._begin_anew()

    def _begin_anew(self) -> None:
        """Reset the state: at first, and in a forked process, which has no thread."""
        self._pid = os.getpid()
        self._changed = threading.Condition()
        self._waiting: deque[T] = deque()
        self._thread: threading.Thread | None = None
        self._is_idle = False

    def __len__(self) -> int:
        """Return the number of items that no write has begun with."""
        return len(self._waiting)

    def put(self, item: T, write: Callable[[list[T]], None]) -> None:
        """Queue an item.

        Args:
            item: The item.
            write: Writes a group of items, in the thread; it must not raise an error. That of the
                first item counts for all until the thread ends.
        """
        if self._pid != os.getpid():
            self._begin_anew()
        with self._changed:
            self._waiting.append(item)
            if self._thread is not None:
                if self._is_idle:
                    self._is_idle = False
                    self._changed.notify_all()
                return
            thread = threading.Thread(target=self._work, args=(write,), daemon=True)
            self._thread = thread
        try:
            thread.start()
        except RuntimeError:
            # The process is exiting or has reached its limit of threads.
            self._thread = None
            while group := self._next():
                write(group)

    def flush(self, seconds: float) -> None:
        """Wait until the queue is empty and written, for at most so many seconds."""
        if self._pid != os.getpid() or threading.current_thread() is self._thread:
            return
        until = time.monotonic() + seconds
        with self._changed:
            while self._thread is not None and not self._is_idle:
                left = until - time.monotonic()
                if left <= 0 or not self._changed.wait(left):
                    return

    def _next(self) -> list[T]:
        return [self._waiting.popleft() for _ in range(min(len(self._waiting), GROUP))]

    def _work(self, write: Callable[[list[T]], None]) -> None:
        while True:
            with self._changed:
                if not self._waiting:
                    self._is_idle = True
                    self._changed.notify_all()  # those who flush
                    self._changed.wait_for(lambda: not self._is_idle, IDLE)
                if not self._waiting:
                    self._thread, self._is_idle = None, False
                    self._changed.notify_all()
                    return
                self._is_idle = False
                group = self._next()
            write(group)
