"""A connection of the server, fed with any bytes, without sockets."""

from __future__ import annotations

import asyncio
import functools
import logging
from typing import Any

import httptools
import uvicorn
from uvicorn.server import ServerState

from personakit.server import Limits
from personakit.server.protocol import protocol

HEADER = 600
"""The most bytes of headers: inputs are small."""
SEEDS = [
    b"\0GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"\x07GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\nGET /a HTTP/1.1\r\nHost: a\r\n\r\n",
    b"\0POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabcde",
    b"\1POST /early HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nabcde",
    b"\0POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3;a\r\nabc\r\n0\r\nA: b\r\n\r\n",
    b"\0POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n"
    b"Content-Length: 3\r\n\r\nabc",
    b"\0POST /stream HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nabc",
    b"\0GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
    b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc",
    b"\0GET http://a/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    b"\0CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
]  # fmt: skip


class Transport(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.is_ended = self.is_closed = False
        self.protocol: Any = None

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return addresses."""
        return ("127.0.0.1", 1) if name in ("peername", "sockname") else default

    def write(self, data: Any) -> None:
        """Keep what is written before the end."""
        assert not self.is_ended, f"written after the end: {data!r}"
        if not self.is_closed:
            self.written += data

    def write_eof(self) -> None:
        """End what is written."""
        self.is_ended = True

    def can_write_eof(self) -> bool:
        """Return True."""
        return True

    def get_write_buffer_size(self) -> int:
        """Return 0: the client reads."""
        return 0

    def pause_reading(self) -> None:
        """Do nothing: what is fed was read before."""

    def resume_reading(self) -> None:
        """Do nothing."""

    def is_closing(self) -> bool:
        """Return whether it is closed."""
        return self.is_closed

    def close(self) -> None:
        """Close it."""
        if not self.is_closed:
            self.is_closed = True
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)

    abort = close


class _Replies:
    """Reads the replies."""

    def __init__(self, data: bytes) -> None:
        self.statuses: list[int] = []
        self.parser = httptools.HttpResponseParser(self)
        self.parser.feed_data(data)

    def on_headers_complete(self) -> None:
        self.statuses.append(self.parser.get_status_code())


async def _app(scope: Any, receive: Any, send: Any) -> None:
    """Answer with two bytes, or with three pieces, before or after the body."""
    if scope["path"] != "/early":
        while (await receive()).get("more_body"):
            pass
    if scope["path"] == "/stream":
        await send({"type": "http.response.start", "status": 200})
        for _ in range(3):
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
            await asyncio.sleep(0)
        await send({"type": "http.response.body"})
        return
    length = (b"content-length", b"2")
    await send({"type": "http.response.start", "status": 200, "headers": [length]})
    await send({"type": "http.response.body", "body": b"ok"})


@functools.cache
def _made() -> tuple[Any, uvicorn.Config]:
    kind = protocol(Limits(header=HEADER))
    config = uvicorn.Config(_app, http=kind, lifespan="off", ws="none", log_config=None)
    config.load()
    return kind, config


async def _fed(data: bytes, size: int) -> bytes:
    """Feed bytes in pieces; return what the server wrote."""
    kind, config = _made()
    state, transport, faults = ServerState(), Transport(), list[Any]()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
    transport.protocol = connection = kind(config, state, {})
    connection.connection_made(transport)
    for at in range(0, len(data), size):
        if not transport.is_closed:
            connection.data_received(data[at : at + size])
            await asyncio.sleep(0)
    for _ in range(20):
        await asyncio.sleep(0)
    transport.close()
    for _ in range(10):
        await asyncio.sleep(0)
    assert not faults, faults
    assert not state.tasks, "a request goes on after the connection"
    assert not state.connections
    return transport.written


def connections(data: bytes) -> None:
    """Feed a connection of the server; the first byte is the size of the pieces."""
    size = data[0] if data else 0
    logger = logging.getLogger("uvicorn.error")
    records: list[logging.LogRecord] = []
    logger.propagate, logger.handlers = False, [_Kept(records)]
    written = asyncio.run(_fed(data[1:], size or len(data) or 1))
    errors = [record for record in records if record.levelno >= logging.ERROR]
    assert not errors, errors[0].getMessage()
    if b"HEAD" not in data:
        statuses = _Replies(written).statuses
        assert set(statuses) <= {100, 200, 400, 431}, statuses


class _Kept(logging.Handler):
    def __init__(self, records: list[logging.LogRecord]) -> None:
        super().__init__()
        self.records = records

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)
