"""The drivers, which step the coroutine of a run to its end in the sync and in the async API.

The sync API steps it with `send(None)`, without an event loop or a thread; the async API passes
what it awaits to the running loop. To stream text, a run puts it into its outbox and awaits a
marker, which gives control to the driver; the driver yields the text to the caller.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator, Iterator
from contextvars import Context, ContextVar, copy_context
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from personakit.base import BESIDE, Apart, Emit, Mark, Noting, scope, sync_mode
from personakit.errors import PersonakitError, shorten

if TYPE_CHECKING:
    from personakit.pipeline.modes.keeper import Keeper

T = TypeVar("T")

streaming: ContextVar[Run[Any] | None] = ContextVar("personakit_streaming", default=None)
"""The run whose stream is being read in the async API."""


class BlockingAwait(RuntimeError):
    """A plugin awaits something that needs an event loop, in the sync API."""


def needs_loop(error: BaseException) -> bool:
    """Return whether an error comes from an await, in the sync API, that needs an event loop."""
    text = str(error)
    return isinstance(error, BlockingAwait) or (
        isinstance(error, RuntimeError) and ("event loop" in text or "async" in text)
    )


class Passed:
    """Passes the item that an inner await yields to the running event loop."""

    __slots__ = ("_item",)

    def __init__(self, item: Any) -> None:
        self._item = item

    def __await__(self) -> Generator[Any, Any, Any]:
        return (yield self._item)


def _beside() -> Context:
    """Return the context of a run; one that a hook or a tool starts has its own scope."""
    context = copy_context()
    if (outer := scope.get()) is not None:
        context.run(scope.set, outer.beside())
    return context


@dataclass(slots=True)
class Run(Generic[T]):
    """A run in progress: its coroutine, its context and its outbox of text.

    With `by_pieces`, the other pieces of the answer are in the outbox, too.

    Attributes:
        stepping: Whether the driver runs the coroutine now.
        passing: Waits in another task until the text in the outbox was yielded; set by `gather`.
    """

    start: Callable[[Emit], Coroutine[Any, Any, T]]
    outbox: list[Any] = field(default_factory=list)
    result: T | None = None
    context: Context = field(default_factory=_beside)
    keeper: Keeper | None = None
    by_pieces: bool = False
    begun: bool = False
    stepping: bool = False
    passing: Callable[[], Awaitable[None]] | None = None

    def begin(self) -> Coroutine[Any, Any, T]:
        """Return the coroutine of the run."""
        self.begun = True
        return self.start(Noting(self.emit, self.emit) if self.by_pieces else self.emit)

    async def emit(self, text: Any) -> None:
        """Put text into the outbox and give control to the driver.

        In another task the driver cannot be reached: `gather` passes the text on for its tasks.
        Otherwise (asyncio.wait_for creates a task before Python 3.12) the driver yields it when it
        has control again.
        """
        if sync_mode.get() == BESIDE:
            # What `gather` runs beside this stream may have refused it before this text came.
            await Mark()
        self.outbox.append(text)
        if self.stepping:
            await Mark()
        elif self.passing is not None:
            await self.passing()

    def step(self, action: Callable[..., Any], *args: Any) -> Any:
        """Run the coroutine to its next await."""
        self.stepping = True
        try:
            return self.context.run(action, *args)
        finally:
            self.stepping = False

    def finished(self) -> T:
        """Return the result of a run that has ended."""
        if self.result is None:
            raise PersonakitError("the stream has not ended; read it to the end first")
        return self.result

    def drain(self) -> Iterator[Any]:
        """Yield and remove the text in the outbox."""
        while self.outbox:
            yield self.outbox.pop(0)


def drive(run: Run[T]) -> Iterator[Any]:
    """Step a run to its end without an event loop, yielding its text."""
    run.context.run(sync_mode.set, True)
    coroutine = run.begin()
    action: Callable[..., Any] = coroutine.send
    argument: Any = None
    try:
        while True:
            try:
                item = run.step(action, argument)
            except StopIteration as stop:
                run.result = stop.value
                yield from run.drain()
                return
            except Exception as error:
                yield from run.drain()
                shorten(error)
                raise
            action, argument = coroutine.send, None
            if isinstance(item, Mark):
                yield from run.drain()
            else:
                action = coroutine.throw
                argument = BlockingAwait(f"it awaited {item!r}")
    finally:
        run.context.run(coroutine.close)


async def adrive(run: Run[T]) -> AsyncGenerator[Any]:
    """Step a run to its end in the running event loop, yielding its text."""
    run.context.run(sync_mode.set, False)
    run.context.run(streaming.set, run)
    coroutine = run.begin()
    action: Callable[..., Any] = coroutine.send
    argument: Any = None
    try:
        while True:
            try:
                item = run.step(action, argument)
            except StopIteration as stop:
                run.result = stop.value
                for text in run.drain():
                    yield text
                return
            except Exception as error:
                for text in run.drain():
                    yield text
                shorten(error)
                raise
            action, argument = coroutine.send, None
            if isinstance(item, Mark):
                for text in run.drain():
                    yield text
                continue
            try:
                argument = await Passed(item)
            except BaseException as error:
                action, argument = coroutine.throw, error
    finally:
        try:
            await _unwind(run, coroutine)
        finally:
            run.context.run(streaming.set, None)  # the run and its context would be a cycle
            if run.keeper is not None:
                run.keeper.ended()


async def _unwind(run: Run[T], coroutine: Coroutine[Any, Any, T]) -> None:
    """Cancel an abandoned run, so that its `finally` blocks can await.

    With GeneratorExit they cannot: a coroutine closes the coroutine that it awaits.
    """
    if inspect.getcoroutinestate(coroutine) in (inspect.CORO_CLOSED, inspect.CORO_CREATED):
        coroutine.close()
        return
    # Importing asyncio takes 16 ms, which commands without an event loop need not spend.
    import asyncio  # noqa: PLC0415

    action: Callable[..., Any] = coroutine.throw
    argument: Any = asyncio.CancelledError()
    cancelled = False
    while True:
        try:
            item = run.step(action, argument)
        except StopIteration:
            return
        except asyncio.CancelledError:
            if cancelled:
                raise
            return
        action, argument = coroutine.send, None
        if not isinstance(item, Mark):
            try:
                argument = await Passed(item)
            except BaseException as error:
                action, argument = coroutine.throw, error
                cancelled = cancelled or isinstance(error, asyncio.CancelledError)


def run_sync(
    start: Callable[[None], Coroutine[Any, Any, T]], mode: int = True, *, is_run: bool = True
) -> T:
    """Run a coroutine function without streaming and without an event loop.

    Args:
        start: The function.
        mode: See `sync_mode`.
        is_run: Whether it is a run, which has a scope of its own inside of another; False for a
            part of one.
    """
    context = _beside() if is_run and scope.get() is not None else copy_context()
    context.run(sync_mode.set, mode)
    coroutine = start(None)
    action: Callable[..., Any] = coroutine.send
    argument: Any = None
    try:
        while True:
            item = context.run(action, argument)
            action = coroutine.throw
            argument = BlockingAwait(f"it awaited {item!r}")
    except StopIteration as stop:
        result: T = stop.value
        return result
    except PersonakitError as error:
        shorten(error)
        raise
    finally:
        context.run(coroutine.close)


def alone(coroutine: Coroutine[Any, Any, T]) -> Awaitable[T]:
    """Return what awaits a coroutine that emits nothing; under `gather`, in a thread if need be."""
    if sync_mode.get() != BESIDE:
        return coroutine
    return Apart(functools.partial(run_sync, lambda _: coroutine, is_run=False))


async def run_async(start: Callable[[None], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine function without streaming in the running event loop."""
    context = copy_context() if scope.get() is None else _beside()
    context.run(sync_mode.set, False)
    coroutine = start(None)
    action: Callable[..., Any] = coroutine.send
    argument: Any = None
    try:
        while True:
            try:
                item = context.run(action, argument)
            except StopIteration as stop:
                result: T = stop.value
                return result
            action, argument = coroutine.send, None
            try:
                argument = await Passed(item)
            except BaseException as error:
                action, argument = coroutine.throw, error
    except PersonakitError as error:
        shorten(error)
        raise
    finally:
        context.run(coroutine.close)


async def loading(load: Callable[[], T]) -> T:
    """Call a function that may take a second; under the async API, in a thread.

    Where no event loop of asyncio is running, it is called in place.
    """
    if not sync_mode.get():
        import asyncio  # noqa: PLC0415

        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return load()
        return await asyncio.to_thread(load)
    return load()


def deferred(
    make: Callable[[], Callable[[Emit | None], Coroutine[Any, Any, T]]],
) -> Callable[[Emit | None], Coroutine[Any, Any, T]]:
    """Return a run that is made when it begins: making the first takes a second; see `loading`."""

    async def begun(emit: Emit | None) -> T:
        start = await loading(make)
        return await start(emit)

    return begun
