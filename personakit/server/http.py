"""One HTTP request and its reply, over ASGI (https://asgi.readthedocs.io/en/latest/specs/www.html)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, NoReturn

from personakit.base import read_json
from personakit.server.connections.waits import within

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

JSON = b"application/json"
EVENTS = b"text/event-stream; charset=utf-8"
WAITING = b": waiting\n\n"
"""A comment that keeps proxies from closing a connection on which nothing has been sent yet."""
SILENCE = 15.0
"""Seconds after which `WAITING` is sent."""
_written = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


class Refusal(Exception):
    """A request that is answered with an error of OpenAI's shape.

    Args:
        status: The HTTP status.
        message: What is wrong and what would be right, for the client's user.
        type: The `type` of the error, such as ``invalid_request_error``.
        code: The `code` of the error.
        param: The part of the body that is wrong.
        headers: Further headers of the reply, such as ``retry-after``.
        reason: The label of the refusal in the metrics; default: the code. Empty if the request
            is counted as a run.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str = "invalid_request_error",  # noqa: A002 - OpenAI's name
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
        reason: str = "",
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.type = status, message, type
        self.code, self.param = code, param
        self.headers = dict(headers or {})
        self.reason = reason or code or "invalid"

    def body(self) -> dict[str, Any]:
        """Return the JSON of the reply (https://platform.openai.com/docs/guides/error-codes)."""
        error = {"message": self.message, "type": self.type, "param": self.param, "code": self.code}
        return {"error": error}


def unavailable(message: str, *, code: str, seconds: int, reason: str, **more: str) -> Refusal:
    """Return the refusal of a request that the server cannot answer now (503).

    Args:
        message: Why.
        code: The `code` of the error.
        seconds: When to try again.
        reason: The label in the metrics.
        more: Further headers.
    """
    headers = {"retry-after": str(seconds), **more}
    return Refusal(503, message, type="server_error", code=code, headers=headers, reason=reason)


