"""Layers around a whole run: functions that wrap one coroutine function in another."""

from __future__ import annotations

import inspect
import logging
import time
import uuid
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from typing import Any

from personakit.base import Emit, TextTap, deadline
from personakit.errors import PersonakitError
from personakit.hookspecs import Event
from personakit.messages import Message, Request, Response
from personakit.pipeline.inside import Inside, Layer
from personakit.usage import Book, Spent, Timings, charges_in

BETWEEN = "\n\n"
"""Between the texts of two rounds of a run."""

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
            # That class need not be imported where no run is suspended.
            name = "suspended" if type(error).__name__ == "Suspended" else "failed"
            await watch(name, request=request, error=error)
            raise
        finally:
            _around.reset(token)
        await watch("finished", request=response.request, response=response)
        return response

    return notifying


def returned(run: RunLayer) -> RunLayer:
    """Return a run that returns a `Suspended` instead of raising it."""

    async def asked(request: Request, emit: Emit | None) -> Any:
        from personakit.journal import Suspended  # noqa: PLC0415

        try:
            return await run(request, emit)
        except Suspended as suspended:
            return suspended

    return asked


def with_run_hooks(
    layers: Any,
    tap: TextTap,
    book: Book,
    read: Callable[[Response], Response] | None,
) -> RunLayer:
    """Return a run with the `run` hooks around it.

    Args:
        layers: The `Chain` of the hooks, around the rounds of the run; its module imports this one.
        tap: Records the times of the start and of the first text.
        book: What the run has paid.
        read: Parses a structured answer; None for plain text.
    """

    async def run(request: Request, emit: Emit | None) -> Response:
        response = await layers.call(request, tap.through(emit))
        changes: dict[str, Any] = {
            "messages": _added(response),
            "request": response.request or request,
            "_asked": request,
            "_paid": charges_in(book),
            "timings": Timings(tap.started, time.perf_counter() - tap.clock, tap.first_text),
        }
        response = response.replace(**changes)
        # A hook may have returned the answer of another persona, with a value of another type.
        return response if read is None or response.tool_calls else read(response)

    return run


def _added(response: Response) -> tuple[Message, ...]:
    """Return the messages that a run adds to its conversation, with the text that a hook changed.

    A changed text is that of all rounds, so it is the text of the last one, and the earlier ones
    keep only their tool calls.
    """
    messages = response.messages
    spoken = [n for n, message in enumerate(messages) if message.role == "assistant"]
    if not spoken:
        return (*messages, response.message)
    if BETWEEN.join(filter(None, (messages[n].text for n in spoken))) == response.text:
        return messages
    changed = list(messages)
    for n in spoken:
        changed[n] = changed[n].replace(content=None)
    changed[spoken[-1]] = changed[spoken[-1]].replace(content=response.text or None)
    return tuple(changed)
