"""The backend: a request goes out through the openai client, an answer comes back checked.

The client does the HTTP: connections, keys, retries. Its `post` is used instead of
`chat.completions.create` because the latter transforms each message and lets wrong answers
through; the body is the same. One code path serves whole and streamed, sync and async.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from personakit import clients, faults, sse
from personakit.answer import Answer
from personakit.clients import Clients
from personakit.drive import Emit, in_sync, io
from personakit.errors import (
    AuthenticationFailed,
    BackendError,
    ConfigError,
    InvalidAnswer,
    PersonakitError,
    UpstreamUnavailable,
)
from personakit.messages import Request, Response
from personakit.providers import Endpoint, Provider
from personakit.routing import Router
from personakit.secrets import scrub

_REST = 0.1
"""Seconds to wait for the end of a reply after its last event, in the async API."""

if TYPE_CHECKING:
    from openai._types import RequestOptions


@dataclass(slots=True)
class Backend:
    """Sends requests to the providers of a runner.

    Attributes:
        router: Finds the provider and the address of a model.
        clients: The openai clients, kept for reuse.
    """

    router: Router
    clients: Clients

    async def send(self, request: Request, emit: Emit | None = None) -> Response:
        """Send a request and return the answer; with `emit`, stream it.

        Raises:
            BackendError: One of its family; `partial` holds the text that had arrived.
        """
        outer = sys.exception()
        provider, model = self.router.find_model(request.model)
        endpoint = await self._endpoint(provider, model)
        body = body_of(request, endpoint, provider, stream=emit is not None)
        answer = Answer(request, provider)
        try:
            reply = await self._post(request, provider, endpoint, body)
            try:
                if emit is None:
                    answer.whole(await _read(reply.response))
                else:
                    await _stream(reply.response, answer, emit)
            finally:
                await _close(reply)
        except BackendError as error:
            error.partial = error.partial or answer.text
            scrub(error, provider.secrets(endpoint), outer)
            raise
        # The client's own errors and those of the HTTP library under it, which has two names.
        except Exception as error:
            # The frames of an HTTP library hold the headers that it writes, and an upstream may
            # repeat the key that it refuses.
            scrub(error, provider.secrets(endpoint), outer)
            failure = faults.translate(error, endpoint, answer.text)
            scrub(failure, provider.secrets(endpoint), outer)
            if isinstance(failure, AuthenticationFailed):
                self.router.keys.forget(provider)
            raise failure from error
        except BaseException as error:
            scrub(error, (), outer)
            raise
        return answer.response()

    async def _endpoint(self, provider: Provider, model: str) -> Endpoint:
        if provider.connect is None:
            if in_sync() or self.router.keys.at_hand(provider):
                return self.router.endpoint(provider, model)
            # A keyring or a plugin's function may take seconds, which an event loop does not have.
            return await io(self.router.endpoint)(provider, model)
        try:
            return await io(provider.connect)(model)
        except PersonakitError:
            raise
        except Exception as error:
            said = f"{type(error).__name__}: {error}"
            raise UpstreamUnavailable(
                f"provider {provider.name!r} cannot be reached: {said}"
            ) from error

    async def _post(
        self, request: Request, provider: Provider, endpoint: Endpoint, body: dict[str, Any]
    ) -> Any:
        options: RequestOptions = {"follow_redirects": False}
        if request.max_retries is not None:
            options["max_retries"] = request.max_retries
        if request.timeout is not None:
            options["timeout"] = request.timeout
        if in_sync():
            client = self.clients.sync(provider, endpoint)
            return client.post(
                "/chat/completions",
                cast_to=object,
                body=body,
                options=options,
                stream=True,
                stream_cls=clients.stream_class(),
            )
        aclient = await self.clients.asynchronous(provider, endpoint)
        return await aclient.post(
            "/chat/completions",
            cast_to=object,
            body=body,
            options=options,
            stream=True,
            stream_cls=clients.async_stream_class(),
        )


def body_of(
    request: Request, endpoint: Endpoint, provider: Provider, *, stream: bool
) -> dict[str, Any]:
    """Return the JSON body of a request, as chat.completions.create() would send it."""
    body: dict[str, Any] = {
        "messages": [message.to_api() for message in request.messages],
        "model": endpoint.model,
        **request.parameters,
    }
    if request.tools:
        if not provider.tools:
            names = ", ".join(tool.name for tool in request.tools)
            raise ConfigError(
                f"models of provider {provider.name!r} take no tools ({names}); choose another "
                f"with `-m provider/model`, or take `tools:` out of the persona"
            )
        body["tools"] = [tool.to_api() for tool in request.tools]
    if stream:
        body["stream"] = True
        if provider.stream_usage:
            body["stream_options"] = {"include_usage": True}
    return body


async def _read(response: Any) -> bytes:
    """Return the body of a reply."""
    parts: list[bytes] = []
    if in_sync():
        parts.extend(response.iter_bytes())
    else:
        parts.extend([part async for part in response.aiter_bytes()])
    return b"".join(parts)


async def _stream(response: Any, answer: Answer, emit: Emit) -> None:
    """Feed the events of a reply to an answer, letting its text out."""
    decoder = sse.Decoder()
    kind = response.headers.get("content-type", "")
    if not kind.startswith("text/event-stream"):
        answer.whole(await _read(response))
        await emit(answer.text)
        return
    # Both iterators are read by hand, so that one loop serves them.
    source: Iterator[bytes] | AsyncIterator[bytes]
    source = response.iter_bytes() if in_sync() else response.aiter_bytes()
    while not decoder.done:
        part = await _part(source)
        if part is None:
            break
        for data in decoder.feed(part):
            text = answer.event(data)
            if text:
                await emit(text)
    cut = False
    for data in decoder.flush():
        try:
            await emit(answer.event(data))
        except InvalidAnswer:
            cut = True
    answer.ended(cut=cut)
    if decoder.done:
        # A connection can be used again when its reply has been read to the end, which follows the
        # last event at once. The answer is whole, so nothing that goes wrong here matters.
        with contextlib.suppress(Exception):
            async with contextlib.nullcontext() if in_sync() else asyncio.timeout(_REST):
                await _part(source)


async def _part(source: Iterator[bytes] | AsyncIterator[bytes]) -> bytes | None:
    if isinstance(source, AsyncIterator):
        return await anext(source, None)
    return next(source, None)


async def _close(reply: Any) -> None:
    if in_sync():
        reply.close()
    else:
        await reply.close()
