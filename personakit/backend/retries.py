"""Keep the attempts of the openai client within the deadline of a run.

The openai client decides when to retry and how long to wait. It does not know the deadline, reads
the body of an error whatever its size, and treats unsolicited data on a connection as the answer to
its request. Its HTTP client can be replaced, so a subclass fixes these: `send` is called once for
each attempt.
"""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import functools
import json
import logging
import math
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar

from personakit.backend.requests.sending import is_direct, send_directly
from personakit.backend.sse import BodyReader
from personakit.base import Secret, deadline, hide, in_sync

T = TypeVar("T")
MAX_ERROR_BODY = 64 * 1024
_ERROR_SECONDS = 2.0
# The openai client's own values, the same in both of its major versions: it waits as long as the
# server asks, up to this; otherwise half a second, doubled each time up to eight.
_MAX_RETRY_AFTER = 120.0
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 8.0
_FRAMING = frozenset({"content-encoding", "content-length", "transfer-encoding"})
_NO_CREDIT = frozenset(
    "insufficient_quota billing_hard_limit_reached billing_not_active insufficient_balance".split()
)


@dataclass(slots=True)
class Attempt:
    """One call of the client, with all its attempts.

    Attributes:
        secrets: Returns the secrets that an upstream may repeat and that must be hidden.
        attempts: How often the request was sent.
        lost: How many of these may have been paid although no whole answer arrived.
    """

    secrets: Callable[[], Iterable[Secret]] = tuple
    attempts: int = 0
    lost: int = 0

    def begin(self, request: Any) -> None:
        """Count an attempt, and limit the timeouts of its steps to the deadline."""
        self.attempts += 1
        left = deadline.shorter(None)
        if left is not None:
            timeouts = request.extensions.get("timeout") or {}
            request.extensions["timeout"] = {
                step: left if seconds is None or left < seconds else seconds
                for step, seconds in timeouts.items()
            }

    def has_time(self, headers: Mapping[str, str] | None = None) -> bool:
        """Return whether the client's wait before the next attempt ends before the deadline."""
        wait = min(_FIRST_WAIT * 2 ** (self.attempts - 1), _LONGEST_WAIT)
        wait = (headers is not None and retry_after(headers)) or wait
        limit = deadline.current()
        return wait <= _MAX_RETRY_AFTER and (limit is None or wait < limit.left)

    def refused(self, response: Any, body: bytes) -> Any:
        """Return a copy of an error reply with its body, so that the client reads no further."""
        headers = {k: v for k, v in response.headers.items() if k.lower() not in _FRAMING}
        body = hide(body, self.secrets())  # some upstreams repeat the key that they reject
        if not self.has_time(headers) or is_exhausted(response.status_code, _error(body)):
            headers["x-should-retry"] = "false"
        # The response would encode them as ASCII, which fails for what a server may send.
        raw = {name: value.encode(response.headers.encoding) for name, value in headers.items()}
        return type(response)(
            response.status_code, headers=raw, content=body, request=response.request
        )


current: ContextVar[Attempt | None] = ContextVar("personakit_call", default=None)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that an upstream asks to wait; None if that is missing or invalid.

    ``Retry-After`` is a number of seconds or a date (RFC 9110, section 10.2.3); OpenAI's API
    also sends ``retry-after-ms``.
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
    """Return whether an error means that the account has no credit left."""
    if not isinstance(error, dict):
        return status == 402
    codes = [error.get("code"), error.get("type")]
    # Anthropic reports it as an invalid request, with no code of its own.
    message = str(error.get("message") or "").lower()
    return (
        status == 402
        or any(isinstance(c, str) and c in _NO_CREDIT for c in codes)
        or "credit balance is too low" in message
    )


def _error(body: bytes) -> Any:
    with contextlib.suppress(ValueError, RecursionError, AttributeError):
        return json.loads(body).get("error")
    return None


class ConnectionGuard:
    """A connection that enforces the deadline and detects unsolicited data.

    Replaces two methods of httpcore's `NetworkStream`. Only a check before each read can limit a
    sync read to a deadline: the timeout of a socket restarts with each byte.
    """

    __slots__ = ("_read", "_reads", "_write")

    def __init__(self, stream: Any) -> None:
        self._read, self._write, self._reads = stream.read, stream.write, 0
        stream.read, stream.write = self.read, self.write

    def read(self, max_bytes: int, timeout: float | None = None) -> Any:
        """Read; on an async stream, return the awaitable."""
        self._reads += 1
        left = deadline.left()
        shorter = left is not None and (timeout is None or left < timeout)
        return self._read(max_bytes, left if shorter else timeout)

    def write(self, buffer: bytes, timeout: float | None = None) -> Any:
        """Write; on an async stream, return the awaitable."""
        self._reads = 0
        return self._write(buffer, deadline.shorter(timeout))

    def is_asked_for(self) -> bool:
        """Return whether the headers just parsed can belong to the request just sent.

        If nothing was read since, they were already in the buffer, behind the previous answer.
        """
        return self._reads > 0


