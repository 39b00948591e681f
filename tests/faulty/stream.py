"""Modes of the stream as it arrives: it breaks off, stalls, drips, never ends, or comes packed."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Callable
from typing import Any

from faulty.events import CUT, HELLO, REST, raw
from faulty.modes import Ends, Fails, Gives, Mode
from faulty.replies import (
    DONE,
    END,
    FIRST,
    STOP,
    TEXT,
    event,
    head,
    part,
    reply,
    said,
    sse,
    stream,
)
from faulty.server import Exchange
from personakit import (
    IncompleteAnswer,
    InvalidAnswer,
    Timeout,
    UpstreamUnavailable,
)

LATE = Fails((Timeout,), partial=None)
OPEN = Fails((InvalidAnswer,), partial=None)


def begun(exchange: Exchange) -> None:
    """Send the beginning of a stream, and give the client the time to read it."""
    exchange.send(sse(exchange), part(FIRST), part(HELLO))
    exchange.wait(0.1)


def reset(exchange: Exchange) -> None:
    begun(exchange)
    exchange.reset()


def reset_before_any_text(exchange: Exchange) -> None:
    exchange.send(sse(exchange), part(FIRST))
    exchange.wait(0.1)
    exchange.reset()


def closed(exchange: Exchange) -> None:
    begun(exchange)
    exchange.close()


def closed_inside_an_event(exchange: Exchange) -> None:
    exchange.send(sse(exchange), part(FIRST), part(HELLO), part(REST[:30]))
    exchange.close()


def stall(exchange: Exchange) -> None:
    begun(exchange)
    exchange.wait()


def drip(exchange: Exchange) -> None:
    exchange.send(sse(exchange))
    exchange.forever(part(said("x")), every=0.1)


def drip_bytes(exchange: Exchange) -> None:
    begun(exchange)
    for byte in itertools.cycle(REST):
        exchange.send(part(bytes([byte])))
        exchange.wait(0.1)


def comments(exchange: Exchange) -> None:
    begun(exchange)
    exchange.forever(part(b": keep-alive\n\n"), every=0.1)


def endless(data: bytes) -> Callable[[Exchange], None]:
    def serve(exchange: Exchange) -> None:
        exchange.send(sse(exchange), part(FIRST))
        exchange.forever(part(data))

    return serve


def then(exchange: Exchange) -> None:
    """Send a whole stream, and leave the reply open."""
    exchange.send(sse(exchange), *(part(data) for data in (FIRST, HELLO, REST, STOP, DONE)))


def hang_after_done(exchange: Exchange) -> None:
    then(exchange)
    exchange.wait()


def reset_after_done(exchange: Exchange) -> None:
    then(exchange)
    exchange.reset()


def garbage_after_done(exchange: Exchange) -> None:
    then(exchange)
    exchange.send(b"what?\r\n\r\n")


def hang_after_the_finish_reason(exchange: Exchange) -> None:
    exchange.send(sse(exchange), *(part(data) for data in (FIRST, HELLO, REST, STOP)))
    exchange.wait()


def as_kind(kind: str, start: bytes = b"") -> Callable[[Exchange], None]:
    """Return what sends events under another content type."""
    data = start + b"".join([FIRST, HELLO, REST, STOP, DONE])
    return lambda exchange: exchange.send(reply(exchange, data, kind=kind))


def gzipped(exchange: Exchange) -> None:
    """Send a stream as gzip, each event in a packet of its own."""
    packer = zlib.compressobj(wbits=31)
    exchange.send(
        head(
            exchange,
            kind="text/event-stream",
            transfer_encoding="chunked",
            content_encoding="gzip",
        )
    )
    for data in (FIRST, HELLO, REST, STOP, DONE):
        exchange.send(part(packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH)))
    exchange.send(part(packer.flush()), END)


def split(exchange: Exchange) -> None:
    """Send a stream byte by byte."""
    exchange.send(sse(exchange))
    for byte in FIRST + raw("né 😀") + STOP + DONE:
        exchange.send(part(bytes([byte])))
    exchange.send(END)


def after_done(exchange: Exchange) -> None:
    stream(exchange, FIRST, HELLO, REST, STOP, DONE, said("More."), event(b"{broken"), DONE)


def rewritten(old: bytes, new: bytes) -> Callable[[Exchange], None]:
    data = b"".join([FIRST, HELLO, REST, STOP, DONE]).replace(old, new)
    return lambda exchange: stream(exchange, data[:70], data[70:])


def _mode(name: str, serve: Callable[[Exchange], None], ends: Ends, **keys: Any) -> Mode:
    """Return a mode of the stream: a run that asked for none gets events, and some error."""
    return Mode(name, serve, ends, Fails.any(), **{"requests": None, **keys})


MODES = (
    _mode("cut by a TCP reset", reset, CUT),
    _mode(
        "reset before any text",
        reset_before_any_text,
        Fails((UpstreamUnavailable, IncompleteAnswer)),
    ),
    _mode("closed without an end", closed, CUT),
    _mode("closed inside an event", closed_inside_an_event, CUT),
    _mode("stalls", stall, Fails((Timeout,), partial="Hello"), timeout=0.4, deadline=3.0),
    _mode(
        "stalls past its deadline",
        stall,
        Fails((Timeout,), partial="Hello"),
        timeout=9,
        deadline=0.8,
    ),
    _mode("drips characters", drip, LATE, timeout=0.5, deadline=1),
    _mode("drips bytes", drip_bytes, LATE, timeout=0.5, deadline=1),
    _mode(
        "comments without end",
        comments,
        Fails((Timeout,), partial="Hello"),
        timeout=0.5,
        deadline=1,
    ),
    _mode("never ends", endless(said("a" * 500_000)), OPEN),
    _mode(
        "never ends in small events",
        endless(said("a") * 100),
        Fails((Timeout, InvalidAnswer), partial=None),
        deadline=1,
    ),
    _mode("line without end", endless(b"data: " + b"a" * 60_000), OPEN),
    _mode("event without end", endless(b"data: " + b"a" * 60_000 + b"\n"), OPEN),
    _mode("fast comments without end", endless(b": " + b"a" * 60_000 + b"\n"), OPEN),
    _mode("split into bytes", split, Gives("né 😀")),
    _mode("events after [DONE]", after_done, Gives()),
    _mode("hangs after [DONE]", hang_after_done, Gives(), deadline=1, timeout=0.5),
    _mode("reset after [DONE]", reset_after_done, Gives()),
    _mode("garbage after [DONE]", garbage_after_done, Gives()),
    Mode(
        "hangs after the finish reason",
        hang_after_the_finish_reason,
        (Gives(), Fails((Timeout,), partial=TEXT)),
        Fails.any(),
        timeout=0.4,
        deadline=1.5,
    ),
    _mode("events as JSON", as_kind("application/json"), Gives()),
    _mode("events as plain text", as_kind("text/plain"), Gives()),
    _mode(
        "events behind a byte order mark", as_kind("text/event-stream", b"\xef\xbb\xbf"), Gives()
    ),
    _mode("events behind blank lines", as_kind("text/event-stream", b"\n\r\n"), Gives()),
    _mode("gzip", gzipped, Gives()),
    _mode("CRLF line ends", rewritten(b"\n", b"\r\n"), Gives()),
    _mode("CR line ends", rewritten(b"\n", b"\r"), Gives()),
    _mode("no space after data:", rewritten(b"data: ", b"data:"), Gives()),
)
