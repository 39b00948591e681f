"""Layers around a whole run: functions that wrap one coroutine function in another."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from personakit.base import Emit, deadline
from personakit.messages import Request, Response
from personakit.pipeline.observers import Watch

RunLayer = Callable[[Request, Emit | None], Coroutine[Any, Any, Response]]
"""A run: called with a request and an `emit` for its text, it returns the answer."""

Start = Callable[[Emit | None], Coroutine[Any, Any, Response]]
"""A run with its request bound."""


def within_deadline(run: RunLayer, seconds: float | None) -> RunLayer:
    """Return a run with a deadline; None for none besides that of an outer run."""

    async def limited(request: Request, emit: Emit | None) -> Response:
        token = deadline.begin(seconds)
        try:
            return await run(request, emit)
        finally:
            token.var.reset(token)

    return limited


def observed(run: RunLayer, watch: Watch) -> RunLayer:
    """Return a run that notifies its observers of its start and end."""

    async def notifying(request: Request, emit: Emit | None) -> Response:
        await watch("started", request=request)
        try:
            response = await run(request, emit)
        except BaseException as error:
            await watch("failed", request=request, error=error)
            raise
        await watch("finished", request=response.request, response=response)
        return response

    return notifying
