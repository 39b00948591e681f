"""Uvicorn's HTTP protocol over httptools, with the limits that it lacks.

uvicorn bounds neither the headers nor the time that they take, and appends the trailers of a
chunked body to the headers. Its `limit_concurrency` counts requests, not connections, and answers
in plain text.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, Protocol

import httptools
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from personakit.server.connections.ambiguous import fault

HEAD_SECONDS = 30.0
"""Seconds in which the headers of a request must be complete; `Limits.idle`, if that is less."""
LINGER = 5.0
"""Seconds in which what a refused client still sends is read, lest it miss the answer."""
PIPELINED = 16
"""The most requests of a connection that wait for the reply to an earlier one."""
_FRAMING = 16
"""The bytes that the chunks of a body may cost for each byte in them."""


class Bounds(Protocol):
    """The part of `Limits` that concerns connections."""

    @property
    def header(self) -> int: ...  # noqa: D102
    @property
    def connections(self) -> int: ...  # noqa: D102
    @property
    def idle(self) -> float: ...  # noqa: D102


class Answer(NamedTuple):
    """The answer to a request that the application does not see."""

    status: int
    reason: str
    code: str
    message: str

    def data(self, defaults: list[tuple[bytes, bytes]]) -> bytes:
        """Return the bytes of the reply, with an error of OpenAI's shape."""
        kind = "server_error" if self.status >= 500 else "invalid_request_error"
        error = {"message": self.message, "type": kind, "param": None, "code": self.code}
        body = json.dumps({"error": error}, separators=(",", ":")).encode()
        lines = [STATUS_LINE[self.status], b"content-type: application/json\r\n"]
        lines += [b"%b: %b\r\n" % header for header in defaults]
        if self.status == 503:
            lines.append(b"retry-after: 1\r\n")
        lines.append(b"content-length: %d\r\nconnection: close\r\n\r\n" % len(body))
        return b"".join([*lines, body])


class _Refused(Exception):
    """Ends the parsing of a request; `Limited._answer` says why."""


class _Unframed:
    """Sends a reply whose length is not known without chunks, which HTTP/1.0 does not have.

    It ends with the connection: RFC 9112, 6.3. uvicorn would send chunks.
    """

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle, self._send = cycle, cycle.send
        self._endless = False

    async def __call__(self, message: Any) -> None:
        cycle = self._cycle
        if message["type"] == "http.response.start":
            names = [name.lower() for name, _ in message.get("headers", ())]
            if b"content-length" not in names:
                self._endless, cycle.chunked_encoding = True, False
        elif self._endless:
            cycle.expected_content_length = len(message.get("body", b""))
        await self._send(message)


class _Closing:
    """The transport of a reply, which the connection closes.

    uvicorn writes a head and the body after it apart: two system calls, each of which wakes the
    client. A head is kept until the next write, or until the event loop goes on.
    """

    def __init__(self, transport: asyncio.Transport, close: Callable[[], None]) -> None:
        self._transport, self.is_closing = transport, transport.is_closing
        self._close, self._head = close, b""

    def write(self, data: bytes) -> None:
        """Write what was kept and this, or keep it."""
        if self._head:
            data, self._head = self._head + data, b""
        elif data.startswith(b"HTTP/1.1 "):
            self._head = data
            asyncio.get_running_loop().call_soon(self.flush)
            return
        self._transport.write(data)

    def flush(self) -> None:
        """Write what was kept."""
        head, self._head = self._head, b""
        if head and not self.is_closing():
            self._transport.write(head)

    def close(self) -> None:
        """Write what was kept, and close the connection."""
        self.flush()
        self._close()