def guard_of(response: Any) -> ConnectionGuard | None:
    """Return the connection of a response; None if it is unknown."""
    stream = response.extensions.get("network_stream")
    wire = getattr(getattr(stream, "read", None), "__self__", None)
    return wire if isinstance(wire, ConnectionGuard) else None


def http_clients(library: Any, sync: Any, asynchronous: Any, overdue: Any) -> tuple[Any, Any]:
    """Return subclasses of openai's HTTP clients that keep each attempt within the deadline.

    Args:
        library: The HTTP library, httpx or its successor.
        sync: ``openai.DefaultHttpxClient``.
        asynchronous: ``openai.DefaultAsyncHttpxClient``.
        overdue: Wraps an exception in one after which the openai client does not retry.
    """
    failures = (overdue, library.ReadError)
    log = logging.getLogger(library.__name__)

    class Builds:
        def build_request(self, method: str, url: Any, **options: Any) -> Any:
            if not _is_ready(self, options):
                return super().build_request(method, url, **options)  # type: ignore[misc]
            return _built(library.Request, method, url, options)

    class Http(Builds, sync):  # type: ignore[misc]
        def send(self, request: Any, **kwargs: Any) -> Any:
            send = functools.partial(super().send, request, **kwargs)
            call = current.get()
            if call is None:
                return send()
            request.extensions["trace"] = _watch
            attempt = _attempt(call, request, send, failures)
            try:
                # A sync attempt never suspends, so it ends with its first step.
                attempt.send(None)
            except StopIteration as stop:
                return stop.value
            raise RuntimeError("a sync attempt must not suspend")

    class AsyncHttp(Builds, asynchronous):  # type: ignore[misc]
        async def send(self, request: Any, **kwargs: Any) -> Any:
            call = current.get()
            if call is None:
                return await super().send(request, **kwargs)
            if is_direct(self, request, kwargs, log):
                send = functools.partial(send_directly, self, request, library.RequestError)
            else:
                send = functools.partial(super().send, request, **kwargs)
            request.extensions["trace"] = _awatch
            return await _attempt(call, request, send, failures)

    return Http, AsyncHttp


def _is_ready(client: Any, options: Mapping[str, Any]) -> bool:
    """Return whether a request can be built from the options of the openai client alone.

    httpx would merge them with its own base URL, headers, cookies and query. These are empty here,
    and the merge takes 50 µs of the 650 µs of a call (benchmarks, `call`).
    """
    others = options.keys() - {"content", "files", "headers", "params", "timeout"}
    empty = not options.get("files") and not options.get("params") and not len(client.cookies)
    return empty and not others and hasattr(options.get("timeout"), "as_dict")


def _built(request: Any, method: str, url: Any, options: Mapping[str, Any]) -> Any:
    extensions = {"timeout": options["timeout"].as_dict()}
    headers, content = options.get("headers"), options.get("content")
    result = request(method, url, headers=headers, content=content, extensions=extensions)
    # The encoding is known; otherwise each reader of the headers would guess it.
    result.headers.encoding = "ascii"
    return result


async def _attempt(
    call: Attempt, request: Any, send: Callable[[], Any], failures: tuple[Any, Any]
) -> Any:
    """Send a request once; return the reply, with its body if it is an error."""
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
        call.lost += may_have_arrived(error)
        if not call.has_time():
            raise overdue(error) from error
        if type(error).__module__.startswith("aiohttp"):
            # The transport does not translate this error, and the client would not retry after it.
            raise broken(str(error)) from error
        raise


# Of httpx, aiohttp and Python: there was no connection that a request could have been sent on.
_UNSENT = re.compile(
    r"Connect(Error|Timeout)|PoolTimeout|ProxyError|LocalProtocolError|Unsupported"
    r"Protocol|ClientConnect\w*Error|ConnectionRefusedError|gaierror|UnicodeEncodeError"
)


def may_have_arrived(error: BaseException) -> bool:
    """Return whether an upstream may have received a request that failed without a reply."""
    causes: BaseException | None = error
    for _ in range(10):
        if causes is None:
            break
        if _UNSENT.fullmatch(type(causes).__name__):
            return False
        causes = causes.__cause__ or causes.__context__
    return True


async def _result(value: Any) -> Any:
    return value if in_sync() else await value


async def _start(response: Any) -> bytes:
    """Return the beginning of an error's body, which is enough for its message."""
    start = b""
    left = deadline.shorter(None)
    seconds = _ERROR_SECONDS if left is None else min(_ERROR_SECONDS, left / 2)
    # The status is already known, so a broken body is ignored.
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
    """Guard each new connection; httpx's `trace` extension calls this."""
    stream = info.get("return_value")
    if name.endswith(("connect_tcp.complete", "start_tls.complete")) and hasattr(stream, "read"):
        ConnectionGuard(stream)


async def _awatch(name: str, info: Mapping[str, Any]) -> None:
    _watch(name, info)
