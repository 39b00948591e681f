"""`gather`: several awaitables of a hook or a tool at the same time.

In the async API each is a task. In the sync API, which has no event loop, all of them are stepped
in the caller's thread, as by a loop of their own; only what blocks runs in threads.
"""

from __future__ import annotations

import inspect
import queue
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, TypeVar, overload

from personakit.base import (
    BESIDE,
    IN_PLACE,
    Apart,
    Mark,
    Suspending,
    deadline,
    in_sync,
    io,
    scope,
    sync_mode,
    time_left,
)
from personakit.errors import UsageError
from personakit.pipeline.modes.drivers import BlockingAwait, Passed, Run, streaming
from personakit.pipeline.send import Send

if TYPE_CHECKING:
    import asyncio

T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")


# No two of them accept the same arguments: where one is an `Awaitable[Any]`, mypy would not choose.
# fmt: off
@overload
async def gather() -> tuple[()]: ...
@overload
async def gather(first: Awaitable[A], /) -> tuple[A]: ...
@overload
async def gather(first: Awaitable[A], second: Awaitable[B], /) -> tuple[A, B]: ...
@overload
async def gather(first: Awaitable[A], second: Awaitable[B], third: Awaitable[C], /
) -> tuple[A, B, C]: ...
@overload
async def gather(first: Awaitable[T], second: Awaitable[T], third: Awaitable[T],
    fourth: Awaitable[T], /, *more: Awaitable[T]) -> tuple[T, ...]: ...
# fmt: on
async def gather(*awaitables: Awaitable[Any]) -> tuple[Any, ...]:
    """Run several awaitables at the same time and return their results, in the given order.

    In the async API each runs in a task. In the sync API your own code runs in the caller's thread,
    where it takes turns at each `await`; these run in threads: `personakit.io(...)`,
    `personakit.sleep`, `send.run` and `send(request)`. An answer that is streamed with `send.live`
    stays in the caller's thread; the others take their turn whenever a piece of it arrives.

    The first error, in the order of time, cancels the others and is raised alone. In the sync API
    it is raised at the next piece of an answer that is being streamed. A call in a thread cannot be
    cancelled: it goes on in the background, at most until the deadline of the run, and nothing
    waits for it.

    Args:
        awaitables: Coroutines and other awaitables, each once.

    Raises:
        UsageError: An argument is not awaitable, or is given twice.
        Timeout: The deadline of the run has passed.
    """
    try:
        _check(awaitables)
        if not awaitables:
            return ()
        return tuple(await (_Turns(awaitables).run() if in_sync() else _in_tasks(awaitables)))
    finally:
        for each in awaitables:
            if inspect.iscoroutine(each) and _is_new(each):
                each.close()


def _check(awaitables: tuple[Any, ...]) -> None:
    for number, each in enumerate(awaitables, 1):
        if not inspect.isawaitable(each):
            name = getattr(each, "__name__", "")
            call = f"; call it: {name}(…)" if callable(each) and name else ""
            raise UsageError(
                f"personakit.gather: argument {number} must be awaitable, found "
                f"{type(each).__name__}{call}"
            )
        if any(each is other for other in awaitables[: number - 1]):
            raise UsageError(f"personakit.gather: argument {number} is given twice")


def _places(awaitables: tuple[Any, ...]) -> list[Any]:
    """Return the places in the run of what is awaited; None if nothing is recorded."""
    outer = scope.get()
    return [None if outer is None else outer.child() for _ in awaitables]


def _is_new(coroutine: Coroutine[Any, Any, Any]) -> bool:
    return inspect.getcoroutinestate(coroutine) == inspect.CORO_CREATED


def _streams(awaitable: Awaitable[Any]) -> bool:
    """Return whether an awaitable emits text as it arrives."""
    code = getattr(awaitable, "cr_code", None)
    return code in (Send._flow.__code__, Send._flow_of.__code__)


async def _awaited(awaitable: Awaitable[T]) -> T:
    return await awaitable


# --- the async API ------------------------------------------------------------------------


async def _in_tasks(awaitables: tuple[Awaitable[Any], ...]) -> list[Any]:
    import asyncio  # noqa: PLC0415

    results: list[Any] = [None] * len(awaitables)
    errors: list[BaseException] = []
    pauses: list[Suspending] = []
    places = _places(awaitables)
    # A TaskGroup would cancel the task that reads the stream, whatever it does at that time.
    tasks: list[asyncio.Task[None]] = []

    async def one(number: int, awaitable: Awaitable[Any]) -> None:
        scope.set(places[number])
        try:
            results[number] = await awaitable
        except Suspending as pause:
            pauses.append(pause)  # the others go on: what they pay is recorded
        # An event loop would stop at a SystemExit.
        except BaseException as error:
            errors.append(error)
            for task in tasks:
                if task is not asyncio.current_task():
                    task.cancel()

    # What emits text comes last: nothing can be sent after the first text.
    ordered = sorted(enumerate(awaitables), key=lambda each: _streams(each[1]))
    tasks += [asyncio.create_task(one(*each)) for each in ordered]
    outlet = _Outlet.of(streaming.get())
    try:
        await (asyncio.wait(tasks) if outlet is None else outlet.until_done(tasks))
    finally:
        open_ones = [task for task in tasks if not task.done()]
        for task in open_ones:
            task.cancel()
        if open_ones:
            await asyncio.wait(open_ones)
    try:
        for error in (*errors, *pauses):
            raise error
    finally:
        errors.clear()  # the frame and the error would be a cycle
    return results


