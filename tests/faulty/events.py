"""Modes of the events: a stream that is cut, wrong, or written in another way, but never waits."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from faulty.modes import Ends, Fails, Gives, Mode
from faulty.replies import DONE, FIRST, STOP, TEXT, chunk, event, said, stream
from faulty.server import Exchange
from personakit import IncompleteAnswer, InvalidAnswer, RateLimited, UpstreamUnavailable

HELLO = said("Hello")
REST = said(TEXT[5:])
CUT = Fails((IncompleteAnswer,), partial="Hello")
INVALID = Fails((InvalidAnswer,), partial="Hello")
DOWN = Fails((UpstreamUnavailable,), partial="Hello")
NOTHING = Fails((IncompleteAnswer, InvalidAnswer))
LEVELS = b"[" * 700 + b"]" * 700
OVERLOADED = {"message": "Overloaded", "type": "server_error", "code": None}


def events(*data: bytes) -> Callable[[Exchange], None]:
    return lambda exchange: stream(exchange, *data)


def raw(text: str) -> bytes:
    """Return an event with a text that is not escaped."""
    return event(json.dumps(chunk({"content": text}), ensure_ascii=False).encode())


def told(*events: bytes, last: tuple[Any, str] = ({}, "stop")) -> tuple[bytes, ...]:
    """Return a whole stream with some events behind its first text."""
    return FIRST, HELLO, *events, event(chunk(*last)), DONE


def _modes() -> list[Mode]:
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
        "error event in words": (told(spelt + event(b"overloaded")), (DOWN, INVALID)),
        "error 429 in an event": (told(event(limit)), Fails((RateLimited,), partial="Hello")),
        "error before any text": ((event(error),), Fails((UpstreamUnavailable,))),
        "broken JSON in an event": (told(event(b'{"choices": [}')), INVALID),
        "a list in an event": (told(event([1])), INVALID),
        "null in an event": (told(event(None)), INVALID),
        "100,000 levels in an event": (told(event(b"[" * 100_000)), INVALID),
        "700 levels in an event": (
            told(event(chunk({})).replace(b"}\n\n", b', "x": ' + LEVELS + b"}\n\n"), REST),
            (Gives(), INVALID),
        ),
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


MODES = tuple(_modes())
