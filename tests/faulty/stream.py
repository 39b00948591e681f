"""Modes of the stream: it breaks off, stalls, never ends, or is written in another way."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any

from faulty.modes import Ends, Fails, Gives, Mode
from faulty.replies import (
    DONE,
    END,
    FIRST,
    STOP,
    TEXT,
    chunk,
    event,
    part,
    said,
    sse,
    stream,
)
from faulty.server import Exchange
from personakit import (
    IncompleteAnswer,
    InvalidAnswer,
    RateLimited,
    Timeout,
    UpstreamUnavailable,
)

HELLO = said("Hello")
REST = said(TEXT[5:])
CUT = Fails((IncompleteAnswer,), partial="Hello")
INVALID = Fails((InvalidAnswer,), partial="Hello")
DOWN = Fails((UpstreamUnavailable,), partial="Hello")
NOTHING = Fails((IncompleteAnswer, InvalidAnswer))
OPEN = Fails((InvalidAnswer,), partial=None)
LATE = Fails((Timeout,), partial=None)
OVERLOADED = {"message": "Overloaded", "type": "server_error", "code": None}


def events(*data: bytes) -> Callable[[Exchange], None]:
    return lambda exchange: stream(exchange, *data)


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


def split(exchange: Exchange) -> None:
    """Send a stream byte by byte."""
    exchange.send(sse(exchange))
    for byte in FIRST + raw("né 😀") + STOP + DONE:
        exchange.send(part(bytes([byte])))
    exchange.send(END)


def raw(text: str) -> bytes:
    """Return an event with a text that is not escaped."""
    return event(json.dumps(chunk({"content": text}), ensure_ascii=False).encode())


def told(*events: bytes, last: tuple[Any, str] = ({}, "stop")) -> tuple[bytes, ...]:
    """Return a whole stream with some events behind its first text."""
    return FIRST, HELLO, *events, event(chunk(*last)), DONE


def after_done(exchange: Exchange) -> None:
    stream(exchange, FIRST, HELLO, REST, STOP, DONE, said("More."), event(b"{broken"), DONE)


def rewritten(old: bytes, new: bytes) -> Callable[[Exchange], None]:
    data = b"".join([FIRST, HELLO, REST, STOP, DONE]).replace(old, new)
    return lambda exchange: stream(exchange, data[:70], data[70:])


def _written() -> list[Mode]:
    """Return the modes in which all events come, and more."""
    none = event(chunk({}, choices=[], usage={"prompt_tokens": 1}))
    error = {"error": OVERLOADED}
    limit = {"error": {**OVERLOADED, "code": 429}}
    spelt = b"event: error\n"
    modes: dict[str, tuple[tuple[bytes, ...], Ends | tuple[Ends, ...]]] = {
        "ends before a finish reason": ((FIRST, HELLO), CUT),
        "ends with [DONE] before a finish reason": ((FIRST, HELLO, DONE), CUT),
        "ends inside an event": ((FIRST, HELLO, REST[:30]), CUT),
        "ends inside an escape": ((FIRST, HELLO, said("\u20ac").partition(b"20ac")[0]), CUT),
        "ends inside a character": ((FIRST, HELLO, raw("é").partition(b"\xa9")[0]), CUT),
        "empty": ((), NOTHING),
        "[DONE] alone": ((DONE,), NOTHING),
        "error in an event": ((FIRST, HELLO, event(error)), DOWN),
        "error in an event, then [DONE]": (told(event(error)), DOWN),
        "error event": ((FIRST, HELLO, spelt + event(error)), DOWN),
        "error event without the key": ((FIRST, HELLO, spelt + event(OVERLOADED), DONE), DOWN),
        "error event, then a finish reason": (told(spelt + event(OVERLOADED)), DOWN),
        "error event in words": (told(spelt + event(b"overloaded")), DOWN),
        "error 429 in an event": (told(event(limit)), Fails((RateLimited,), partial="Hello")),
        "error before any text": ((event(error),), Fails((UpstreamUnavailable,))),
        "broken JSON in an event": (told(event(b'{"choices": [}')), INVALID),
        "a list in an event": (told(event([1])), INVALID),
        "null in an event": (told(event(None)), INVALID),
        "100,000 levels in an event": (told(event(b"[" * 100_000)), INVALID),
        "invalid UTF-8 in an event": (told(said("@").replace(b"@", b"\xff")), INVALID),
        "no [DONE]": ((FIRST, HELLO, REST, STOP), Gives()),
        "no [DONE] and no blank line": ((FIRST, HELLO, REST, STOP.rstrip()), Gives()),
        "comments and unknown fields": (
            (b": hi\n\n", *told(b"id: 7\nretry: 9\nfoo: bar\nbaz\n" + REST)),
            Gives(),
        ),
        "names of events": (told(b"event: message\n" + REST), Gives()),
        "U+2028 in a text": (told(raw("a\u2028b\u2029c\x85d")), Gives("Helloa\u2028b\u2029c\x85d")),
        "chunks with no choices": ((none, *told(none, REST, none), none), Gives()),
        "chunks with null choices": (told(event(chunk({}, choices=None)), REST), Gives()),
        "chunks with a null delta": (told(event(chunk(None)), REST, last=(None, "stop")), Gives()),
        "chunks with a null content": (told(event(chunk({"content": None})), REST), Gives()),
        "text beside the finish reason": (told(last=({"content": TEXT[5:]}, "stop")), Gives()),
        "text after the finish reason": (told(STOP, REST), (Gives(), Gives("Hello"))),
        "finish_reason length": (told(last=({}, "length")), Gives("Hello", "length")),
        "surrogate pair over two events": (
            told(said("a\ud83d"), said("\ude00b")),
            Gives("Helloa\U0001f600b"),
        ),
        "lone surrogate": (told(said("a\ud83d"), said("b")), Gives("Helloa\ufffdb")),
        "lone surrogate at the end": (told(said("\ud83d")), Gives("Hello\ufffd")),
        "NUL and escape characters": (told(said("a\0b\x1b[31mc")), Gives("Helloa\0b\x1b[31mc")),
    }
    return [Mode(name, events(*data), ends, Fails.any()) for name, (data, ends) in modes.items()]


def _mode(name: str, serve: Callable[[Exchange], None], ends: Ends, **keys: Any) -> Mode:
    """Return a mode of the stream: a run that asked for none gets events, and some error."""
    return Mode(name, serve, ends, Fails.any(), **{"requests": None, **keys})


MODES = (
    *_written(),
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
    _mode("never ends", endless(said("a" * 60_000)), OPEN),
    _mode("line without end", endless(b"data: " + b"a" * 60_000), OPEN),
    _mode("event without end", endless(b"data: " + b"a" * 60_000 + b"\n"), OPEN),
    _mode("fast comments without end", endless(b": " + b"a" * 60_000 + b"\n"), OPEN),
    _mode("split into bytes", split, Gives("né 😀")),
    _mode("events after [DONE]", after_done, Gives()),
    _mode("CRLF line ends", rewritten(b"\n", b"\r\n"), Gives()),
    _mode("CR line ends", rewritten(b"\n", b"\r"), Gives()),
    _mode("no space after data:", rewritten(b"data: ", b"data:"), Gives()),
)
