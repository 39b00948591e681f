"""What the server answers as JSON Schemas.

The shapes are those of https://platform.openai.com/docs/api-reference/chat and
https://platform.openai.com/docs/api-reference/models, with `personakit` and `cost` added.
"""

from __future__ import annotations

from typing import Any

from personakit.server.shapes.requests import Schema, made, nullable, ref, text

_COUNT: Schema = {"type": "integer", "minimum": 0}
_TIME: Schema = {"type": "integer", "minimum": 0, "description": "Seconds since 1970, UTC."}
_FIRST: Schema = {"const": 0}


def schemas() -> dict[str, Schema]:
    """Return the schemas of replies by name."""
    return {
        "Error": _error(),
        "Model": _model(),
        "ModelList": made(
            "object data",
            {"object": {"const": "list"}, "data": {"type": "array", "items": ref("Model")}},
            "The personas that the key may use.",
        ),
        "Usage": _usage(),
        "ChatCompletion": _completion(),
        "ChatCompletionChunk": _chunk(),
        "Status": made(
            "status",
            {"status": text(), "reason": text("Why the server is not ready.")},
            additionalProperties=False,
        ),
    }


def _error() -> Schema:
    kinds = (
        "invalid_request_error authentication_error permission_error content_filter "
        "insufficient_quota requests server_error"
    )
    error = made(
        "message type param code",
        {
            "message": text("What is wrong and what would be right.", minLength=1),
            "type": {"enum": kinds.split()},
            "param": nullable(text("The part of the body that is wrong.")),
            "code": nullable(text("A name that does not change.")),
        },
        additionalProperties=False,
    )
    return made("error", {"error": error}, "An error.", additionalProperties=False)


def _model() -> Schema:
    own = made(
        "version tags variables",
        {
            "version": nullable(text("Of the persona file.")),
            "hash": text("Of everything that decides what the persona sends."),
            "tags": {"type": "array", "items": text()},
            "variables": {"type": "object", "description": "A JSON Schema."},
            "error": text("Why the persona cannot be used."),
        },
    )
    return made(
        "id object created owned_by personakit",
        {
            "id": text("The name of the persona.", minLength=1),
            "object": {"const": "model"},
            "created": {**_TIME, "description": "When its file was changed."},
            "owned_by": {"const": "personakit"},
            "name": text(),
            "description": nullable(text()),
            "personakit": own,
        },
        "A persona.",
    )


def _usage() -> Schema:
    cached = made("", {"cached_tokens": _COUNT})
    thought = made("", {"reasoning_tokens": _COUNT})
    cost = {"type": "number", "minimum": 0, "description": "US dollars; absent if unknown."}
    return made(
        "prompt_tokens completion_tokens total_tokens",
        {
            "prompt_tokens": _COUNT,
            "completion_tokens": _COUNT,
            "total_tokens": _COUNT,
            "prompt_tokens_details": cached,
            "completion_tokens_details": thought,
            "cost": cost,
        },
        "The tokens of all model calls of the run.",
    )


def _reply(kind: str, choice: Schema, description: str) -> Schema:
    return made(
        "id object created model choices",
        {
            "id": text("'chatcmpl-' and the id of the run.", pattern="^chatcmpl-[0-9a-f]{32}$"),
            "object": {"const": kind},
            "created": _TIME,
            "model": text("The model, as the request names it."),
            "choices": {"type": "array", "items": choice, "maxItems": 1},
            "usage": nullable(ref("Usage")),
        },
        description,
    )


def _completion() -> Schema:
    message = made(
        "role content refusal",
        {
            "role": {"const": "assistant"},
            "content": nullable(text()),
            "refusal": nullable(text()),
            "tool_calls": {"type": "array", "items": ref("ToolCall"), "minItems": 1},
            "reasoning_content": text("The model's thoughts, if its provider shows them."),
            "annotations": {"type": "array"},
        },
    )
    choice = made(
        "index message finish_reason",
        {
            "index": _FIRST,
            "message": message,
            "logprobs": nullable({"type": "object"}),
            "finish_reason": _reason(),
        },
    )
    completion = _reply("chat.completion", choice, "An answer.")
    completion["properties"]["choices"]["minItems"] = 1
    return completion


def _chunk() -> Schema:
    call = made(
        "index",
        {
            "index": _COUNT,
            "id": text(),
            "type": {"enum": ["function", "custom"]},
            "function": made("arguments", {"name": text(), "arguments": text()}),
            "custom": made("input", {"name": text(), "input": text()}),
        },
    )
    delta = made(
        "",
        {
            "role": {"const": "assistant"},
            "content": nullable(text()),
            "reasoning_content": text(),
            "annotations": {"type": "array"},
            "tool_calls": {"type": "array", "items": call},
        },
    )
    choice = made(
        "index delta finish_reason",
        {
            "index": _FIRST,
            "delta": delta,
            "logprobs": {"type": ["object", "null"]},
            "finish_reason": nullable(_reason()),
        },
    )
    return _reply("chat.completion.chunk", choice, "A piece of an answer.")


def _reason() -> Schema:
    reasons: list[Any] = "stop length tool_calls content_filter".split()
    return {"type": "string", "examples": reasons}
