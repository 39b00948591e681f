"""Modes of the status: refusals, retries, redirects, and bodies of errors that go wrong."""

from __future__ import annotations

import email.utils
import gzip
import time
from collections.abc import Callable
from typing import Any

from faulty.body import bomb, endless, large
from faulty.modes import Fails, Mode
from faulty.replies import head, reply
from faulty.server import KEY, Exchange
from personakit import (
    AuthenticationFailed,
    BackendError,
    BadRequest,
    IncompleteAnswer,
    InvalidAnswer,
    ModelNotFound,
    QuotaExhausted,
    RateLimited,
    Timeout,
    UpstreamUnavailable,
)

FINAL: dict[int, type[BackendError]] = {
    400: BadRequest,
    401: AuthenticationFailed,
    403: AuthenticationFailed,
    404: ModelNotFound,
    413: BadRequest,
    422: BadRequest,
}
AGAIN: dict[int, tuple[type[BackendError], ...]] = {
    408: (Timeout,),
    409: (UpstreamUnavailable, BadRequest),
    429: (RateLimited,),
    500: (UpstreamUnavailable,),
    502: (UpstreamUnavailable,),
    503: (UpstreamUnavailable,),
    504: (UpstreamUnavailable, Timeout),
    529: (UpstreamUnavailable,),
}
SOON = {"retry_after_ms": "20"}
HTML = b"<!DOCTYPE html><html><body><h1>Bad Gateway</h1>" + b"<p>nginx</p>" * 2000
GZIPPED = gzip.compress(b'{"error": {"message": "This will not do."}}')
QUOTA = "You exceeded your current quota."


def refusal(message: str = "This will not do.", **keys: Any) -> dict[str, Any]:
    return {
        "error": {"message": message, "type": "some_error", "param": None, "code": None, **keys}
    }


def status(number: int, body: Any = None, **headers: str) -> Callable[[Exchange], None]:
    def serve(exchange: Exchange) -> None:
        exchange.send(reply(exchange, refusal() if body is None else body, number, **headers))

    return serve


def html(number: int, kind: str = "text/html", **headers: str) -> Callable[[Exchange], None]:
    return lambda exchange: exchange.send(reply(exchange, HTML, number, kind, **headers))


def date(exchange: Exchange) -> None:
    when = email.utils.formatdate(time.time() + 1, usegmt=True)
    exchange.send(reply(exchange, refusal(), 429, retry_after=when))


def limited(header: str, **ends: Any) -> tuple[Callable[[Exchange], None], Fails]:
    return status(429, retry_after=header), Fails((RateLimited,), status=429, **ends)


def redirect(number: int) -> Callable[[Exchange], None]:
    def serve(exchange: Exchange) -> None:
        exchange.send(
            reply(exchange, b"", number, location=exchange.elsewhere + "/chat/completions")
        )

    return serve


def loop(exchange: Exchange) -> None:
    exchange.send(reply(exchange, b"", 307, location=exchange.request.path))


def nowhere(exchange: Exchange) -> None:
    exchange.send(reply(exchange, b"", 307))


def drip(exchange: Exchange) -> None:
    """Answer with an error whose body takes for ever."""
    exchange.send(head(exchange, 400, content_length=5000))
    exchange.drip(b" " * 5000)


def hang(exchange: Exchange) -> None:
    exchange.send(head(exchange, 400, content_length=5000))
    exchange.wait()


def cut(exchange: Exchange) -> None:
    exchange.send(reply(exchange, refusal(), 400, content_length=5000))
    exchange.close()


def statuses() -> list[Mode]:
    modes = []
    for number, kind in FINAL.items():
        ends = Fails((kind,), status=number, caused=True)
        modes.append(Mode(f"status {number}", status(number), ends))
    for number, kinds in AGAIN.items():
        ends = Fails(kinds, status=number, caused=True)
        serve = status(number, **SOON)
        modes.append(Mode(f"status {number}", serve, ends, requests=2, retried=True))
    return modes


def quotas() -> list[Mode]:
    ends = Fails((QuotaExhausted,), status=429)
    bodies = {
        "code": refusal(QUOTA, code="insufficient_quota"),
        "type": refusal(QUOTA, type="insufficient_quota"),
    }
    return [
        Mode(f"429 for a quota, by its {key}", status(429, body, **SOON), ends)
        for key, body in bodies.items()
    ]


