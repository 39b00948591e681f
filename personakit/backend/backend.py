"""Send requests through the openai client and validate the answers.

The client handles HTTP: connections, keys, retries. Its `post` is used instead of
`chat.completions.create` because the latter transforms each message and does not reject invalid
answers; the body is the same. A wire writes the body and reads the answer. One code path serves
whole and streamed, sync and async.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from personakit.backend import retries, sse, wires
from personakit.backend.answers.answer import Answer
from personakit.backend.answers.heard import Heard
from personakit.backend.clients import Clients
from personakit.backend.endpoint import Router
from personakit.backend.requests.limit import Limit
from personakit.backend.requests.model_parameters import adapted, rejected, remember
from personakit.backend.requests.support import sayable, supported
from personakit.backend.retries import Attempt
from personakit.backend.sse import MAX_STREAM, BodyReader
from personakit.backend.wire import Wire
from personakit.base import Emit, deadline, in_sync, io, scrub
from personakit.errors import (
    AuthenticationFailed,
    BackendError,
    BadRequest,
    InvalidAnswer,
    ModelNotFound,
    PersonakitError,
    PluginError,
    UpstreamUnavailable,
    UsageError,
)
from personakit.frozen import thaw
from personakit.hookspecs import Piece
from personakit.messages import Request, Response
from personakit.providers import EMBEDDINGS, Endpoint, Provider
from personakit.rate import heard

Note = Callable[[Piece], Awaitable[None]]
_NO_PATH = (404, 405)
_JSON_LINES = ("ndjson", "jsonl", "json-lines")
"""Parts of the content types of streams in which each line is the JSON of an event. There is no
standard; Ollama's own API sends application/x-ndjson."""
_REST = 0.1
"""Seconds to wait for the end of a reply after its last event."""

if TYPE_CHECKING:
    from openai._types import RequestOptions

    from personakit.backend.contributed.backends import Backends
    from personakit.embeddings import Embeddings


