"""The observers of a run: the `observe` hooks of its plugins."""

from __future__ import annotations

import inspect
import logging
import time
import uuid
from collections.abc import Callable
from typing import Any

from personakit.hookspecs import Event
from personakit.pipeline.chain import Layer

Observer = tuple[str, Callable[[Event], Any]]
"""A plugin's name and its `observe` hook."""

_log = logging.getLogger("personakit")


class Watch:
    """Notifies the observers of one run; their errors are logged and do not reach the run.

    Attributes:
        wanted: Whether there are observers; if not, events need not be created.
    """

    def __init__(self, observers: tuple[Observer, ...], persona: str) -> None:
        self._observers = observers
        self.wanted = bool(observers)
        self._persona = persona
        self._run = uuid.uuid4().hex if observers else ""

    async def skipped(self, layer: Layer, error: BaseException) -> None:
        """Log a skipped plugin, and notify the observers."""
        _log.warning("plugin %r failed and was skipped: %s", layer.plugin, error)
        await self("skipped", error=error, plugin=layer.plugin)

    async def __call__(self, name: Any, **fields: Any) -> None:
        """Notify the observers of an event."""
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
