"""The OpenAPI document: valid, and true of OpenAI's own shapes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from personakit.persona import parameters
from personakit.server.openapi import document

DOCUMENT = document(version="1.2.3", models=["chef", "coder"])
REGISTRY: Any = Registry().with_resource(
    "urn:openapi", Resource.from_contents(DOCUMENT, DRAFT202012)
)


def is_valid(name: str, value: Any) -> bool:
    schema = {"$ref": f"urn:openapi#/components/schemas/{name}"}
    return jsonschema.Draft202012Validator(schema, registry=REGISTRY).is_valid(value)


def nodes(value: Any, at: str = "#") -> Iterator[tuple[str, Any]]:
    yield at, value
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in pairs:
        if isinstance(inner, dict | list):
            yield from nodes(inner, f"{at}/{key}")


def test_every_schema_is_one() -> None:
    for name, schema in DOCUMENT["components"]["schemas"].items():
        jsonschema.Draft202012Validator.check_schema(schema)
        assert schema.get("description") or name in ("Status",), name


def test_every_reference_has_a_target_and_every_target_is_used() -> None:
    references = {node["$ref"] for _, node in nodes(DOCUMENT) if "$ref" in node}
    known = {
        f"#/components/{kind}/{name}"
        for kind, named in DOCUMENT["components"].items()
        for name in named
    }
    assert references | {"#/components/securitySchemes/key"} == known


def test_the_document_is_json_and_names_the_operations() -> None:
    json.dumps(DOCUMENT, allow_nan=False)
    assert DOCUMENT["info"]["version"] == "1.2.3"
    operations = [
        (method.upper(), path) for path, item in DOCUMENT["paths"].items() for method in item
    ]
    assert operations == [
        ("GET", "/v1/models"),
        ("GET", "/v1/models/{model}"),
        ("POST", "/v1/chat/completions"),
        ("GET", "/health"),
        ("GET", "/ready"),
        ("GET", "/metrics"),
        ("GET", "/openapi.json"),
    ]
    names = [op["operationId"] for item in DOCUMENT["paths"].values() for op in item.values()]
    assert len(set(names)) == len(names)


def test_every_parameter_of_a_persona_can_be_sent() -> None:
    body = DOCUMENT["components"]["schemas"]["ChatCompletionRequest"]["properties"]
    assert set(parameters.ALLOWED) <= set(body)


USER = {"role": "user", "content": "Hello"}
CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"messages": []},
        {"messages": [{"role": "system", "content": "Be brief."}, USER]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "What?"}, IMAGE]}]},
        {"messages": [USER, {"role": "assistant", "content": None, "tool_calls": [CALL]}]},
        {"messages": [{"role": "tool", "tool_call_id": "call_1", "content": "4"}]},
        {"tools": [TOOL], "tool_choice": "auto", "parallel_tool_calls": False},
        {"tool_choice": {"type": "function", "function": {"name": "f"}}},
        {"tools": [{"type": "custom", "custom": {"name": "f"}}]},
        {"stream": True, "stream_options": {"include_usage": True}, "stop": ["a"], "seed": 1},
        {"temperature": 0.5, "max_tokens": 10, "response_format": {"type": "json_object"}},
        {"variables": {"guests": 2}, "metadata": {"guests": "2"}, "user": "u", "n": 1},
        {"temperature": None, "tools": None, "stream": None},
    ],
)
def test_what_clients_send_is_valid(more: dict[str, Any]) -> None:
    assert is_valid("ChatCompletionRequest", {"model": "chef", "messages": [USER], **more})


def test_a_body_with_input_is_valid() -> None:
    assert is_valid("ChatCompletionRequest", {"model": "chef", "input": "Hello"})


@pytest.mark.parametrize(
    "body",
    [
        [],
        {},
        {"model": "chef"},
        {"messages": [USER]},
        {"model": "", "messages": [USER]},
        {"model": 1, "messages": [USER]},
        {"model": "chef", "messages": USER},
        {"model": "chef", "messages": ["Hello"]},
        {"model": "chef", "messages": [{"role": "user"}]},
        {"model": "chef", "messages": [{"role": "nobody", "content": "Hello"}]},
        {"model": "chef", "messages": [{"role": "tool", "content": "4"}]},
        {"model": "chef", "messages": [USER], "temperature": 3},
        {"model": "chef", "messages": [USER], "n": 2},
        {"model": "chef", "messages": [USER], "stream": "yes"},
        {"model": "chef", "messages": [USER], "tools": [{"type": "function"}]},
        {"model": "chef", "messages": [USER], "tools": [{**TOOL, "function": {"name": "a b"}}]},
        {"model": "chef", "messages": [USER], "metadata": {"a": 1}},
    ],
)
def test_what_is_refused_is_not_valid(body: Any) -> None:
    assert not is_valid("ChatCompletionRequest", body)


def test_the_replies_of_openai_are_valid() -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 12, "total_tokens": 21}
    head = {"id": "chatcmpl-" + "0a" * 16, "created": 1_700_000_000, "model": "chef"}
    message = {"role": "assistant", "content": "Hi", "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    whole = {**head, "object": "chat.completion", "choices": [choice], "usage": usage}
    assert is_valid("ChatCompletion", whole)
    assert not is_valid("ChatCompletion", {**whole, "choices": []})
    assert not is_valid("ChatCompletion", {**whole, "object": "chat.completion.chunk"})
    piece = {"index": 0, "delta": {"content": "Hi"}, "logprobs": None, "finish_reason": None}
    chunk = {**head, "object": "chat.completion.chunk", "choices": [piece]}
    assert is_valid("ChatCompletionChunk", chunk)
    assert is_valid("ChatCompletionChunk", {**chunk, "choices": [], "usage": usage})
    assert not is_valid("ChatCompletionChunk", {**chunk, "choices": [piece, piece]})


def test_an_error_has_four_fields() -> None:
    error = {"message": "no", "type": "server_error", "param": None, "code": None}
    assert is_valid("Error", {"error": error})
    for name in error:
        assert not is_valid("Error", {"error": {k: v for k, v in error.items() if k != name}})
    assert not is_valid("Error", {"error": {**error, "traceback": ""}})
