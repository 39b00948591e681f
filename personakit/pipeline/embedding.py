"""Embeddings for a hook: each request through the layers around every request of the run."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from personakit.base import Emit, scope
from personakit.embeddings import Embeddings, ask_backend
from personakit.errors import PluginError
from personakit.messages import Request, Response, ToolCall
from personakit.pipeline.inside import unanswered
from personakit.usage import Charge, charged

if TYPE_CHECKING:
    from personakit.pipeline.inside import Inside, Layer


def embed(
    chain: Any,
    layer: Layer,
    origin: Request | ToolCall,
    texts: Sequence[str],
    model: str,
    parameters: Mapping[str, Any],
) -> Coroutine[Any, Any, Embeddings]:
    """Check the arguments of a `send.embed`; return the coroutine of its result.

    Args:
        chain: The `Chain` of the hook; its module imports this one.
        layer: The hook.
        origin: What the hook was called with.
        texts: The texts.
        model: ``provider/model`` or an alias.
        parameters: Other parameters of the API.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: A text is empty, or there is no model.
    """
    inside = chain.inside
    every = inside.every_but(layer)

    async def ask(request: Request) -> Embeddings:
        perform = functools.partial(_asked, chain, every, request)
        if (place := scope.get()) is None:
            return await perform()
        embeddings: Embeddings
        embeddings, _ = await place.recorded("embed", request, perform, inside.books, request.model)
        return embeddings

    asking: Coroutine[Any, Any, Embeddings] = inside.runner.router.embed(
        inside.backend, ask, origin, texts, model, parameters
    )
    return asking


async def _asked(chain: Any, every: tuple[Layer, ...], request: Request) -> Embeddings:
    """Return the answer to one request, through the layers around each request that is sent."""
    inside: Inside = chain.inside
    results: list[Embeddings] = []

    async def end(request: Request, emit: Emit | None) -> Response:
        results[:] = [await _sent(inside, request)]
        usage, cost = results[0].usage, results[0]._given_cost()
        return Response("", model=results[0].model, usage=usage, cost=cost, request=request)

    kind = {"takes": Request, "gives": Response, "hook": "chat", "trace": None, "sends": -1}
    await dataclasses.replace(chain, layers=every, end=end, **kind).call(request)
    if not results:
        names = ", ".join(layer.plugin for layer in every)
        raise PluginError(f"one of the plugins {names} answered a request for embeddings")
    return results[0]


async def _sent(inside: Inside, request: Request) -> Embeddings:
    """Return the answer to one request, and enter into the books what it cost."""
    books, more = inside.books, charged.get()
    if more is not None:
        books = (*books, more)
    key, charges = object(), [Charge(request.model)]  # unknown until it has ended
    for book in books:
        book[key] = charges
    try:
        part = await ask_backend(inside.backend, [it.text for it in request.messages], request)
        charges = [Charge(request.model, part.model, part.usage, part._given_cost())]
    except BaseException as error:
        charges = unanswered(request.model, error)
        raise
    finally:
        for book in books:
            book[key] = charges
    return part
