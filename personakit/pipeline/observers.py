"""Watching a run: the observers, and the backend that only looks at a request."""

from __future__ import annotations

import inspect
import logging
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from personakit.base import Emit
from personakit.messages import Event, Request, Response, Timings
from personakit.pipeline.chain import Layer

Observer = tuple[str, Callable[[Event], Any]]
"""A plugin's name, and its observe hook."""

_log = logging.getLogger("personakit")


class Watch:
    """Tells the observers of one run what happens; nothing that they do reaches the run.

    Attributes:
        wanted: Whether anybody observes: an event that nobody wants need not be told.
    """

    def __init__(self, observers: tuple[Observer, ...], persona: str) -> None:
        self._observers = observers
        self.wanted = bool(observers)
        self._persona = persona
        self._run = uuid.uuid4().hex if observers else ""
        self._started = time.time()
        self._clock = time.perf_counter()
        self._first_text: float | None = None

    def timed(self, emit: Emit) -> Emit:
        """Return an `emit` that notes when the first text goes out."""

        def noted(text: str) -> Awaitable[None]:
            if self._first_text is None:
                self._first_text = time.perf_counter() - self._clock
            return emit(text)

        return noted

    def timings(self) -> Timings:
        """Return when the run began and how long it took."""
        return Timings(self._started, time.perf_counter() - self._clock, self._first_text)

    async def around(self, request: Request, run: Callable[[], Awaitable[Response]]) -> Response:
        """Tell the observers how a run begins and ends."""
        await self("started", request=request)
        try:
            response = await run()
        except BaseException as error:
            await self("failed", request=request, error=error)
            raise
        await self("finished", request=response.request, response=response)
        return response

    async def skipped(self, layer: Layer, error: BaseException) -> None:
        """Log a plugin that was passed over, and tell the observers."""
        _log.warning("plugin %r failed and was skipped: %s", layer.plugin, error)
        await self("skipped", error=error, plugin=layer.plugin)

    async def __call__(self, name: Any, **fields: Any) -> None:
        """Tell the observers of an event."""
        if not self._observers:
            return
        event = Event(name, self._run, self._persona, time=time.time(), **fields)
        for plugin, observe in self._observers:
            try:
                result = observe(event)
                if inspect.isawaitable(result):
                    await result
            except Exception:
                _log.warning("plugin %r failed in its observe hook", plugin, exc_info=True)
