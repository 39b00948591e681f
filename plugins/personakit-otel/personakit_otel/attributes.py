"""The attributes of requests, responses and tool calls, named by the conventions."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from personakit import Message, Persona, Request, Response, ToolCall

Attributes = dict[str, str | int | float | list[str]]

# Providers that have another name in the conventions.
_PROVIDERS = {
    "azure": "azure.ai.openai",
    "gemini": "gcp.gemini",
    "mistral": "mistral_ai",
    "moonshot": "moonshot_ai",
    "xai": "x_ai",
}
_NUMBERS = {
    "temperature": "temperature",
    "top_p": "top_p",
    "max_tokens": "max_tokens",
    "max_completion_tokens": "max_tokens",
    "seed": "seed",
    "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
}
_OUTPUT_TYPES = {"text": "text", "json_object": "json", "json_schema": "json"}
_DETAILS = {
    "cached_tokens": "gen_ai.usage.cache_read.input_tokens",
    "cache_write_tokens": "gen_ai.usage.cache_creation.input_tokens",
    "reasoning_tokens": "gen_ai.usage.reasoning.output_tokens",
}


def request_attributes(request: Request, persona: Persona) -> Attributes:
    """Return the attributes of a request."""
    provider, slash, model = request.model.partition("/")
    if not slash:
        provider, model = "openai", request.model
    attributes: Attributes = {
        "gen_ai.operation.name": "embeddings" if request.api == "embeddings" else "chat",
        "gen_ai.provider.name": _PROVIDERS.get(provider, provider),
        "gen_ai.request.model": model,
        **_of_persona(persona),
    }
    parameters = request.parameters
    for parameter, name in _NUMBERS.items():
        if isinstance(value := parameters.get(parameter), int | float):
            attributes[f"gen_ai.request.{name}"] = value
    if stop := parameters.get("stop"):
        attributes["gen_ai.request.stop_sequences"] = (
            [stop] if isinstance(stop, str) else list(stop)
        )
    if isinstance(count := parameters.get("n"), int) and count != 1:
        attributes["gen_ai.request.choice.count"] = count
    if kind := _OUTPUT_TYPES.get(_get(parameters.get("response_format"), "type")):
        attributes["gen_ai.output.type"] = kind
    return attributes


def response_attributes(response: Response) -> Attributes:
    """Return the attributes of a response."""
    attributes: Attributes = {}
    if response.model:
        attributes["gen_ai.response.model"] = response.model
    if response.id:
        attributes["gen_ai.response.id"] = response.id
    if response.finish_reason:
        attributes["gen_ai.response.finish_reasons"] = [response.finish_reason]
    if response.usage is not None:
        attributes["gen_ai.usage.input_tokens"] = response.usage.prompt_tokens
        attributes["gen_ai.usage.output_tokens"] = response.usage.completion_tokens
        for key, name in _DETAILS.items():
            if count := getattr(response.usage, key):
                attributes[name] = count
    return attributes


def tool_attributes(call: ToolCall, persona: Persona) -> Attributes:
    """Return the attributes of a tool call."""
    return {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": call.name,
        "gen_ai.tool.call.id": call.id,
        "gen_ai.tool.type": "function",
        **_of_persona(persona),
    }


def _of_persona(persona: Persona) -> Attributes:
    attributes: Attributes = {"personakit.persona": persona.name}
    if persona.version:
        attributes["personakit.persona_version"] = persona.version
    return attributes


def input_content(request: Request) -> Attributes:
    """Return the messages of a request as JSON, with a leading system message separate."""
    messages, attributes = request.messages, Attributes()
    if messages and messages[0].role == "system":
        attributes["gen_ai.system_instructions"] = _json(list(_parts(messages[0])))
        messages = messages[1:]
    sent = [{"role": message.role, "parts": list(_parts(message))} for message in messages]
    attributes["gen_ai.input.messages"] = _json(sent)
    return attributes


def output_content(response: Response) -> Attributes:
    """Return the message of a response as JSON."""
    thoughts = [{"type": "reasoning", "content": response.reasoning}] if response.reasoning else []
    message = {
        "role": "assistant",
        "parts": [*thoughts, *_parts(response.message)],
        "finish_reason": response.finish_reason or "",
    }
    return {"gen_ai.output.messages": _json([message])}


def _parts(message: Message) -> Iterator[dict[str, Any]]:
    if message.role == "tool":
        yield {"type": "tool_call_response", "id": message.tool_call_id, "response": message.text}
        return
    if isinstance(message.content, str):
        yield {"type": "text", "content": message.content}
    else:
        for part in message.content or ():
            # Only the type: the bytes of an image would exceed all other attributes.
            kind = part.get("type", "unknown")
            yield {"type": kind, "content": part["text"]} if kind == "text" else {"type": kind}
    for call in message.tool_calls:
        arguments = _value(call.arguments)
        yield {"type": "tool_call", "id": call.id, "name": call.name, "arguments": arguments}


def _get(value: Any, key: str) -> Any:
    """Return `value[key]`; None if `value` is not a mapping or the key is missing."""
    return value.get(key) if isinstance(value, Mapping) else None


def _value(arguments: str) -> Any:
    """Return the value of a JSON text; the text itself if it is not valid JSON."""
    try:
        return json.loads(arguments)
    except (ValueError, RecursionError):
        return arguments


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
