"""The Messages API: https://platform.claude.com/docs/en/api/messages."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, ClassVar

from personakit import Endpoint, Provider, Request, SchemaSubset, Secret, Wire
from personakit_anthropic.answer import MessagesAnswer
from personakit_anthropic.blocks import conversation
from personakit_anthropic.models import most_tokens, thinking

# https://platform.claude.com/docs/en/build-with-claude/structured-outputs
_FORMATS = "date date-time duration email hostname ipv4 ipv6 time uri uuid".split()


class Messages(Wire):
    """Anthropic's Messages API, which others serve, too."""

    name = "anthropic"
    title = "Anthropic's Messages API"
    answers = MessagesAnswer
    parameters = frozenset(
        "max_completion_tokens max_tokens parallel_tool_calls reasoning_effort response_format "
        "stop temperature tool_choice top_p".split()
    )
    schemas = SchemaSubset(values={"format": _FORMATS, "minItems": (0, 1)})
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
        parts = functools.partial(self.parts, request=request, provider=provider)
        system, turns = conversation(request.messages, parts)
        limit = self.limit(request, endpoint) or most_tokens(endpoint.model)
        body: dict[str, Any] = {"model": endpoint.model, "max_tokens": limit, "messages": turns}
        body |= {name: given[name] for name in ("temperature", "top_p") if name in given}
        if stop := given.get("stop"):
            body["stop_sequences"] = [stop] if isinstance(stop, str) else stop
        if "reasoning_effort" in given:
            body |= thinking(endpoint.model, given["reasoning_effort"], limit)
        if form := given.get("response_format", {}).get("json_schema"):
            config = {"format": {"type": "json_schema", "schema": form["schema"]}}
            body["output_config"] = {**body.get("output_config", {}), **config}
        if system:
            body["system"] = system
        if request.tools:
            body["tools"] = [_tool(tool.to_api()["function"]) for tool in request.tools]
            body["tool_choice"] = _choice(given)
        return {**body, "stream": True} if stream else body


def _tool(function: dict[str, Any]) -> dict[str, Any]:
    schema = {"type": "object", **function.pop("parameters")}
    return {**function, "input_schema": schema}


def _choice(given: Mapping[str, Any]) -> dict[str, Any]:
    choice = given.get("tool_choice", "auto")
    result = {"type": "any" if choice == "required" else choice}
    if isinstance(choice, Mapping):
        result = {"type": "tool", "name": choice["function"]["name"]}
    if given.get("parallel_tool_calls") is False and choice != "none":
        result["disable_parallel_tool_use"] = True
    return result
