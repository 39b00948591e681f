"""The Responses API: https://platform.openai.com/docs/api-reference/responses/create.

Nothing is stored at the provider: each request holds the whole conversation, so that any key, any
process and a replayed log continue it, and plugins see all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from personakit.backend.responses.answer import ResponsesAnswer
from personakit.backend.wire import Wire
from personakit.errors import ConfigError
from personakit.frozen import thaw
from personakit.messages import Message, Request, ToolCall
from personakit.providers import Endpoint, Provider

_SAME = frozenset(
    "metadata parallel_tool_calls prompt_cache_key prompt_cache_retention safety_identifier "
    "service_tier temperature top_logprobs top_p truncation user".split()
)
_OTHER = frozenset(
    "logprobs max_completion_tokens max_tokens reasoning_effort response_format store tool_choice "
    "verbosity".split()
)


class Responses(Wire):
    """OpenAI's Responses API, which others serve, too (https://www.openresponses.org).

    Args:
        reasons: Returns whether a model returns encrypted thoughts, which others refuse to.
    """

    name = "responses"
    title = "the Responses API"
    parameters = _SAME | _OTHER

    def __init__(self, reasons: Callable[[str, Provider, Endpoint], bool]) -> None:
        self._reasons = reasons

    def path(self, endpoint: Endpoint, *, stream: bool) -> str:
        """Return the path of responses."""
        return "responses"

    def body(
        self, request: Request, endpoint: Endpoint, provider: Provider, *, stream: bool
    ) -> dict[str, Any]:
        """Return the JSON body of a request."""
        given = {name: value for name, value in request.parameters.items() if value is not None}
        body: dict[str, Any] = {
            "model": endpoint.model,
            "input": [
                item
                for message in request.messages
                for item in _items(message, self.kept(message, request, provider))
            ],
            "store": False,
            **{name: thaw(given[name]) for name in given if name in _SAME},
        }
        limit = self.limit(request, endpoint)
        if limit is not None:
            body["max_output_tokens"] = limit
        if given.get("reasoning_effort"):
            body["reasoning"] = {"effort": given["reasoning_effort"]}
        text = {"verbosity": given["verbosity"]} if "verbosity" in given else {}
        if "response_format" in given:
            text["format"] = _format(thaw(given["response_format"]))
        if text:
            body["text"] = text
        include = (
            ["reasoning.encrypted_content"]
            if self._reasons(request.model, provider, endpoint)
            else []
        )
        if given.get("logprobs"):
            include.append("message.output_text.logprobs")
        if include:
            body["include"] = include
        if request.tools:
            body["tools"] = [_tool(tool.to_api()) for tool in request.tools]
        if "tool_choice" in given:
            body["tool_choice"] = _choice(thaw(given["tool_choice"]))
        if stream:
            body["stream"] = True
        return body

    def answer(self, request: Request, provider: Provider) -> ResponsesAnswer:
        """Return the parser of a response."""
        return ResponsesAnswer(request, provider, self.name)


def _items(message: Message, kept: tuple[Any, ...]) -> Iterator[dict[str, Any]]:
    """Yield the input items of a message.

    Args:
        message: The message.
        kept: What `ResponsesAnswer` kept of it: opaque items, and the places of the others.
    """
    if message.role == "tool":
        result = {"type": "function_call_output", "call_id": message.tool_call_id or ""}
        yield {**result, "output": message.text}
        return
    texts = [_message(message)] if message.content else []
    calls = {call.id: [_call(call)] for call in message.tool_calls}
    # Thoughts without the item that they led to are refused, so they wait for it.
    waiting: list[dict[str, Any]] = []
    for entry in kept:
        if "place" not in entry:
            waiting.append(thaw(entry))
            continue
        place = texts if entry["place"] == "message" else calls.pop(entry.get("id"), [])
        if place:
            yield from (*waiting, place.pop(0))
        waiting.clear()
    yield from texts
    for rest in calls.values():
        yield from rest


def _call(call: ToolCall) -> dict[str, Any]:
    named = {"call_id": call.id, "name": call.name, "arguments": call.arguments}
    return {"type": "function_call", **named}


def _message(message: Message) -> dict[str, Any]:
    content = message.content
    if not isinstance(content, tuple):
        return {"role": message.role, "content": content}
    parts = [_part(thaw(part), message.role) for part in content]
    return {"role": message.role, "content": parts}


def _part(part: dict[str, Any], role: str) -> dict[str, Any]:
    """Return a part of a message: chat's parts with other names."""
    kind = part.get("type")
    if kind == "text":
        return {
            "type": "output_text" if role == "assistant" else "input_text",
            "text": part["text"],
        }
    inner = part.get(str(kind))
    if kind == "image_url" and isinstance(inner, dict):
        return {
            "type": "input_image",
            "detail": "auto",
            "image_url": inner.get("url"),
            **_rest(inner),
        }
    if kind == "file" and isinstance(inner, dict):
        return {"type": "input_file", **inner}
    raise ConfigError(
        f"the Responses API does not accept {kind!r} in a message; send text, images or files, or "
        f"write `api: chat` in the persona or under `providers:` of the config file"
    )


def _rest(image: Mapping[str, Any]) -> dict[str, Any]:
    return {"detail": image["detail"]} if image.get("detail") else {}


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    # Here a tool is strict unless it says that it is not.
    return {"type": "function", "strict": False, **tool["function"]}


def _choice(choice: Any) -> Any:
    function = choice.get("function") if isinstance(choice, dict) else None
    return {"type": "function", **function} if isinstance(function, dict) else choice


def _format(form: dict[str, Any]) -> dict[str, Any]:
    schema = form.get("json_schema")
    return {"type": "json_schema", **schema} if isinstance(schema, dict) else form
