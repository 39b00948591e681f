"""Modes of the shape: JSON that is no completion, or one with odd values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from faulty.modes import Ends, Fails, Gives, Mode
from faulty.replies import TEXT, reply, whole
from faulty.server import Exchange
from personakit import (
    AuthenticationFailed,
    BackendError,
    IncompleteAnswer,
    InvalidAnswer,
    ModelNotFound,
    QuotaExhausted,
    RateLimited,
    UpstreamUnavailable,
)

INVALID = Fails((InvalidAnswer,))
ERRORS: dict[str, tuple[Any, type[BackendError]]] = {
    "a text": ("out of order", UpstreamUnavailable),
    "an unknown code": ({"message": "odd", "code": "odd"}, UpstreamUnavailable),
    "odd types": ({"message": {"a": 1}, "code": [1], "type": {}}, UpstreamUnavailable),
    "a list": ([1], UpstreamUnavailable),
    "a lone surrogate": ("a\ud83db", UpstreamUnavailable),
    "no code": ({"message": "overloaded"}, UpstreamUnavailable),
    "code 401": ({"message": "who?", "code": 401}, AuthenticationFailed),
    "code 429": ({"message": "slow down", "code": 429}, RateLimited),
    "code 503": ({"message": "overloaded", "code": 503}, UpstreamUnavailable),
    "a quota by code": ({"message": "pay", "code": "insufficient_quota"}, QuotaExhausted),
    "a quota by message": (
        {"message": "Your credit balance is too low", "type": "invalid_request_error"},
        QuotaExhausted,
    ),
    "a quota by type": ({"message": "pay", "type": "insufficient_quota"}, QuotaExhausted),
    "a limit": ({"message": "slow", "code": "rate_limit_exceeded"}, RateLimited),
    "a wrong key": ({"message": "who?", "code": "invalid_api_key"}, AuthenticationFailed),
    "an unknown model": ({"message": "what?", "code": "model_not_found"}, ModelNotFound),
}


def shape(data: dict[str, Any]) -> Callable[[Exchange], None]:
    return lambda exchange: exchange.send(reply(exchange, data))


def without(key: str) -> dict[str, Any]:
    return {name: value for name, value in whole().items() if name != key}


def _errors() -> list[Mode]:
    return [
        Mode(f"200 with an error: {name}", shape({"error": error}), Fails((kind,)))
        for name, (error, kind) in ERRORS.items()
    ]


def _shapes() -> list[Mode]:
    bare = {"index": 0, "message": {"role": "assistant", "content": TEXT}}
    cut = Fails((IncompleteAnswer,), partial=TEXT)
    shapes: dict[str, tuple[dict[str, Any], Ends | tuple[Ends, ...]]] = {
        "choices missing": (without("choices"), INVALID),
        "choices null": (whole(choices=None), INVALID),
        "choices empty": (whole(choices=[]), INVALID),
        "choices an object": (whole(choices={}), INVALID),
        "choice null": (whole(choices=[None]), INVALID),
        "choice a text": (whole(choices=["Hello"]), INVALID),
        "message missing": (whole(choices=[{"index": 0, "finish_reason": "stop"}]), INVALID),
        "message null": (whole(message=None), INVALID),
        "content null": (whole(None), INVALID),
        "content missing": (whole(message={"role": "assistant"}), INVALID),
        "content a number": (whole(7), INVALID),
        "content empty": (whole(""), Gives("")),
        "no usage": (without("usage"), Gives()),
        "usage null": (whole(usage=None), Gives()),
        "usage a list": (whole(usage=[1]), Gives()),
        "usage a text": (whole(usage="many"), Gives()),
        "tokens a text": (whole(usage={"prompt_tokens": "5"}), Gives()),
        "tokens negative": (whole(usage={"prompt_tokens": -5, "total_tokens": 1.5}), Gives()),
        "finish_reason length": (whole(finish_reason="length"), Gives(TEXT, "length")),
        "finish_reason content_filter": (
            whole(finish_reason="content_filter"),
            Gives(TEXT, "content_filter"),
        ),
        "finish_reason unknown": (whole(finish_reason="tired"), Fails((IncompleteAnswer,), TEXT)),
        "finish_reason null": (whole(finish_reason=None), cut),
        "finish_reason missing": (whole(choices=[bare]), cut),
        "finish_reason empty": (whole(finish_reason=""), cut),
        "id a number": (whole(id=7), Gives()),
        "id missing": (without("id"), Gives()),
        "model a list": (whole(model=["x"]), Gives()),
        "error null": (whole(error=None), Gives()),
        "unknown keys": (whole(more={"a": [1, None]}, object=None), Gives()),
        "tool_calls a text": (whole(message={"content": None, "tool_calls": "x"}), INVALID),
        "tool call null": (whole(message={"content": None, "tool_calls": [None]}), INVALID),
    }
    return [Mode(name, shape(data), ends) for name, (data, ends) in shapes.items()]


MODES = (*_errors(), *_shapes())