class Exchange:
    """A request and its reply.

    Attributes:
        method: Such as ``GET``.
        path: The path, decoded, without that at which the application is mounted.
        rest: What ``{name}`` at the end of the route stands for.
        headers: The headers by lower-case name; the values of a repeated one are joined by commas.
        id: The id of the request: that of the client's ``x-request-id``, or a new one.
        extra: Further headers of the reply.
        begun: Whether the reply has begun.
        shape: Returns the body of an error; that of OpenAI's API by default.
        gone: Whether the client has left.
        status: The status of the reply; 0 before it.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send, limit: int, idle: float) -> None:
        self.method: str = scope["method"]
        # The path of an application that is mounted begins with where it is mounted.
        self.path: str = scope["path"].removeprefix(scope.get("root_path", "").rstrip("/"))
        self.rest = ""
        self.scope = scope
        headers: dict[str, str] = {}
        for name, value in scope["headers"]:
            key, text = name.decode("latin-1"), value.decode("latin-1")
            headers[key] = f"{headers[key]}, {text}" if key in headers else text
        self.headers = headers
        self.id = ""
        self.extra: list[tuple[bytes, bytes]] = []
        self.shape: Callable[[Refusal], Any] = Refusal.body
        self.begun, self.gone, self.status = False, False, 0
        self._receive, self._send = receive, send
        self._limit, self._idle = limit, idle
        self._body: bytes | None = None
        self._left: asyncio.Task[None] | None = None

    # --- the request -----------------------------------------------------------------------------

    async def body(self) -> bytes:
        """Return the body, which is read once.

        Raises:
            Refusal: It is larger than the limit (413), arrives too slowly (408), or is compressed
                (415).
        """
        if self._body is not None:
            return self._body
        if (coding := self.headers.get("content-encoding", "identity")) != "identity":
            raise Refusal(
                415,
                f"the body has the content-encoding {coding[:40]!r}; send it as it is",
                code="unsupported_encoding",
                headers={"connection": "close"},
            )
        stated = self.headers.get("content-length", "")
        if stated.isdecimal() and int(stated) > self._limit:
            raise self._too_large()
        parts: list[bytes] = []
        size = 0
        while True:
            try:
                message = await within(self._idle, self._receive())
            except TimeoutError:
                raise Refusal(
                    408,
                    f"the body did not arrive: nothing came for {self._idle:g} s",
                    code="timeout",
                    headers={"connection": "close"},
                ) from None
            if message["type"] == "http.disconnect":
                self.gone = True
                raise asyncio.CancelledError
            if chunk := message.get("body", b""):
                parts.append(chunk)
                size += len(chunk)
                if size > self._limit:
                    raise self._too_large()
            if not message.get("more_body", False):
                self._body = parts[0] if len(parts) == 1 else b"".join(parts)
                return self._body

    async def json(self) -> Any:
        """Return the body, parsed as JSON.

        Raises:
            Refusal: As `body`, or the body is not JSON.
        """
        data = await self.body()
        try:
            return read_json(data.decode("utf-8"))
        except UnicodeDecodeError as error:
            fault = f"it is not UTF-8 (byte {error.start})"
        except ValueError as error:
            # Python's own text names a function of Python.
            fault = "a number has too many digits" if "digits" in str(error) else str(error)
        raise Refusal(
            400, f"the body is not valid JSON: {fault:.200}", code="invalid_json"
        ) from None

    def watch(self) -> None:
        """Cancel the running task when the client leaves; call it after the body was read.

        `gone` is True then.
        """
        task = asyncio.current_task()

        async def watching() -> None:
            while (await self._receive())["type"] != "http.disconnect":
                pass
            self.gone = True
            if task is not None:
                task.cancel()

        self._left = asyncio.create_task(watching())

    def unwatch(self) -> None:
        """End what `watch` began."""
        if self._left is not None:
            self._left.cancel()
            self._left = None

    # --- the reply -------------------------------------------------------------------------------

    async def reply(
        self,
        status: int,
        body: Any = b"",
        headers: Iterable[tuple[bytes, bytes]] = (),
        kind: bytes = JSON,
    ) -> None:
        """Send a whole reply.

        Args:
            status: The HTTP status.
            body: Bytes, or plain data that is sent as JSON.
            headers: Further headers.
            kind: The content type.
        """
        # A client that has the whole reply may leave.
        self.unwatch()
        data = body if isinstance(body, bytes) else dumped(body)
        length = b"%d" % len(data)
        given = [(b"content-type", kind), (b"content-length", length), *headers, *self.extra]
        self.begun, self.status = True, status
        await self._sent(
            {"type": "http.response.start", "status": status, "headers": given},
            {"type": "http.response.body", "body": data},
        )

    async def refuse(self, refusal: Refusal) -> None:
        """Send an error, in the `shape` of the exchange."""
        headers = [(n.encode(), v.encode("latin-1", "replace")) for n, v in refusal.headers.items()]
        await self.reply(refusal.status, self.shape(refusal), headers)

    def events(self) -> Events:
        """Return a reply of server-sent events, which begins with the first one."""
        return Events(self)

    async def pass_on(
        self,
        app: Callable[[Any, Any, Any], Awaitable[None]],
        last: Callable[[bytes], bytes] = lambda body: b"",
    ) -> None:
        """Let an ASGI application reply.

        It gets the whole body, within the limits. When the client leaves, the task is cancelled.

        Args:
            app: The application.
            last: Returns, for the body of the request, what ends a reply that has begun when the
                server ends the request.

        Raises:
            Refusal: As `body`.
        """
        body = await self.body()
        parts = [{"type": "http.request", "body": body, "more_body": False}]
        task, ended = asyncio.current_task(), False

        async def receive() -> Mapping[str, Any]:
            if not parts:
                await asyncio.get_running_loop().create_future()  # until the task is cancelled
            return parts.pop()

        async def send(message: dict[str, Any]) -> None:
            nonlocal ended
            if message["type"] == "http.response.start":
                self.begun, self.status = True, message["status"]
                message = {**message, "headers": [*message.get("headers", ()), *self.extra]}
            elif not message.get("more_body", False):
                self.unwatch()  # a client that has the whole reply may leave
                ended = True
            try:
                await self._sent(message)
            except asyncio.CancelledError:
                if self.gone and task is not None:  # this may be another task
                    task.cancel()
                raise

        self.watch()
        try:
            await app(self.scope, receive, send)
        except asyncio.CancelledError:
            if self.begun and not (ended or self.gone):
                await self._sent({"type": "http.response.body", "body": last(body)})
            raise

    async def _sent(self, *messages: dict[str, Any]) -> None:
        """Send messages of ASGI; a client that does not read ends the request."""
        try:
            await within(self._idle, self._pass(messages))
        except (TimeoutError, OSError):
            self._lose()

    async def _pass(self, messages: Iterable[dict[str, Any]]) -> None:
        for message in messages:
            await self._send(message)

    def _lose(self) -> NoReturn:
        self.gone = True
        raise asyncio.CancelledError

    def _too_large(self) -> Refusal:
        return Refusal(
            413,
            f"the body is larger than {self._limit:,} bytes; send less, such as smaller images",
            code="request_too_large",
            headers={"connection": "close"},
        )


class Events:
    """A reply of server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html).

    A client that does not read stops its own upstream: `write` waits while the server has more for
    the client than it buffers. Until the first event, a comment is sent every `SILENCE` seconds.
    """

    __slots__ = ("_comment", "_exchange", "_owner", "_timer")

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._owner = asyncio.current_task()
        self._comment: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._wait()

    async def write(self, data: bytes) -> None:
        """Send an event, or several, as they are."""
        if self._timer is not None or self._comment is not None:
            await self._begin()
        await self._put(data)

    async def end(self) -> None:
        """End the reply."""
        # A client that has the whole reply may leave.
        self._exchange.unwatch()
        await self._begin()
        if self._exchange.begun:
            await self._exchange._sent({"type": "http.response.body", "body": b""})

    async def abort(self) -> None:
        """Send nothing more; the connection is closed without the end of the body."""
        self._stop_waiting()
        self._owner = None
        if self._comment is not None:
            self._comment.cancel()
            await asyncio.wait([self._comment])

    async def _begin(self) -> None:
        """Send no more comments, once the last one is sent."""
        self._stop_waiting()
        if self._comment is not None:
            await asyncio.shield(self._comment)
            self._comment = None

    def _wait(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(SILENCE, self._break_silence)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _break_silence(self) -> None:
        if self._comment is None or self._comment.done():
            self._comment = asyncio.create_task(self._put_comment())
        self._wait()

    async def _put_comment(self) -> None:
        try:
            await self._put(WAITING)
        except BaseException:
            self._stop_waiting()  # nobody reads further comments
            # The owner waits for its upstream, not for the client.
            if self._owner is not None:
                self._owner.cancel()
            raise

    async def _put(self, data: bytes) -> None:
        exchange = self._exchange
        if not exchange.begun:
            exchange.begun, exchange.status = True, 200
            # Proxies such as nginx would collect the events otherwise.
            fixed = [(b"content-type", EVENTS), (b"cache-control", b"no-store")]
            fixed += [(b"x-accel-buffering", b"no"), *exchange.extra]
            await exchange._sent({"type": "http.response.start", "status": 200, "headers": fixed})
        await exchange._sent({"type": "http.response.body", "body": data, "more_body": True})


def dumped(value: Any) -> bytes:
    """Return plain data as JSON, in ASCII: no lone surrogate can break it."""
    return _written(value).encode()


def event(value: Any) -> bytes:
    """Return a server-sent event with JSON."""
    return b"data: " + dumped(value) + b"\n\n"
