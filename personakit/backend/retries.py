"""Attempts: what the openai client sends, and sends again, held to the deadline of its run.

The client decides when to try again and how long to wait before. It knows nothing of a deadline, it
reads an error's body however large it is, and it takes what comes on a connection for the answer to
what it sent. Its own HTTP client, which it lets anyone extend, is where this is mended: `send` is
called once for each attempt.
"""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import functools
import json
import math
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar

from personakit.backend.sse import BodyReader
from personakit.base import Secret, deadline, hide, in_sync

T = TypeVar("T")
MAX_ERROR_BODY = 64 * 1024
_ERROR_SECONDS = 2.0
# The client's own, the same in both of its major versions: it waits as long as the server asks if
# that is no longer than this, and if it does not ask half a second, doubled each time up to eight.
_MAX_RETRY_AFTER = 120.0
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 8.0
_FRAMING = frozenset({"content-encoding", "content-length", "transfer-encoding"})
_NO_CREDIT = frozenset(
    "insufficient_quota billing_hard_limit_reached billing_not_active insufficient_balance".split()
)


@dataclass(slots=True)
class Attempt:
    """One call of the client: what its attempts have in common.

    Attributes:
        secrets: Returns what an upstream may repeat and nobody is to see.
        attempts: How often it was sent.
    """

    secrets: Callable[[], Iterable[Secret]] = tuple
    attempts: int = 0

    def begin(self, request: Any) -> None:
        """Count an attempt, and let no step of it wait beyond the deadline."""
        self.attempts += 1
        left = deadline.shorter(None)
        if left is not None:
            timeouts = request.extensions.get("timeout") or {}
            request.extensions["timeout"] = {
                step: left if seconds is None or left < seconds else seconds
                for step, seconds in timeouts.items()
            }

    def has_time(self, headers: Mapping[str, str] | None = None) -> bool:
        """Tell whether the client's wait before the next attempt ends before the deadline."""
        wait = min(_FIRST_WAIT * 2 ** (self.attempts - 1), _LONGEST_WAIT)
        wait = (headers is not None and retry_after(headers)) or wait
        limit = deadline.current()
        return wait <= _MAX_RETRY_AFTER and (limit is None or wait < limit.left)

    def refused(self, response: Any, body: bytes) -> Any:
        """Return an error reply as one that has been read, so that the client reads no further."""
        headers = {k: v for k, v in response.headers.items() if k.lower() not in _FRAMING}
        body = hide(body, self.secrets())  # some upstreams repeat the key they refuse
        if not self.has_time(headers) or is_exhausted(response.status_code, _error(body)):
            headers["x-should-retry"] = "false"
        return type(response)(
            response.status_code, headers=headers, content=body, request=response.request
        )


