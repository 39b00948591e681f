"""Modes of the body: what is no JSON, no text, too much of it, or packed in a way that breaks."""

from __future__ import annotations

import functools
import gzip
import json
import zlib
from collections.abc import Callable

from faulty.modes import Ends, Fails, Gives, Mode
from faulty.replies import JSON, TEXT, head, part, reply, whole, works
from faulty.server import Exchange
from personakit import IncompleteAnswer, InvalidAnswer, UpstreamUnavailable

INVALID = Fails((InvalidAnswer,))
BROKEN_OFF = Fails((IncompleteAnswer, UpstreamUnavailable), partial=None)
GOOD = json.dumps(whole()).encode()
MEGABYTE = 1 << 20


def body(data: bytes, status: int = 200, **headers: str) -> Callable[[Exchange], None]:
    return lambda exchange: exchange.send(reply(exchange, data, status, **headers))


def text(escaped: str) -> bytes:
    """Return an answer with a text given as it stands in JSON."""
    return GOOD.replace(json.dumps(TEXT).encode(), f'"{escaped}"'.encode())


def deep(levels: int) -> bytes:
    """Return an answer with a key whose value is lists in lists."""
    return GOOD[:-1] + b', "more": ' + b"[" * levels + b"]" * levels + b"}"


def cut(exchange: Exchange) -> None:
    exchange.send(reply(exchange, GOOD[:-40], content_length=len(GOOD)))
    exchange.close()


def cut_chunks(exchange: Exchange) -> None:
    exchange.send(head(exchange, transfer_encoding="chunked") + part(GOOD[:-40]))
    exchange.close()


def until_the_end(exchange: Exchange) -> None:
    """Send a body without a length, which ends with the connection."""
    exchange.send(head(exchange, connection="close") + GOOD)
    exchange.close()


def extra(exchange: Exchange) -> None:
    """Send more than the length says."""
    if exchange.number > 1:
        works(exchange, f"Answer {exchange.number}.")
    else:
        exchange.send(reply(exchange, GOOD) + b"and more, which is no HTTP\r\n\r\n")


def large(status: int = 200, kind: str = JSON) -> Callable[[Exchange], None]:
    """Return what sends an answer with a text of 50 MB."""

    def serve(exchange: Exchange) -> None:
        before, _, after = text("@").partition(b"@")
        size = len(before) + 50 * MEGABYTE + len(after)
        exchange.send(head(exchange, status, kind, content_length=size) + before)
        for _ in range(50):
            exchange.send(b"a" * MEGABYTE)
        exchange.send(after)

    return serve


def endless(status: int = 200, data: bytes = b" " * 65_536) -> Callable[[Exchange], None]:
    def serve(exchange: Exchange) -> None:
        exchange.send(head(exchange, status, transfer_encoding="chunked"))
        exchange.forever(part(data))

    return serve


@functools.cache
def packed(megabytes: int = 500) -> bytes:
    """Return an answer with a text of so many megabytes, as gzip: a thousandth of it."""
    packer = zlib.compressobj(9, wbits=-15)
    before, _, after = text("@").partition(b"@")
    filling = b"a" * MEGABYTE
    # After a full flush a block stands for itself, so that one can be repeated.
    start = packer.compress(before) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(filling) + packer.flush(zlib.Z_FULL_FLUSH)
    end = packer.compress(after) + packer.flush()
    check = functools.reduce(
        lambda crc, part: zlib.crc32(part, crc), [filling] * megabytes, zlib.crc32(before)
    )
    size = len(before) + megabytes * MEGABYTE + len(after)
    trailer = zlib.crc32(after, check).to_bytes(4, "little") + size.to_bytes(4, "little")
    return b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + start + block * megabytes + end + trailer


def bomb(status: int = 200) -> Callable[[Exchange], None]:
    return lambda exchange: exchange.send(
        reply(exchange, packed(), status, content_encoding="gzip")
    )


def gzipped(data: bytes) -> Callable[[Exchange], None]:
    return body(data, content_encoding="gzip")


def _invalid() -> list[Mode]:
    bodies = {
        "empty": b"",
        "blank": b" \n",
        "null": b"null",
        "a list": b"[]",
        "a text": b'"Hello"',
        "a number": b"1",
        "an empty object": b"{}",
        "broken JSON": GOOD[:-10] + b"}",
        "cut JSON": GOOD[:-40],
        "two objects": GOOD + GOOD,
        "100,000 levels of lists": b"[" * 100_000,
        "100,000 levels in an answer": deep(100_000),
        "100,000 levels of objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        "invalid UTF-8": text("@").replace(b"@", b"caf\xe9 \xff\xfe"),
    }
    return [Mode(name, body(data), INVALID) for name, data in bodies.items()]


def _given() -> list[Mode]:
    nan = GOOD.replace(b'"prompt_tokens": 5', b'"prompt_tokens": NaN')
    bodies: dict[str, tuple[bytes, Ends | tuple[Ends, ...]]] = {
        "NaN": (nan[:-1] + b', "more": [NaN, Infinity, -Infinity]}', Gives()),
        "300 levels": (deep(300), (Gives(), INVALID)),
        "700 levels": (deep(700), (Gives(), INVALID)),
        "950 levels": (deep(950), (Gives(), INVALID)),
        "number of 5,000 digits": (GOOD[:-1] + b', "n": ' + b"9" * 5000 + b"}", (Gives(), INVALID)),
        "number out of range": (GOOD[:-1] + b', "n": 1e999}', Gives()),
        "lone surrogate": (text(r"a\ud83db"), Gives("a\ufffdb")),
        "lone low surrogate": (text(r"\ude00"), Gives("\ufffd")),
        "surrogate pair": (text(r"\ud83d\ude00"), Gives("\U0001f600")),
        "NUL and escape characters": (text(r"a\u0000b\u001b[31mc"), Gives("a\0b\x1b[31mc")),
        "surrogate as UTF-8": (
            text("@").replace(b"@", b"\xed\xa0\xbd"),
            (Gives("\ufffd"), INVALID),
        ),
        "UTF-16": (GOOD.decode().encode("utf-16"), (Gives(), INVALID)),
        "byte order mark": (b"\xef\xbb\xbf" + GOOD, (Gives(), INVALID)),
    }
    return [Mode(name, body(data), ends) for name, (data, ends) in bodies.items()]


MODES = (
    *_invalid(),
    *_given(),
    Mode("cut JSON with a longer Content-Length", cut, BROKEN_OFF, requests=None),
    Mode("cut JSON in chunks", cut_chunks, BROKEN_OFF, requests=None),
    Mode("no Content-Length", until_the_end, Gives()),
    Mode("extra bytes after the body", extra, Gives(), again=True),
    Mode("50 MB", large(), INVALID),
    Mode("without end", endless(), INVALID),
    Mode("gzip that nobody asked for", gzipped(gzip.compress(GOOD)), Gives()),
    Mode("gzip bomb of 500 MB", bomb(), INVALID),
    Mode("broken gzip", gzipped(gzip.compress(GOOD)[:40] + b"\xff" * 40), INVALID),
    Mode("gzip that is none", gzipped(GOOD), INVALID),
    Mode(
        "cut gzip",
        gzipped(gzip.compress(GOOD)[:-30]),
        Fails((InvalidAnswer, IncompleteAnswer), partial=None),
    ),
    Mode("encoding that nobody knows", body(GOOD, content_encoding="pigeon"), (Gives(), INVALID)),
)