@dataclass(slots=True)
class OpenAIBackend:
    """Sends requests to the providers of a runner.

    Attributes:
        router: Finds the provider and the address of a model.
        clients: The openai clients, kept for reuse.
        others: The backends of plugins, kept for reuse; None until one is needed.
    """

    router: Router
    clients: Clients
    others: Backends | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    async def send(self, request: Request, emit: Emit | None = None) -> Response:
        """Send a request and return the answer; with `emit`, stream it.

        Raises:
            BackendError: The call failed; `partial` is the text received before.
        """
        provider, model = self.router.find_model(request.model)
        endpoint = await self._endpoint(provider, model)
        supported(request, provider)
        if provider.backend is not None:
            return await self._others().send(request, provider, endpoint, emit)
        wire, notify = self.router.wire(request, provider, endpoint), self.router.notify
        said = sayable(request, wire, notify)
        call = Attempt(functools.partial(provider.secrets, endpoint))
        without: dict[str, BackendError] = {}
        missing: BackendError | None = None
        while True:
            asked = adapted(said, provider, endpoint, notify, without)
            try:
                response = await self._send(asked, provider, endpoint, wire, call, emit)
            except (BadRequest, ModelNotFound) as error:
                if missing is not None and error.status in _NO_PATH:
                    raise missing  # noqa: B904 - it has a cause of its own
                other = wires.instead(error, request, provider, wire)
                if other is not None:
                    missing, wire, said = error, other, sayable(request, other, notify)
                    continue
                name = rejected(error, asked, endpoint)
                if not name or name in without:
                    raise
                without[name] = error
            else:
                for name, reason in without.items():
                    remember([name], reason, endpoint)
                if missing is not None:
                    wires.remember(endpoint, notify)
                return response.replace(_lost=call.lost) if call.lost else response

    async def embed(self, texts: Sequence[str], request: Request) -> Embeddings:
        """Return the embeddings of the texts of a request, whose `api` is ``embeddings``."""
        from personakit.backend.embeddings.wire import asked, check, vectors_of  # noqa: PLC0415

        provider, model = self.router.find_model(request.model)
        check(provider, self.router.foreign(provider.name))
        if provider.backend is not None:
            endpoint = await self._endpoint(provider, model)
            return await self._others().embed(request, provider, endpoint)
        return vectors_of(await self.send(asked(request)))

    async def _send(
        self,
        request: Request,
        provider: Provider,
        endpoint: Endpoint,
        wire: Wire,
        call: Attempt,
        emit: Emit | None,
    ) -> Response:
        """Send a request with the parameters that its model accepts; return the answer."""
        outer = sys.exception()
        try:
            body = {**wire.body(request, endpoint, provider, stream=emit is not None)}
            answer = wire.answer(request, provider)
            path = wire.path(endpoint, stream=emit is not None)
            headers = wire.headers(endpoint.api_key)
        except PersonakitError:
            raise
        except Exception as error:
            secrets = provider.secrets(endpoint)
            scrub(error, secrets, outer)
            raise wires.mistake(wire, "write the request", error) from error
        if endpoint.defaults is not None and request.api != EMBEDDINGS:
            body = {**thaw(endpoint.defaults), **body}
        token = retries.current.set(call)
        try:
            await self._exchange(endpoint, path, body, headers, answer, emit)
        except (UsageError, PluginError) as error:
            # A wire may quote the answer, and the upstream the key.
            scrub(error, provider.secrets(endpoint), outer)
            raise
        # The client raises its own errors and those of its HTTP library, which has two names.
        except Exception as error:
            # The frames of the HTTP library contain the headers, and an upstream may repeat the
            # key that it rejects.
            secrets = provider.secrets(endpoint)
            scrub(error, secrets, outer)
            failure = wires.failure(error, endpoint, wire, answer, call)
            scrub(failure, secrets, outer)
            if isinstance(failure, AuthenticationFailed):
                self.router.keys.forget(provider)
            if failure is error:
                raise
            raise failure from getattr(error, "original", error)
        except BaseException as error:
            scrub(error, (), outer)
            raise
        finally:
            retries.current.reset(token)
        return answer.response(call.attempts)

    def _others(self) -> Backends:
        # Nobody would close the backends of a second one.
        with self._lock:
            if self.others is None:
                from personakit.backend.contributed.backends import Backends  # noqa: PLC0415

                self.others = Backends(self.router)
            return self.others

    def load(self, model: str) -> None:
        """Import what the first request to a model needs; it raises the errors itself."""
        try:
            provider, _ = self.router.find_model(model)
            if provider.backend is None:
                self.clients.load(self.router.address(provider))
            self.router.adapted(Request(model))
        except PersonakitError:
            return

    def close(self) -> None:
        """Close the connections of the sync API, and the backends of plugins."""
        self.clients.close()
        if self.others is not None:
            self.others.close()

    async def aclose(self) -> None:
        """Close the connections of the running event loop, and the backends of plugins."""
        await self.clients.aclose()
        if self.others is not None:
            await self.others.aclose()

    async def _endpoint(self, provider: Provider, model: str) -> Endpoint:
        if provider.connect is None:
            if in_sync() or self.router.keys.at_hand(provider):
                return self.router.endpoint(provider, model)
            # A keyring or a plugin's function may take seconds and would block the event loop.
            return await io(self.router.endpoint)(provider, model)
        try:
            return await io(provider.connect)(model)
        except PersonakitError:
            raise
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            raise UpstreamUnavailable(
                f"provider {provider.name!r} cannot be reached: {reason}"
            ) from error

    async def _exchange(
        self,
        endpoint: Endpoint,
        path: str,
        body: dict[str, Any],
        headers: Mapping[str, str | None],
        answer: Answer,
        emit: Emit | None,
    ) -> None:
        """Send a body and read the reply."""
        request = answer.request
        options: RequestOptions = {}
        if request.max_retries is not None:
            options["max_retries"] = request.max_retries
        if request.timeout is not None:
            options["timeout"] = request.timeout
        if in_sync():
            response = self.clients.sync(answer.provider, endpoint).post(
                path, body, headers, **options
            )
            try:
                await _take(response, answer, emit)
            finally:
                response.close()
            return
        with await self.clients.asynchronous(answer.provider, endpoint) as client:
            async with asyncio.timeout(deadline.shorter(None)):
                response = await client.post(path, body, headers, **options)
                if emit is None:
                    await _atake(response, answer, None)
                    return
            # The timeout must not cancel the caller's task while it processes a text, nor refer to
            # that task, whose exception refers to the stream.
            await _atake(response, answer, emit)


async def _atake(response: Any, answer: Answer, emit: Emit | None) -> None:
    """Read the body of an async reply and close it."""
    try:
        await _take(response, answer, emit)
    except BaseException:
        # A second cancellation must not leave the connection open.
        await asyncio.shield(response.aclose())
        raise
    await response.aclose()


async def _take(response: Any, answer: Answer, emit: Emit | None) -> None:
    """Read the body of a reply whose headers have arrived."""
    answer.headers = response.headers
    heard(response)
    reply = _Reply(response, is_timed=emit is not None)
    if emit is not None:
        try:
            await _stream(reply, answer, emit)
        finally:
            reply.close()
        return
    parts: list[bytes] = []
    while part := await reply.part():
        parts.append(part)
    answer.whole(b"".join(parts))


