"""The description of the server's API, in OpenAPI 3.1 (https://spec.openapis.org/oas/v3.1.1)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from personakit.server.shapes import replies, requests
from personakit.server.shapes.requests import any_of, made, ref, text

_ERRORS = {
    400: "The request is invalid, a guard refused it, or the persona's file is invalid.",
    401: "The key is missing, unknown, expired or revoked.",
    403: "The key may not choose this model, or a server without keys is not called by a name of "
    "its machine.",
    404: "There is no such persona or run, or the key may not use it.",
    405: "The path has no such method.",
    408: "The request did not arrive in time.",
    409: "The run that the request continues was continued before.",
    413: "The body is too large.",
    415: "The body is compressed.",
    429: "The key's budget is used up (`budget_exceeded`), or there are too many requests.",
    431: "The request line and the headers are too large.",
    500: "The server failed, or its configuration is wrong for this persona.",
    502: "The model's provider failed, or refused the server's own key.",
    503: "The server is full or stopping, or cannot check keys.",
    504: "The model's provider did not answer in time.",
}
_ALWAYS = (400, 403, 405, 408, 431, 500, 503)
_HEADERS: dict[str, dict[str, Any]] = {
    "x-request-id": {
        "description": "The request's own `x-request-id`, or a new one.",
        "schema": text(),
    },
    "x-personakit-run": {
        "description": "The id of the run in the run log.",
        "schema": text(pattern="^[0-9a-f]{32}$"),
    },
    "x-personakit-cost-usd": {
        "description": "What the run cost, in US dollars. A stream has it in the `usage` of its "
        "last chunk.",
        "schema": text(pattern="^[0-9]+([.][0-9]+)?$"),
    },
    "x-personakit-ignored": {
        "description": "The keys of the body that had no effect, separated by commas.",
        "schema": text(),
    },
    "retry-after": {
        "description": "The seconds to wait before the request is sent again.",
        "schema": text(pattern="^[0-9]+$"),
    },
    "x-should-retry": {
        "description": "'false' if the same request will fail again.",
        "schema": text(),
    },
    "allow": {"description": "The methods of the path.", "schema": text()},
    "www-authenticate": {"description": "How to send a key.", "schema": text()},
}
_OWN_HEADERS = {
    429: ("retry-after", "x-should-retry"),
    405: ("allow",),
    401: ("www-authenticate",),
    502: ("x-should-retry",),
    503: ("retry-after",),
}


def document(*, version: str, models: Iterable[str] = (), root: str = "") -> dict[str, Any]:
    """Return the OpenAPI document of the server.

    Args:
        version: The version of personakit.
        models: The names of the personas that are served, as examples.
        root: The path at which the server is mounted in another application.
    """
    names = list(models)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "personakit",
            "version": version,
            "description": "Personas as the models of an OpenAI-compatible API.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": root or "/"}],
        "tags": [
            {"name": "personas", "description": "The personas, and their answers."},
            {"name": "operation", "description": "For those who run the server."},
        ],
        "paths": {
            "/v1/models": {"get": _models()},
            "/v1/models/{model}": {"get": _model(names)},
            "/v1/chat/completions": {"post": _completions()},
            "/health": {"get": _health()},
            "/ready": {"get": _ready()},
            "/metrics": {"get": _metrics()},
            "/openapi.json": {"get": _document()},
        },
        "components": {
            "schemas": {**requests.schemas(names), **replies.schemas()},
            "responses": {str(status): _error(status) for status in _ERRORS},
            "headers": _HEADERS,
            "securitySchemes": {
                "key": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A key of `personakit serve keys new`. A server without keys "
                    "needs none, and is for its own machine alone.",
                }
            },
        },
    }


def _headers(*names: str) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _json(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _error(status: int) -> dict[str, Any]:
    headers = _headers("x-request-id", *_OWN_HEADERS.get(status, ()))
    return {"description": _ERRORS[status], "headers": headers, "content": _json(ref("Error"))}


def _operation(
    name: str,
    summary: str,
    answers: Mapping[str, Any],
    errors: Iterable[int] = (),
    **more: Any,
) -> dict[str, Any]:
    """Return an operation; with the status 401 among its errors, it takes a key."""
    statuses = sorted({*_ALWAYS, *errors})
    failed = {str(status): {"$ref": f"#/components/responses/{status}"} for status in statuses}
    secured = 401 in statuses
    return {
        "operationId": name,
        "summary": summary,
        "tags": ["personas" if secured else "operation"],
        "security": [{"key": []}, {}] if secured else [],
        "responses": {**failed, **answers},
        **more,
    }


def _answer(description: str, content: Mapping[str, Any], *headers: str) -> dict[str, Any]:
    named = _headers("x-request-id", *headers)
    return {"description": description, "headers": named, "content": content}


def _models() -> dict[str, Any]:
    listed = _answer("The personas.", _json(ref("ModelList")))
    return _operation("listModels", "List the personas", {"200": listed}, [401])


def _model(names: list[str]) -> dict[str, Any]:
    schema = any_of("The name of a persona.", names)
    path = {"name": "model", "in": "path", "required": True, "schema": schema}
    shown = _answer("The persona.", _json(ref("Model")))
    return _operation("getModel", "Show a persona", {"200": shown}, [401, 404], parameters=[path])


def _completions() -> dict[str, Any]:
    content = {**_json(ref("ChatCompletion")), "text/event-stream": {"schema": _event()}}
    own = ("x-personakit-run", "x-personakit-cost-usd", "x-personakit-ignored")
    answer = _answer("The answer: JSON, or events if `stream` is true.", content, *own)
    return _operation(
        "createChatCompletion",
        "Let a persona answer",
        {"200": answer},
        [401, 404, 409, 413, 415, 429, 502, 504],
        parameters=[
            _header("x-request-id", "An id for the logs.", pattern="^[!-~]{1,128}$"),
            _header(
                "x-personakit-model", "The upstream model, if the key may choose it; as in a file."
            ),
            _header(
                "x-personakit-variables",
                "Values of the persona's variables, as a JSON object; for clients that cannot "
                "change the body.",
                contentMediaType="application/json",
            ),
        ],
        requestBody={"required": True, "content": _json(ref("ChatCompletionRequest"))},
    )


def _event() -> dict[str, Any]:
    """Return the schema of one event, in the form in which OpenAPI 3.2 has it as `itemSchema`."""
    either = {"anyOf": [ref("ChatCompletionChunk"), ref("Error")]}
    data = {
        "description": "JSON: a chunk, or an error after which nothing comes. The last one is "
        "'[DONE]'.",
        "anyOf": [
            {"const": "[DONE]"},
            text(contentMediaType="application/json", contentSchema=either),
        ],
    }
    return made("data", {"data": data}, "A server-sent event; comments are to be ignored.")


def _header(name: str, description: str, **schema: Any) -> dict[str, Any]:
    return {
        "name": name,
        "in": "header",
        "required": False,
        "description": description,
        "schema": text(**schema),
    }


def _health() -> dict[str, Any]:
    alive = _answer("It runs.", _json(ref("Status")))
    return _operation("health", "Say whether the server runs", {"200": alive})


def _ready() -> dict[str, Any]:
    ready = _answer("It takes requests.", _json(ref("Status")))
    either = {"anyOf": [ref("Status"), ref("Error")]}
    answers = {"200": ready, "503": _answer("It takes none.", _json(either))}
    return _operation("ready", "Say whether the server takes requests", answers)


def _metrics() -> dict[str, Any]:
    measured = _answer(
        "The metrics, in the text format of Prometheus.", {"text/plain": {"schema": text()}}
    )
    return _operation("metrics", "Measure", {"200": measured})


def _document() -> dict[str, Any]:
    described = _answer("This document.", _json({"type": "object"}))
    return _operation("openapi", "Describe the API", {"200": described})
