"""Layers around a whole run: functions that wrap one coroutine function in another."""

from __future__ import annotations

import inspect
import logging
import time
import uuid
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from typing import Any

from personakit.base import Emit, deadline
from personakit.errors import PersonakitError
from personakit.hookspecs import Event
from personakit.messages import Request, Response
from personakit.pipeline.inside import Book, Inside, Layer, charges_in
from personakit.usage import Spent

RunLayer = Callable[[Request, Emit | None], Coroutine[Any, Any, Response]]
"""A run: called with a request and an `emit` for its text, it returns the answer."""

Start = Callable[[Emit | None], Coroutine[Any, Any, Response]]
"""A run with its request bound."""

_around: ContextVar[Watch | None] = ContextVar("personakit_watch", default=None)
"""The watch of the innermost run that is observed."""

_log = logging.getLogger("personakit")


def within_deadline(run: RunLayer, seconds: float | None, book: Book) -> RunLayer:
    """Return a run with a deadline, whose errors have what it paid.

    Args:
        run: The run.
        seconds: The most seconds that it may take; None for no limit but that of an outer run.
        book: What the run has paid.
    """

    async def limited(request: Request, emit: Emit | None) -> Response:
        token = deadline.begin(seconds)
        try:
            return await run(request, emit)
        except PersonakitError as error:
            error.spent = Spent(charges_in(book))
            raise
        finally:
            token.var.reset(token)

    return limited


class Watch:
    """Notifies the observers of one run; their errors are logged and do not reach the run.

    Attributes:
        wanted: Whether there are observers; if not, events need not be created.
    """

    def __init__(self, observers: tuple[Layer, ...], persona: str, inside: Inside) -> None:
        self._outer = _around.get()
        self._observers = observers
        self.wanted = bool(observers)
        self._persona, self._inside = persona, inside
        self._run = uuid.uuid4().hex if observers else ""

    async def skipped(self, layer: Layer, error: BaseException) -> None:
        """Log a skipped plugin, and notify the observers."""
        _log.warning("plugin %r failed and was skipped: %s", layer.plugin, error)
        await self("skipped", error=error, plugin=layer.plugin)

    async def status(self, text: str) -> None:
        """Notify the observers of this run, and those of the runs around it, of what it does."""
        notified: list[Any] = []
        watch: Watch | None = self
        while watch is not None:
            observers = tuple(each for each in watch._observers if each not in notified)
            notified += observers
            await watch._notify(observers, "status", text=text)
            watch = watch._outer

    async def __call__(self, name: Any, **fields: Any) -> None:
        """Notify the observers of an event."""
        if self._observers:
            await self._notify(self._observers, name, **fields)

    async def _notify(self, observers: tuple[Layer, ...], name: Any, **fields: Any) -> None:
        event = Event(name, self._run, self._persona, time=time.time(), **fields)
        for layer in observers:
            try:
                given = {"state": self._inside.state(layer)} if "state" in layer.wants else {}
                result = layer.function(event, **given)
                if inspect.isawaitable(result):
                    await result
            except Exception:
                _log.warning("plugin %r failed in its observe hook", layer.plugin, exc_info=True)


def observed(run: RunLayer, watch: Watch) -> RunLayer:
    """Return a run that notifies its observers of its start and end."""

    async def notifying(request: Request, emit: Emit | None) -> Response:
        await watch("started", request=request)
        token = _around.set(watch)
        try:
            response = await run(request, emit)
        except BaseException as error:
            await watch("failed", request=request, error=error)
            raise
        finally:
            _around.reset(token)
        await watch("finished", request=response.request, response=response)
        return response

    return notifying
