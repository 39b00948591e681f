"""The Messages API: https://platform.claude.com/docs/en/api/messages."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import Any, ClassVar

from personakit import Endpoint, Provider, Request, Secret, Wire
from personakit_anthropic.answer import MessagesAnswer
from personakit_anthropic.blocks import conversation
from personakit_anthropic.models import most_tokens, thinking
from personakit_anthropic.schemas import accepted

_AS_INSTRUCTION = "Answer with JSON alone, without a code fence, that matches this JSON Schema:\n"


class Messages(Wire):
    """Anthropic's Messages API, which others serve, too."""

    name = "anthropic"
    title = "Anthropic's Messages API"
    parameters = frozenset(
        "max_completion_tokens max_tokens parallel_tool_calls reasoning_effort response_format "
        "stop temperature tool_choice top_p".split()
    )
    features: ClassVar[Mapping[str, Any]] = {"json_schema": True}

    def path(self, endpoint: Endpoint, *, stream: bool) -> str:
        """Return the path of messages."""
        return "messages"

    def headers(self, key: Secret | None) -> Mapping[str, str | None]:
        """Return the version of the API, and the key in the header where it expects it."""
        # The version of 2026-10-21 differs in that it refuses temperature and top_p for all models:
        # https://platform.claude.com/docs/en/api/versioning
        version = {"anthropic-version": "2023-06-01", "Authorization": None}
        return version if key is None else {**version, "x-api-key": key.reveal()}

    def body(
        self, request: Request, endpoint: Endpoint, provider: Provider, *, stream: bool
    ) -> dict[str, Any]:
        """Return the JSON body of a request."""
        given = {name: value for name, value in request.parameters.items() if value is not None}
        kept = functools.partial(self.kept, request=request, provider=provider)
        system, turns = conversation(request.messages, kept)
        limit = self.limit(request, endpoint) or most_tokens(endpoint.model)
        body: dict[str, Any] = {"model": endpoint.model, "max_tokens": limit, "messages": turns}
        body |= {name: given[name] for name in ("temperature", "top_p") if name in given}
        if stop := given.get("stop"):
            body["stop_sequences"] = [stop] if isinstance(stop, str) else stop
        if "reasoning_effort" in given:
            body |= thinking(endpoint.model, given["reasoning_effort"], limit)
        form = given.get("response_format") or {}
        if form.get("type", "text") != "text":
            schema = (form.get("json_schema") or {}).get("schema") or {"type": "object"}
            if said := accepted(schema):
                config = {"format": {"type": "json_schema", "schema": said}}
                body["output_config"] = {**body.get("output_config", {}), **config}
            else:
                text = _AS_INSTRUCTION + json.dumps(schema, ensure_ascii=False)
                system.append({"type": "text", "text": text})
        if system:
            body["system"] = system
        if request.tools:
            body["tools"] = [_tool(tool.to_api()["function"]) for tool in request.tools]
            body["tool_choice"] = _choice(given)
        return {**body, "stream": True} if stream else body

    def answer(self, request: Request, provider: Provider) -> MessagesAnswer:
        """Return the parser of a message."""
        return MessagesAnswer(request, provider, self.name)


def _tool(function: dict[str, Any]) -> dict[str, Any]:
    schema = {"type": "object", **function.pop("parameters")}
    return {**function, "input_schema": schema}


def _choice(given: Mapping[str, Any]) -> dict[str, Any]:
    choice = given.get("tool_choice", "auto")
    if isinstance(choice, Mapping):
        result = {"type": "tool", "name": choice["function"]["name"]}
    else:
        result = {"type": "any" if choice == "required" else choice}
    if given.get("parallel_tool_calls") is False and choice != "none":
        result["disable_parallel_tool_use"] = True
    return result
