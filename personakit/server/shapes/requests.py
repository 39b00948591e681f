"""The body of a chat completion as JSON Schemas.

The shapes are those of https://platform.openai.com/docs/api-reference/chat/create, as far as the
server reads them. Unknown keys have no effect, and are named in ``x-personakit-ignored``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from personakit.persona import parameters

Schema = dict[str, Any]
_NAME = "^[a-zA-Z0-9_-]{1,64}$"  # of a tool
_ANY_OBJECT: Schema = {"type": "object"}


def ref(name: str) -> Schema:
    """Return a reference to a schema of the document."""
    return {"$ref": f"#/components/schemas/{name}"}


def made(
    required: str, properties: Mapping[str, Any], description: str = "", **more: Any
) -> Schema:
    """Return the schema of an object.

    Args:
        required: The names of the required properties, separated by spaces.
        properties: The schemas of the properties.
        description: What the object is.
        more: Further keywords.
    """
    schema: Schema = {"type": "object", "properties": dict(properties), **more}
    if required:
        schema["required"] = required.split()
    if description:
        schema["description"] = description
    return schema


def nullable(schema: Mapping[str, Any]) -> Schema:
    """Return a schema that null conforms to as well."""
    if isinstance(schema.get("type"), str):
        return {**schema, "type": [schema["type"], "null"]}
    return {"anyOf": [schema, {"type": "null"}]}


def text(description: str = "", **more: Any) -> Schema:
    """Return the schema of a string."""
    described = {"description": description} if description else {}
    return {"type": "string", **described, **more}


def any_of(description: str, names: Iterable[str]) -> Schema:
    """Return the schema of a string that is not empty, and that is probably one of the names."""
    known = [{"enum": list(names)}] if names else []
    return {"description": description, "anyOf": [*known, text(minLength=1)]}


def _kind(name: str, required: str, properties: Mapping[str, Any]) -> Schema:
    return made(f"type {required}".strip(), {"type": {"const": name}, **properties})


def _message(role: str | list[str], required: str, properties: Mapping[str, Any]) -> Schema:
    named = {"const": role} if isinstance(role, str) else {"enum": role}
    return made(f"role {required}".strip(), {"role": named, **properties})


def _part() -> Schema:
    image = made("url", {"url": text(pattern="^(data:|https?://)"), "detail": text()})
    return {
        "description": "A part of a message.",
        "anyOf": [
            _kind("text", "text", {"text": text()}),
            _kind("refusal", "refusal", {"refusal": text()}),
            _kind("image_url", "image_url", {"image_url": image}),
            _kind("input_audio", "input_audio", {"input_audio": _ANY_OBJECT}),
            _kind("file", "file", {"file": _ANY_OBJECT}),
        ],
    }


def _messages() -> Schema:
    content = {"anyOf": [text(), {"type": "array", "items": ref("ContentPart")}]}
    calls = {"type": "array", "items": ref("ToolCall")}
    assistant = {"content": nullable(content), "tool_calls": nullable(calls)}
    return {
        "description": "A message of the client's conversation.",
        "anyOf": [
            _message(["system", "developer", "user"], "content", {"content": content}),
            _message("assistant", "", {**assistant, "refusal": nullable(text())}),
            _message(
                "tool", "tool_call_id", {"tool_call_id": text(minLength=1), "content": content}
            ),
        ],
    }


def _tools() -> Schema:
    named = {"name": text(pattern=_NAME), "description": text()}
    function = made("name", {**named, "parameters": nullable(_ANY_OBJECT)})
    custom = made("name", {**named, "format": _ANY_OBJECT})
    return {
        "description": "A tool of the client; a call of it ends the run, and the client runs it.",
        "anyOf": [
            _kind("function", "function", {"function": function}),
            _kind("custom", "custom", {"custom": custom}),
        ],
    }


def _choice() -> Schema:
    named = made("name", {"name": text()})
    return {
        "description": "Which tools of the client the model may call.",
        "anyOf": [
            {"enum": ["none", "auto", "required"]},
            _kind("function", "function", {"function": named}),
            _kind("custom", "custom", {"custom": named}),
        ],
    }


def call() -> Schema:
    """Return the schema of a tool call."""
    function = made("name arguments", {"name": text(), "arguments": text("JSON.")})
    custom = made("name input", {"name": text(), "input": text()})
    identity = {"id": text(minLength=1)}
    return {
        "description": "A call of one of the client's tools.",
        "anyOf": [
            _kind("function", "id function", {**identity, "function": function}),
            _kind("custom", "id custom", {**identity, "custom": custom}),
        ],
    }


def schemas(models: Iterable[str] = ()) -> dict[str, Schema]:
    """Return the schemas of requests by name.

    Args:
        models: The personas that are served, as examples.
    """
    return {
        "ContentPart": _part(),
        "Message": _messages(),
        "Tool": _tools(),
        "ToolCall": call(),
        "ToolChoice": _choice(),
        "ChatCompletionRequest": _body(list(models)),
    }


def _body(models: list[str]) -> Schema:
    model = any_of("The name of a persona. '@' and a version or a hash may follow.", models)
    usage = {"type": "boolean", "description": "Whether the last chunk has the tokens and cost."}
    optional: dict[str, Schema] = {
        "stream": {"type": "boolean", "description": "Whether the answer is sent as events."},
        "stream_options": made("", {"include_usage": nullable(usage)}),
        "tools": {"type": "array", "items": ref("Tool")},
        "tool_choice": ref("ToolChoice"),
        "parallel_tool_calls": {"type": "boolean"},
        "n": {"const": 1, "description": "A persona gives one answer."},
        "variables": {
            "type": "object",
            "description": "Values of the persona's variables; unknown names are an error. "
            "They have precedence over the header and over `metadata`.",
        },
        "metadata": {
            "type": "object",
            "additionalProperties": text(),
            "description": "Strings. One with the name of a variable is its value: JSON for "
            "numbers, booleans, arrays and objects.",
        },
        "instructions": text("A system message, as in the Responses API."),
        **{name: dict(rule.schema) for name, rule in parameters.ALLOWED.items()},
    }
    messages = {"type": "array", "items": ref("Message")}
    asked = {
        "anyOf": [text(), {"type": "array", "items": _ANY_OBJECT}],
        "description": "What some clients send instead of `messages`: a text, or the items of the "
        "Responses API.",
    }
    return made(
        "model",
        {
            "model": model,
            "messages": messages,
            "input": asked,
            **{name: nullable(schema) for name, schema in optional.items()},
        },
        "A request for an answer of a persona. Its system message precedes the client's.",
        anyOf=[{"required": ["messages"]}, {"required": ["input"]}],
    )