class _Reply:
    """The body of a reply, piece by piece.

    Calls `next` or `anext` itself, so that one loop serves the sync and the async API.
    """

    def __init__(self, response: Any, *, is_timed: bool) -> None:
        self.body = BodyReader(_header(response, b"content-encoding"))
        self.kind = _header(response, b"content-type")
        self._in_sync = in_sync()
        # A guarded connection enforces the deadline itself.
        is_timed = is_timed and not self._in_sync and retries.guard_of(response) is None
        self._limit = Limit() if is_timed else None
        self._source: Any = response.iter_raw() if self._in_sync else response.aiter_raw()

    async def part(self) -> bytes:
        """Return the next piece; empty bytes at the end."""
        part = b""
        while not part:
            if self._in_sync:
                raw = next(self._source, None)
            elif self._limit is not None:
                raw = await self._limit.of(functools.partial(anext, self._source, None))
            else:
                raw = await anext(self._source, None)
            if raw is None:
                self.body.end()
                return b""
            part = self.body.feed(raw)
        return part

    def close(self) -> None:
        """End the timer of the deadline."""
        if self._limit is not None:
            self._limit.close()

    async def rest(self) -> None:
        """Read the rest of the body after the last event.

        A connection can be reused only if its reply was read to the end, which usually follows the
        last event at once. The answer is already complete, so errors here are ignored.
        """
        with contextlib.suppress(Exception), deadline.within(_REST):
            await self.part()


async def _stream(reply: _Reply, answer: Answer, emit: Emit) -> None:
    """Parse the events of a reply and emit their text, and their other pieces if they are wanted.

    Anything but a stream of events is read as a whole answer.
    """
    part = await reply.part()
    if _is_whole(part.lstrip(), reply.kind):
        parts = [part]
        while part:
            part = await reply.part()
            parts.append(part)
        try:
            answer.whole(b"".join(parts))
        finally:
            await emit(answer.text)
        return
    reply.body.widen(MAX_STREAM)
    decoder, note = sse.Decoder(), None
    if getattr(emit, "wanted", False):
        answer.heard, note = Heard(), emit.note  # type: ignore[attr-defined]
    while part:
        # The events of one read are emitted once; what came before a broken one is kept.
        texts: list[str] = []
        try:
            for text in _texts(part, decoder, answer):
                if note is not None and (pieces := answer.pieces()):
                    await _pass_on(texts, pieces, emit, note)
                texts.append(text)
        finally:
            if text := "".join(texts):
                await emit(text)
        if decoder.done or answer.done:
            break
        part = await reply.part()
    await _end(decoder, answer, emit, note)
    if decoder.done or answer.done:
        await reply.rest()


def _texts(part: bytes, decoder: sse.Decoder, answer: Answer) -> Iterator[str]:
    """Yield the texts in a piece of a stream."""
    at = 0
    while at < len(part):
        if answer.repeats and decoder.is_between:
            text, at = answer.repeated(part, at)
            if text:
                yield text
        # After an event that must be parsed, others may be like an earlier one again.
        end = part.find(b"\n\n", at) + 2 if answer.repeats else 0
        end = end if end > 1 else len(part)
        for data in decoder.feed(part[at:end]):
            yield answer.event(data, decoder.name)
        at = end


async def _end(decoder: sse.Decoder, answer: Answer, emit: Emit, note: Note | None) -> None:
    """Parse the end of a stream and emit the rest."""
    cut = False
    for data in decoder.flush():
        try:
            await emit(answer.event(data, decoder.name))
        except InvalidAnswer:
            cut = not answer.done
    rest = answer.ended(cut=cut)
    if note is not None:
        await _pass_on([], answer.pieces(), emit, note)
    await emit(rest)


async def _pass_on(texts: list[str], pieces: Sequence[Piece], emit: Emit, note: Note) -> None:
    """Emit the pieces of an event, and before them the texts of earlier events."""
    if pieces and (text := "".join(texts)):
        texts.clear()
        await emit(text)
    for piece in pieces:
        await note(piece)


def _is_whole(start: bytes, content_type: str) -> bool:
    """Return whether a body is an answer, an error or a page rather than a stream of events."""
    if any(name in content_type.lower() for name in _JSON_LINES):
        return False
    if start[:1] in (b"{", b"[", b"<"):
        return True
    # An event field is data, event, id or retry; a colon begins a comment.
    is_field = start[:1] in (b"d", b"e", b"i", b"r", b":")
    return not content_type.startswith("text/event-stream") and not is_field


def _header(response: Any, name: bytes) -> str:
    """Return a header of a reply; empty if it is missing."""
    # A lookup by str decodes all headers first.
    values = (value for key, value in response.headers.raw if key.lower() == name)
    return next(values, b"").decode("latin-1")
