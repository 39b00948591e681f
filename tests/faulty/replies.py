"""The bytes of replies, right ones and near misses."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from faulty.server import Exchange

TEXT = "Hello there."
JSON = "application/json"
REASONS = {200: "OK", 204: "No Content", 307: "Temporary Redirect", 429: "Too Many Requests"}


def head(exchange: Exchange, status: int = 200, kind: str = JSON, **headers: object) -> bytes:
    """Return a status line and headers; underscores in names stand for hyphens."""
    fields = {"content-type": kind, "x-request-id": exchange.request_id, **headers}
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
    start = f"HTTP/1.1 {status} {REASONS.get(status, 'Whatever')}"
    return "\r\n".join([start, *lines, "", ""]).encode()


def whole(message: Any = TEXT, **changes: Any) -> dict[str, Any]:
    """Return a completion, with other values for some keys of it or of its choice."""
    said = {"role": "assistant", "content": message}
    choice = {"index": 0, "message": said, "finish_reason": "stop"}
    choice |= {key: changes.pop(key) for key in ("message", "finish_reason") if key in changes}
    usage = {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": "test-model",
        "choices": [choice],
        "usage": usage,
        **changes,
    }


def reply(
    exchange: Exchange,
    body: bytes | Mapping[str, Any],
    status: int = 200,
    kind: str = JSON,
    **headers: object,
) -> bytes:
    """Return a reply with a body and its length."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return head(exchange, status, kind, **{"content_length": len(data), **headers}) + data


def chunk(delta: Any, finish: str | None = None, **changes: Any) -> dict[str, Any]:
    """Return an event's object."""
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "model": "test-model",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
        **changes,
    }


def said(text: str) -> bytes:
    """Return an event with text."""
    return event(chunk({"content": text}))


def event(data: Any) -> bytes:
    """Return an event: bytes as they are, anything else as JSON."""
    text = data if isinstance(data, bytes) else json.dumps(data).encode()
    return b"data: " + text + b"\n\n"


STOP = event(chunk({}, "stop"))
DONE = event(b"[DONE]")
FIRST = event(chunk({"role": "assistant", "content": ""}))
END = b"0\r\n\r\n"


def sse(exchange: Exchange) -> bytes:
    """Return the headers of a stream."""
    return head(exchange, kind="text/event-stream; charset=utf-8", transfer_encoding="chunked")


def part(data: bytes) -> bytes:
    """Return bytes as a chunk of the transfer encoding."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def stream(exchange: Exchange, *events: bytes) -> None:
    """Send a stream that ends cleanly, each argument in a packet of its own."""
    exchange.send(sse(exchange), *(part(data) for data in events), END)


def works(exchange: Exchange, text: str = TEXT) -> None:
    """Answer as it should be, in the API that is asked."""
    if exchange.request.path.endswith("/responses"):
        from faulty import responses

        responses.works(exchange, text)
    elif exchange.streams:
        stream(exchange, FIRST, said(text[:5]), said(text[5:]), STOP, DONE)
    else:
        exchange.send(reply(exchange, whole(text)))


def works_again(exchange: Exchange) -> None:
    """Answer a later request with a text of its own."""
    works(exchange, f"Answer {exchange.number}.")