# How servers of this API spell what is wrong.
SPELT: tuple[tuple[str, Any, str], ...] = (
    ("400 in OpenAI's words", refusal(), "This will not do; "),
    ("400 in plain text", b"No, never.", "No, never; "),
    ("400 as a text", {"error": "Pull it first."}, "Pull it first; "),
    ("400 as a message", {"object": "error", "message": "Too long."}, "Too long; "),
    ("400 as a detail", {"detail": "Not found."}, "Not found; "),
    ("400 as details", {"detail": [{"loc": ["body"], "msg": "Too high."}]}, "Too high."),
    ("400 with control characters", refusal("a\x1b[2Jb\0\x07 No."), "No; "),
)
UNREACHABLE = Fails((UpstreamUnavailable,))
LIMITED = Fails((RateLimited,), status=429)
# What an error's body goes wrong with may hide what the error was.
UNCLEAR = (BadRequest, InvalidAnswer, IncompleteAnswer, UpstreamUnavailable)

MODES = (
    *statuses(),
    Mode("HTML with 502", html(502, **SOON), UNREACHABLE, requests=2, retried=True),
    Mode("HTML with 404", html(404), Fails((ModelNotFound,), status=404)),
    Mode("HTML with 200", html(200), Fails((InvalidAnswer,))),
    Mode("HTML with 200 as JSON", html(200, "application/json"), Fails((InvalidAnswer,))),
    Mode("HTML with 200 as events", html(200, "text/event-stream"), Fails((InvalidAnswer,))),
    Mode("204", status(204, b""), Fails((InvalidAnswer,))),
    Mode("429 in seconds", *limited("1", retry_after=1.0), requests=2, retried=True),
    Mode(
        "429 in milliseconds",
        status(429, retry_after_ms="50"),
        Fails((RateLimited,), status=429, retry_after=0.05),
        requests=2,
        retried=True,
    ),
    Mode("429 with a date", date, LIMITED, requests=2, retried=True),
    Mode("429 of a day", *limited("86400", retry_after=86_400.0, at_once=True)),
    Mode("429 past the deadline", *limited("60", retry_after=60.0, at_once=True)),
    Mode("429 with a negative time", *limited("-5"), requests=2, retried=True),
    Mode("429 with a time that is no number", *limited("soon"), requests=2, retried=True),
    Mode("429 with an infinite time", *limited("inf", at_once=True), requests=None),
    Mode(
        "503 of a day",
        status(503, retry_after="86400"),
        Fails((UpstreamUnavailable,), status=503, at_once=True),
    ),
    *quotas(),
    Mode("307 to another host", redirect(307), UNREACHABLE),
    Mode("308 to another host", redirect(308), UNREACHABLE),
    Mode("302 to another host", redirect(302), UNREACHABLE),
    Mode("redirect in a loop", loop, UNREACHABLE),
    Mode("redirect to nowhere", nowhere, UNREACHABLE),
    Mode(
        "401 that repeats the key",
        status(401, refusal(f"Incorrect API key provided: {KEY}.")),
        Fails((AuthenticationFailed,), status=401, says="Incorrect API key provided: "),
    ),
    *(
        Mode(name, status(400, body), Fails((BadRequest,), status=400, says=says))
        for name, body, says in SPELT
    ),
    Mode("400 with an empty body", status(400, b""), Fails((BadRequest,), status=400)),
    Mode("400 with a list", status(400, b"[1]"), Fails((BadRequest,), status=400)),
    Mode(
        "400 with odd types",
        status(400, refusal(code=["a"], type={}, param=7)),
        Fails((BadRequest,), status=400),
    ),
    Mode(
        "400 with a lone surrogate",
        status(400, refusal("a\ud83db")),
        Fails((BadRequest,), status=400),
    ),
    Mode("400 of 100,000 levels", status(400, b"[" * 100_000), Fails((BadRequest,), status=400)),
    Mode("400 in gzip", status(400, GZIPPED, content_encoding="gzip"), Fails((BadRequest,))),
    Mode("429 of 100,000 levels", status(429, b"[" * 100_000, **SOON), LIMITED, requests=2),
    Mode("400 whose body drips", drip, Fails((BadRequest, Timeout)), timeout=0.5, deadline=1),
    Mode("400 whose body hangs", hang, Fails((BadRequest, Timeout)), timeout=0.4, deadline=1.5),
    Mode("400 whose body is cut", cut, Fails(UNCLEAR)),
    Mode(
        "400 with broken gzip",
        status(400, b"\x1f\x8b\x08not", content_encoding="gzip"),
        Fails(UNCLEAR),
    ),
    Mode("400 with a body of 50 MB", large(400), Fails(UNCLEAR)),
    Mode("400 with a gzip bomb", bomb(400), Fails(UNCLEAR)),
    Mode("400 with a body without end", endless(400), Fails((*UNCLEAR, Timeout)), deadline=2),
)
