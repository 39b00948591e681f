"""The drivers of runs whose text is not read on the way: `drive` without an outbox."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextvars import copy_context
from typing import Any, TypeVar

from personakit.base import sync_mode
from personakit.drive import BlockingAwait, Passed

T = TypeVar("T")


def complete(start: Callable[[None], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine function that lets no text out to its end, without an event loop."""
    context = copy_context()
    context.run(sync_mode.set, True)
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
    finally:
        context.run(coroutine.close)


async def acomplete(start: Callable[[None], Coroutine[Any, Any, T]]) -> T:
    """As `complete`, in the running event loop."""
    context = copy_context()
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
    finally:
        context.run(coroutine.close)