class _Outlet:
    """Passes the text that tasks emit on to the driver of the run, which only its own task reaches.

    Args:
        run: The run.
    """

    def __init__(self, run: Run[Any]) -> None:
        import asyncio  # noqa: PLC0415

        self._run, self._loop = run, asyncio.get_running_loop()
        self._news: asyncio.Future[None] = self._loop.create_future()
        self._emitting: list[asyncio.Future[None]] = []

    @classmethod
    def of(cls, run: Run[Any] | None) -> _Outlet | None:
        """Return the outlet of a stream; None if the code does not run in its task."""
        return cls(run) if run is not None and run.stepping else None

    async def _passing(self) -> None:
        """Wait until the text that was emitted has been read."""
        passed = self._loop.create_future()
        self._emitting.append(passed)
        if not self._news.done():
            self._news.set_result(None)
        await passed

    async def until_done(self, tasks: list[asyncio.Task[None]]) -> None:
        """Wait for tasks, and yield to the driver whenever one of them has emitted text."""
        import asyncio  # noqa: PLC0415

        self._run.passing = self._passing
        left = set(tasks)
        try:
            while left:
                await asyncio.wait({*left, self._news}, return_when=asyncio.FIRST_COMPLETED)
                left = {task for task in left if not task.done()}
                if self._news.done():
                    self._news = self._loop.create_future()
                    emitting, self._emitting = self._emitting, []
                    await Mark()
                    for passed in emitting:
                        if not passed.done():
                            passed.set_result(None)
        finally:
            # A task that emits text while it is being cancelled must not wait.
            self._run.passing = None


# --- the sync API -------------------------------------------------------------------------


class _Turn:
    """One of the awaitables under the sync API, with a context of its own, as a task has.

    Attributes:
        number: Its place among the results.
        streams: Whether its text is emitted, so that it blocks until the first piece arrives.
    """

    def __init__(self, number: int, awaitable: Awaitable[Any], mode: int, place: Any) -> None:
        is_coroutine = inspect.iscoroutine(awaitable)
        self.number = number
        self.coroutine: Any = awaitable if is_coroutine else _awaited(awaitable)
        self.streams = _streams(awaitable)
        self.context = copy_context()
        self.context.run(sync_mode.set, mode)
        self.context.run(scope.set, place)


Step = tuple[_Turn, Callable[..., Any], Any]
"""A turn, a method of its coroutine, and its argument."""


class _Turns:
    """Steps awaitables in the caller's thread; what they await as `Apart` runs in threads.

    Args:
        awaitables: The awaitables.
    """

    def __init__(self, awaitables: tuple[Awaitable[Any], ...]) -> None:
        mode = IN_PLACE if sync_mode.get() == IN_PLACE else BESIDE
        places = _places(awaitables)
        turns = [
            _Turn(number, each, mode, places[number]) for number, each in enumerate(awaitables)
        ]
        self._pauses: list[Suspending] = []
        self._results: list[Any] = [None] * len(turns)
        self._left = list(turns)
        # What would block is stepped last, so that everything else has begun.
        turns.sort(key=lambda turn: turn.streams)
        self._ready: deque[Step] = deque((turn, turn.coroutine.send, None) for turn in turns)
        self._ended: queue.SimpleQueue[Step] = queue.SimpleQueue()

    async def run(self) -> list[Any]:
        """Return the results in order; raise the first error."""
        try:
            while self._left:
                self._take_ended()
                if not self._ready:
                    # Under an outer `gather`, in a thread: that one goes on.
                    self._ready.append(await io(_next)(self._ended))
                if (mark := self._step(*self._ready.popleft())) is not None:
                    await Passed(mark)
        finally:
            for turn in self._left:
                with suppress(Exception):  # the first error is raised alone
                    turn.context.run(turn.coroutine.close)
        if self._pauses:
            raise self._pauses[0]
        return self._results

    def _take_ended(self) -> None:
        """Let those whose threads have ended go on first."""
        ended = []
        while not self._ended.empty():
            ended.append(self._ended.get())
        self._ready.extendleft(reversed(ended))

    def _step(self, turn: _Turn, action: Callable[..., Any], argument: Any) -> Mark | None:
        """Run a coroutine to its next await; return a mark for the driver."""
        try:
            item = turn.context.run(action, argument)
        except StopIteration as stop:
            self._results[turn.number] = stop.value
            self._left.remove(turn)
            return None
        except Suspending as pause:
            self._pauses.append(pause)  # the others go on: what they pay is recorded
            self._left.remove(turn)
            return None
        except Exception:
            self._raise_earlier()
            raise
        following: Step = (turn, turn.coroutine.send, None)
        if isinstance(item, Apart):
            self._start(turn, item.call)
            return None
        if isinstance(item, Mark):
            self._ready.append(following)
            return item
        wrong = BlockingAwait(f"it awaited {item!r}")
        self._ready.append((turn, turn.coroutine.throw, wrong))
        return None

    def _raise_earlier(self) -> None:
        """Step those whose threads ended before an error, which may raise an earlier one."""
        while not self._ended.empty():
            turn, action, argument = self._ended.get()
            with suppress(StopIteration):
                turn.context.run(action, argument)

    def _start(self, turn: _Turn, call: Callable[[], Any]) -> None:
        context = turn.context.copy()
        context.run(sync_mode.set, True)

        def work() -> None:
            try:
                step: Step = (turn, turn.coroutine.send, context.run(call))
            except BaseException as error:
                step = (turn, turn.coroutine.throw, error)
            self._ended.put(step)

        # The threads of an executor would keep the interpreter from exiting.
        threading.Thread(target=work, name="personakit-gather", daemon=True).start()


def _next(ended: queue.SimpleQueue[Step]) -> Step:
    """Wait for the end of a thread.

    Raises:
        Timeout: The deadline of the run has passed.
    """
    while True:
        try:
            return ended.get(timeout=deadline.shorter(None))
        except queue.Empty:
            time_left()
