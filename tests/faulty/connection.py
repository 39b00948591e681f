"""Modes of the connection: it breaks, hangs, drips, or says more than it should."""

from __future__ import annotations

import json
import os
from collections.abc import Callable

from faulty.modes import Fails, Gives, Mode
from faulty.replies import DONE, END, FIRST, STOP, TEXT, head, part, reply, said, sse, whole, works
from faulty.server import Exchange
from personakit import IncompleteAnswer, InvalidAnswer, Timeout, UpstreamUnavailable

OFF = Fails((UpstreamUnavailable,), identified=False, caused=True)
LATE = Fails((Timeout,), identified=False)
# httpx takes it, aiohttp does not.
TOO_LONG = Fails((UpstreamUnavailable,), identified=False)
NO = Fails((Timeout, UpstreamUnavailable), identified=False)
HALF = Fails((IncompleteAnswer, InvalidAnswer, UpstreamUnavailable), partial=None, identified=None)
LATE_BODY = Fails((Timeout,))
SECOND = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s"


def close(exchange: Exchange) -> None:
    exchange.close()


def reset(exchange: Exchange) -> None:
    exchange.reset()


def half_headers(exchange: Exchange) -> None:
    exchange.send(head(exchange)[:40])
    exchange.close()


def hang(exchange: Exchange) -> None:
    exchange.wait()


def hang_in_the_headers(exchange: Exchange) -> None:
    exchange.send(head(exchange)[:40])
    exchange.wait()


def hang_in_the_body(exchange: Exchange) -> None:
    exchange.send(reply(exchange, whole())[:-20])
    exchange.wait()


def drip_headers(exchange: Exchange) -> None:
    exchange.drip(reply(exchange, whole()))


def drip_endless_headers(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 200 OK\r\n")
    exchange.forever(b"x-more: yes\r\n", every=0.1)


def endless_headers(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 200 OK\r\n")
    exchange.forever(b"x-more: yes\r\n" * 1000)


def drip_body(exchange: Exchange) -> None:
    exchange.send(head(exchange, content_length=len(TEXT) + 300))
    exchange.drip(reply(exchange, whole()).partition(b"\r\n\r\n")[2])


def drip_chunks(exchange: Exchange) -> None:
    exchange.send(head(exchange, transfer_encoding="chunked"))
    exchange.forever(part(b" "), every=0.1)


def long_header(exchange: Exchange) -> None:
    exchange.send(reply(exchange, whole(), x_long="x" * 65_536))


def continues(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 100 Continue\r\n\r\n" * 50)
    works(exchange)


def continues_for_ever(exchange: Exchange) -> None:
    exchange.forever(b"HTTP/1.1 100 Continue\r\n\r\n", every=0.1)


def fast_continues_for_ever(exchange: Exchange) -> None:
    exchange.forever(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)


def trailers_for_ever(exchange: Exchange) -> None:
    """Send a whole answer in chunks, with trailers that never end."""
    exchange.send(head(exchange, transfer_encoding="chunked"), part(json.dumps(whole()).encode()))
    exchange.send(b"0\r\n")
    exchange.forever(b"x-more: yes\r\n", every=0.1)


def headers(*lines: bytes) -> Callable[[Exchange], None]:
    """Return what answers with more headers than is right."""

    def serve(exchange: Exchange) -> None:
        start, _, rest = reply(exchange, whole()).partition(b"\r\n")
        exchange.send(b"\r\n".join([start, *lines, rest]))

    return serve


def bad_chunks(exchange: Exchange) -> None:
    exchange.send(head(exchange, transfer_encoding="chunked"), part(b'{"id": 1'), b"what?\r\n")
    exchange.close()


def half_a_second(exchange: Exchange) -> None:
    """Send half of an answer that nobody asked for behind the right one."""
    if exchange.number > 1:
        works(exchange, f"Answer {exchange.number}.")
        return
    unasked = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\nx-half"
    if exchange.streams:
        exchange.send(sse(exchange) + part(FIRST + said(TEXT) + STOP + DONE) + END + unasked)
    else:
        exchange.send(reply(exchange, whole()) + unasked)


def garbage(exchange: Exchange) -> None:
    exchange.send(b"\x16\x03\x01\x02\x00SSH-2.0-what\r\n\r\n\x00\xff" + os.urandom(64))
    exchange.close()


def second(exchange: Exchange, after: float) -> None:
    """Answer, and send an answer that nobody asked for behind it, or a little later."""
    if exchange.number > 1:
        works(exchange, f"Answer {exchange.number}.")
        return
    data = reply(exchange, whole("Not yours."))
    unasked = SECOND % (len(data.partition(b"\r\n\r\n")[2]), data.partition(b"\r\n\r\n")[2])
    if after:
        works(exchange)
        exchange.wait(after)
        exchange.send(unasked)
    elif exchange.streams:
        events = FIRST + said(TEXT) + STOP + DONE
        exchange.send(sse(exchange) + part(events) + END + unasked)
    else:
        exchange.send(reply(exchange, whole()) + unasked)


MODES = (
    Mode("refused", close, OFF, requests=None, deaf=0.15, retried=True),
    Mode("closed before the headers", close, OFF, requests=2, retried=True),
    Mode("reset before the headers", reset, OFF, requests=2, retried=True),
    Mode("closed after half the headers", half_headers, OFF, requests=2, retried=True),
    Mode("hangs for ever", hang, LATE, requests=None, retried=True, timeout=0.3, deadline=1.5),
    Mode("hangs past its deadline", hang, LATE, timeout=9, deadline=0.6),
    Mode("hangs in the headers", hang_in_the_headers, LATE, timeout=9, deadline=0.6),
    Mode("hangs in the body", hang_in_the_body, LATE_BODY, timeout=0.4, deadline=2),
    Mode("hangs in the body past its deadline", hang_in_the_body, LATE_BODY, timeout=9, deadline=1),
    Mode("headers drip", drip_headers, LATE, timeout=0.5, deadline=1),
    Mode("headers without end drip", drip_endless_headers, LATE, timeout=0.5, deadline=1),
    Mode(
        "headers without end",
        endless_headers,
        Fails((UpstreamUnavailable,), identified=False),
        requests=None,
    ),
    Mode("body drips", drip_body, LATE_BODY, timeout=0.5, deadline=1),
    Mode("body without end drips", drip_chunks, LATE_BODY, timeout=0.5, deadline=1),
    Mode("header of 64 KiB", long_header, (Gives(), TOO_LONG), requests=None),
    Mode("fifty 100 Continue", continues, Gives()),
    Mode("100 Continue without end", continues_for_ever, LATE, timeout=0.5, deadline=1),
    Mode("garbage instead of HTTP", garbage, OFF, requests=2, retried=True),
    Mode("fast 100 Continue without end", fast_continues_for_ever, NO, requests=None, deadline=1),
    Mode("trailers without end", trailers_for_ever, (Gives(), LATE_BODY), timeout=0.5, deadline=1),
    Mode("two lengths", headers(b"content-length: 3"), OFF, requests=None),
    Mode("a length that is no number", headers(b"content-length: x"), OFF, requests=None),
    Mode("a header that is no ASCII", headers(b"x-odd: caf\xe9 \xf0\x9f"), Gives()),
    Mode("chunks that are none", bad_chunks, HALF, requests=None),
    Mode("half a response behind the first", half_a_second, Gives(), again=True),
    Mode("second response behind the first", lambda e: second(e, 0), Gives(), again=True),
    Mode("second response a little later", lambda e: second(e, 0.03), Gives(), again=True),
)
