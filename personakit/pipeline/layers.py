"""The layers around a whole run: each takes a run and returns one, as functions of coroutines."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from personakit.base import Emit, deadline
from personakit.messages import Request, Response
from personakit.pipeline.observers import Watch

RunLayer = Callable[[Request, Emit | None], Coroutine[Any, Any, Response]]
"""A run: given its request and where its text goes out, it returns the answer."""

Start = Callable[[Emit | None], Coroutine[Any, Any, Response]]
"""A run that has its request."""


def within_deadline(run: RunLayer, seconds: float | None) -> RunLayer:
    """Return a run that keeps a deadline; None for no limit of its own."""

    async def kept(request: Request, emit: Emit | None) -> Response:
        token = deadline.begin(seconds)
        try:
            return await run(request, emit)
        finally:
            token.var.reset(token)

    return kept


def observed(run: RunLayer, watch: Watch) -> RunLayer:
    """Return a run that tells its observers how it begins and ends."""

    async def told(request: Request, emit: Emit | None) -> Response:
        await watch("started", request=request)
        try:
            response = await run(request, emit)
        except BaseException as error:
            await watch("failed", request=request, error=error)
            raise
        await watch("finished", request=response.request, response=response)
        return response

    return told