class Limited(HttpToolsProtocol):
    """A connection; `personakit.server.protocol.protocol` makes the classes that are used.

    A client that shuts down its side is taken for one that has left, as by uvicorn: at the other
    end, both look the same, and nobody would read the rest of a run that costs money.
    """

    limits: ClassVar[Bounds]
    refused: ClassVar[Any]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._header = self.limits.header
        self._cycles: list[RequestResponseCycle] = []  # the newest is last
        self._in_head = self._in_body = False
        self._begun = False  # whether a request began in what was read last
        self._upgrade = False  # whether the head asks for another protocol
        self._size = 0  # bytes of the head and the trailers
        self._body = self._read_body = 0  # bytes of the body; of it in what was read last
        self._waste = 0  # bytes that were neither a body nor a header that is complete
        self._since = self._moved = self.loop.time()
        self._unsent = 0
        self._late = -1.0  # when the request began whose body comes after its reply
        self._answer: Answer | None = None
        self._deaf = False  # whether what the client sends is dropped
        self._timer: asyncio.TimerHandle | None = None

    # --- asyncio ---------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin, or refuse the connection if there are too many."""
        super().connection_made(transport)
        self._closing: Any = _Closing(transport, self._close)
        self._timer = self.loop.call_later(self._period(), self._check)
        if len(self.connections) > self.limits.connections:
            self._refuse(_FULL)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell every request of the connection; uvicorn tells the newest alone."""
        if self._timer is not None:
            self._timer.cancel()
        for cycle in self._open():
            cycle.disconnected = True
            cycle.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what arrived."""
        if self._deaf:
            return
        self._unset_keepalive_if_required()
        self._begun, self._read_body = False, 0
        try:
            self._feed(data)
        except httptools.HttpParserError:
            self._refuse(self._answer or _INVALID)
            return
        self._waste = 0 if self._begun else self._waste + len(data) - self._read_body
        if self._waste > self._header + _FRAMING * self._body:
            self._refuse(_LARGE if self._in_head else _CHUNKS)
        elif not self._in_head and not self._in_body and self._cycles and not self._open():
            # uvicorn unsets this timer for each byte, and sets it only after a reply.
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def _feed(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            # The parser skips the body, which would be taken for the next request
            # (https://github.com/Kludex/uvicorn/issues/2722): parse the head again, without the
            # offer of another protocol. Java's HTTP client makes one with every request.
            version = self.parser.get_http_version().encode()
            lines = [b"%b %b HTTP/%b\r\n" % (self.parser.get_method(), self.url, version)]
            lines += [b"%b: %b\r\n" % pair for pair in self.headers if pair[0] != b"upgrade"]
            self._feed(b"".join([*lines, b"\r\n", data[upgrade.args[0] :]]))

    # --- the parser ------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self._in_head = self._begun = True
        self._upgrade = False
        self._since = self.loop.time()
        self._size = self._body = 0

    def on_url(self, url: bytes) -> None:
        """Add a part of the target."""
        self._size += len(url)
        if self._size > self._header:
            raise self._stop(_LARGE)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Add a header. Trailers are dropped: RFC 9110, 6.5.1."""
        self._size += len(name) + len(value) + 4
        if self._size > self._header:
            raise self._stop(_LARGE)
        if self._in_head:
            HttpToolsProtocol.on_header(self, name, value.rstrip(b" \t"))

    def on_headers_complete(self) -> None:
        """Start the request, if there is one way alone to read it."""
        version = self.parser.get_http_version()
        wrong = fault(self.parser.get_method(), version, self.url, self.headers)
        if wrong:
            raise self._stop(Answer(400, "invalid", "invalid_http", wrong))
        if len(self.pipeline) >= PIPELINED:
            raise self._stop(_PIPELINE)
        if self.parser.should_upgrade():
            self._upgrade = True
            return
        super().on_headers_complete()
        self._in_head, self._in_body = False, True
        self._cycles = [*self._open(), self.cycle]
        self.cycle.transport = self._closing
        if version == "1.0":
            self.cycle.send = _Unframed(self.cycle)  # type: ignore[method-assign]
        if self.expect_100_continue:
            # Whether the body will come is not known if the answer is an error.
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """Add a part of the body."""
        self._body += len(body)
        self._read_body += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request."""
        if not self._upgrade:
            super().on_message_complete()
            self._in_body = False

    def _stop(self, answer: Answer) -> _Refused:
        self._answer = answer
        return _Refused(answer.message)

    # --- refusals --------------------------------------------------------------------------------

    def _open(self) -> list[RequestResponseCycle]:
        """Return the requests without a whole reply, the oldest first."""
        return [cycle for cycle in self._cycles if not cycle.response_complete]

    def _refuse(self, answer: Answer) -> None:
        """Answer what the client sends now, read no more, and close the connection."""
        self._deaf = True
        self.refused(answer.reason)
        waiting = self._open()
        if self._in_body and (not waiting or waiting[-1] is not self.cycle):
            self.transport.close()  # it has its reply
            return
        if self._in_body:
            own = waiting.pop()
            own.disconnected = True
            own.message_event.set()
            self.pipeline = type(self.pipeline)(p for p in self.pipeline if p[0] is not own)
            if own.response_started:
                self.transport.abort()
                return
        if waiting:
            waiting[-1].keep_alive = False  # an answer before their replies would be taken for one
            return
        self.transport.write(answer.data(self.server_state.default_headers))
        self._linger()

    def _close(self) -> None:
        """Close the connection after the last reply."""
        for cycle, _ in self.pipeline:
            cycle.disconnected = True
        self.pipeline.clear()
        if self._in_body:
            self._linger()
        else:
            self.transport.close()

    def _linger(self) -> None:
        """Close the connection when the client has read the reply.

        Closed at once, while the client still sends, it would be reset, and the client could lose
        the reply (RFC 9112, 9.6).
        """
        self._deaf = True
        if not self.transport.can_write_eof():
            self.transport.close()
            return
        self.flow.resume_reading()
        self.transport.write_eof()
        self._retime(LINGER, self.transport.abort)

    # --- time ------------------------------------------------------------------------------------

    def _period(self) -> float:
        return min(HEAD_SECONDS, self.limits.idle) / 4

    def _retime(self, seconds: float, then: Any) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_later(seconds, then)

    def _check(self) -> None:
        """Close the connection of a client that neither sends its headers nor reads its reply."""
        now, transport = self.loop.time(), self.transport
        unsent = transport.get_write_buffer_size()
        # While the application may write, the size says nothing of what the client reads.
        still = self.flow.write_paused or transport.is_closing() or not self._open()
        if not unsent or unsent < self._unsent or not still:
            self._moved = now
        self._unsent = unsent
        late = self._since if self._in_body and not self._open() else -1.0
        if now - self._moved >= self.limits.idle or (late >= 0 and late == self._late):
            transport.abort()
            return
        self._late = late
        self._retime(self._period(), self._check)
        if not self._deaf and now - self._since >= min(HEAD_SECONDS, self.limits.idle):
            if self._in_head:
                self._refuse(_SLOW)
            elif not self._cycles:
                transport.close()  # nothing came: there is nothing to answer


_FULL = Answer(
    503,
    "full",
    "server_overloaded",
    "the server has as many connections as it may; try again",
)
_INVALID = Answer(
    400,
    "invalid",
    "invalid_http",
    "this is not a valid HTTP/1.1 request; if the client uses https, use http",
)
_LARGE = Answer(
    431,
    "headers",
    "headers_too_large",
    "the request line and the headers are too large; send less, such as fewer cookies",
)
_CHUNKS = Answer(
    400,
    "invalid",
    "invalid_http",
    "the chunks of the body are mostly framing; send larger ones, without extensions",
)
_PIPELINE = Answer(
    400, "invalid", "invalid_http", "too many requests of this connection wait for a reply"
)
_SLOW = Answer(408, "timeout", "timeout", "the headers did not arrive in time")