current: ContextVar[Attempt | None] = ContextVar("personakit_call", default=None)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that an upstream asks to wait; None when it does not, or not clearly.

    ``Retry-After`` is a number of seconds or a date (RFC 9110, section 10.2.3); OpenAI's API
    has ``retry-after-ms`` beside it.
    """
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        with contextlib.suppress(KeyError, ValueError):
            seconds = float(headers[name]) * unit
            return None if math.isnan(seconds) else max(seconds, 0.0)
    with contextlib.suppress(TypeError, ValueError, OverflowError, OSError):
        date = email.utils.parsedate_tz(headers.get("retry-after") or "")
        return None if date is None else max(email.utils.mktime_tz(date) - time.time(), 0.0)
    return None


def is_exhausted(status: int | None, error: Any) -> bool:
    """Tell whether an error says that the account has no credit left."""
    said = [error.get("code"), error.get("type")] if isinstance(error, dict) else []
    return status == 402 or any(isinstance(s, str) and s in _NO_CREDIT for s in said)


def _error(body: bytes) -> Any:
    with contextlib.suppress(ValueError, RecursionError, AttributeError):
        return json.loads(body).get("error")
    return None


class ConnectionGuard:
    """A connection: it keeps the deadline of whoever reads, and knows what was asked for.

    It takes the place of two methods of httpcore's `NetworkStream`. Read by read is the only way to
    hold a sync read to a moment: the timeout of a socket starts anew with each byte.
    """

    __slots__ = ("_read", "_reads", "_write")

    def __init__(self, stream: Any) -> None:
        self._read, self._write, self._reads = stream.read, stream.write, 0
        stream.read, stream.write = self.read, self.write

    def read(self, max_bytes: int, timeout: float | None = None) -> Any:
        """Read, or return what awaits it."""
        self._reads += 1
        left = deadline.left()
        shorter = left is not None and (timeout is None or left < timeout)
        return self._read(max_bytes, left if shorter else timeout)

    def write(self, buffer: bytes, timeout: float | None = None) -> Any:
        """Write, or return what awaits it."""
        self._reads = 0
        return self._write(buffer, deadline.shorter(timeout))

    def is_asked_for(self) -> bool:
        """Tell whether the headers that have just come can be the answer to what was just sent.

        They cannot when nothing was read since: they came behind the answer before, unasked.
        """
        return self._reads > 0


def guard_of(response: Any) -> ConnectionGuard | None:
    """Return the connection that a response comes from, where it can be told."""
    stream = response.extensions.get("network_stream")
    wire = getattr(getattr(stream, "read", None), "__self__", None)
    return wire if isinstance(wire, ConnectionGuard) else None


def http_clients(library: Any, sync: Any, asynchronous: Any, overdue: Any) -> tuple[Any, Any]:
    """Return subclasses of openai's HTTP clients whose attempts keep the deadline.

    Args:
        library: The HTTP library, httpx or its successor.
        sync: ``openai.DefaultHttpxClient``.
        asynchronous: ``openai.DefaultAsyncHttpxClient``.
        overdue: Makes an exception of another one, which the openai client passes on and does not
            try again after.
    """
    failures = (overdue, library.ReadError)
    # It takes 20 µs to read one, and few are ever asked for.
    address = functools.lru_cache(library.URL)

    class Builds:
        def build_request(self, method: str, url: Any, **given: Any) -> Any:
            if not _is_ready(self, given):
                return super().build_request(method, url, **given)  # type: ignore[misc]
            return _built(library.Request, method, address(url), given)

    class Http(Builds, sync):  # type: ignore[misc]
        def send(self, request: Any, **kwargs: Any) -> Any:
            send = functools.partial(super().send, request, **kwargs)
            call = current.get()
            if call is None:
                return send()
            request.extensions["trace"] = _watch
            attempt = _attempt(call, request, send, failures)
            try:
                # Nothing in it waits, so that its first step is its last.
                attempt.send(None)
            except StopIteration as stop:
                return stop.value
            raise RuntimeError("a sync attempt waits")

    class AsyncHttp(Builds, asynchronous):  # type: ignore[misc]
        async def send(self, request: Any, **kwargs: Any) -> Any:
            send = functools.partial(super().send, request, **kwargs)
            call = current.get()
            if call is None:
                return await send()
            request.extensions["trace"] = _awatch
            return await _attempt(call, request, send, failures)

    return Http, AsyncHttp


def _is_ready(client: Any, given: Mapping[str, Any]) -> bool:
    """Tell whether what the openai client gives is all that a request is made of.

    httpx merges it with an address, headers, cookies and a query of its own. There are none of
    these, and to find that out takes 50 µs of the 650 of a call (benchmarks, `call`).
    """
    others = given.keys() - {"content", "files", "headers", "params", "timeout"}
    empty = not given.get("files") and not given.get("params") and not len(client.cookies)
    return empty and not others and hasattr(given.get("timeout"), "as_dict")


def _built(request: Any, method: str, url: Any, given: Mapping[str, Any]) -> Any:
    extensions = {"timeout": given["timeout"].as_dict()}
    headers, content = given.get("headers"), given.get("content")
    made = request(method, url, headers=headers, content=content, extensions=extensions)
    # As they were encoded; who reads them would find it out by trying.
    made.headers.encoding = "ascii"
    return made


async def _attempt(
    call: Attempt, request: Any, send: Callable[[], Any], failures: tuple[Any, Any]
) -> Any:
    """Send a request once; return the reply, if it is an error as one that has been read."""
    overdue, broken = failures
    call.begin(request)
    try:
        response = await _result(send())
        wire = guard_of(response)
        if wire is not None and not wire.is_asked_for():
            await _result(response.close() if in_sync() else response.aclose())
            response = await _result(send())
        if response.status_code < 300:
            return response
        return call.refused(response, await _start(response))
    except Exception as error:
        if not call.has_time():
            raise overdue(error) from error
        if type(error).__module__.startswith("aiohttp"):
            # Its transport does not translate it, and the client would not try again after it.
            raise broken(str(error)) from error
        raise


async def _result(value: Any) -> Any:
    return value if in_sync() else await value


async def _start(response: Any) -> bytes:
    """Return the beginning of an error's body, which is all that its message needs."""
    start = b""
    left = deadline.shorter(None)
    seconds = _ERROR_SECONDS if left is None else min(_ERROR_SECONDS, left / 2)
    # However the body goes on, its status has been said.
    with contextlib.suppress(Exception), deadline.within(seconds):
        body = BodyReader(response.headers.get("content-encoding", ""), 4 * MAX_ERROR_BODY)
        source = response.iter_raw() if in_sync() else response.aiter_raw()
        while len(start) < MAX_ERROR_BODY:
            raw = next(source, None) if in_sync() else await _soon(anext(source, None))
            if raw is None:
                break
            start += body.feed(raw)
    with contextlib.suppress(Exception):
        await _result(response.close() if in_sync() else response.aclose())
    return start


async def _soon(result: Awaitable[T]) -> T:
    async with asyncio.timeout(deadline.left()):
        return await result


def _watch(name: str, info: Mapping[str, Any]) -> None:
    """Take hold of each connection that is made: httpx's `trace` extension calls this."""
    made = info.get("return_value")
    if name.endswith(("connect_tcp.complete", "start_tls.complete")) and hasattr(made, "read"):
        ConnectionGuard(made)


async def _awatch(name: str, info: Mapping[str, Any]) -> None:
    _watch(name, info)
