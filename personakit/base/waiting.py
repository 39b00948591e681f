"""Waiting under the sync and the async API: plugins and backends await these in both."""

from __future__ import annotations

import functools
import time
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextvars import ContextVar
from typing import Any, ParamSpec, Self, TypeVar

from personakit.base import deadline
from personakit.errors import Blocked, Timeout

P = ParamSpec("P")
T = TypeVar("T")

Emit = Callable[[str], Awaitable[None]]
BESIDE = 2
IN_PLACE = 3
sync_mode: ContextVar[int] = ContextVar("personakit_sync_mode", default=False)
"""Whether the code runs under the sync API.

True, `BESIDE` in what `gather` runs there, where blocking work is awaited as `Apart`, or `IN_PLACE`
for a run without threads: a dry run.
"""
only_sync: ContextVar[bool] = ContextVar("personakit_only_sync", default=False)
"""True if the async API will not be used, so that its imports can be skipped."""


def in_sync() -> bool:
    """Return whether the code runs under the sync API, where no await may really suspend."""
    return bool(sync_mode.get())


scope: ContextVar[Any] = ContextVar("personakit_scope", default=None)
"""Records what the code that runs asks for; None outside of runs, and where nothing is recorded.

It is a `journal.Scope`; here it need not be imported where no run is recorded.
"""


class Suspending(BaseException):
    """Carries an open question out of a run, past any `except Exception` of a hook.

    Attributes:
        calls: The tool calls without a result, of the innermost run.
        messages: What the outermost run exchanged so far.
        text: What it wrote so far.
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls: tuple[Any, ...] = ()
        self.messages: tuple[Any, ...] = ()
        self.text = ""


class Unanswered(Blocked):
    """Nobody answers a question; the result of the tool call that asked it says so."""


class Mark:
    """Awaited to give control to the driver, which empties the outbox."""

    def __await__(self) -> Generator[Mark, None, None]:
        yield self


class Apart:
    """Awaited in what `gather` runs under the sync API: a call that may run in a thread."""

    __slots__ = ("call",)

    def __init__(self, call: Callable[[], Any]) -> None:
        self.call = call

    def __await__(self) -> Generator[Apart, Any, Any]:
        return (yield self)


async def beside_goes_on() -> None:
    """Let what `gather` runs beside this code go on."""
    if sync_mode.get() == BESIDE:
        await Mark()


def io(
    sync: Callable[P, T], async_: Callable[P, Awaitable[T]] | None = None
) -> Callable[P, Coroutine[Any, Any, T]]:
    """Combine a blocking and an async function into one awaitable function.

    Args:
        sync: Called under the sync API; there `gather` calls it in a thread.
        async_: Awaited under the async API; without it, `sync` runs in a thread there.
    """

    async def call(*args: P.args, **kwargs: P.kwargs) -> T:
        if mode := sync_mode.get():
            if mode == BESIDE:
                value: T = await Apart(functools.partial(sync, *args, **kwargs))
                return value
            return sync(*args, **kwargs)
        if async_ is not None:
            return await async_(*args, **kwargs)
        import asyncio  # noqa: PLC0415

        return await asyncio.to_thread(sync, *args, **kwargs)

    return call


class Closing:
    """Is closed at the end of a `with` or an `async with` block."""

    def close(self) -> None:
        """Close the connections of the sync API."""
        raise NotImplementedError

    async def aclose(self) -> None:
        """Close the connections of the running event loop."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


def time_left() -> float | None:
    """Return the remaining seconds of the current run; None if it has no deadline.

    Work that does not wait calls this from time to time, so that it stops at the deadline.

    Raises:
        Timeout: The deadline has passed.
    """
    try:
        return deadline.left()
    except TimeoutError as error:
        raise Timeout(f"{error}; increase `deadline`") from None


async def sleep(seconds: float) -> None:
    """Wait for a number of seconds, under the sync or the async API.

    Raises:
        Timeout: The wait would exceed the run's deadline; raised before waiting.
    """
    limit = deadline.current()
    if limit is not None and limit.left < seconds:
        raise Timeout(f"a wait of {seconds:.3g} s would exceed {limit}; increase `deadline`")
    if in_sync():
        await io(time.sleep)(seconds)
    else:
        import asyncio  # noqa: PLC0415

        await asyncio.sleep(seconds)
