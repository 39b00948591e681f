"""The body of a request."""

from __future__ import annotations

from typing import Any

from personakit.backend.chat.items import message_body
from personakit.errors import ConfigError
from personakit.messages import Request
from personakit.providers import Endpoint, Provider


def body_of(
    request: Request, endpoint: Endpoint, provider: Provider, *, stream: bool
) -> dict[str, Any]:
    """Return the JSON body of a request, as chat.completions.create() would send it."""
    if not provider.attachments and any(message.parts for message in request.messages):
        raise ConfigError(
            f"provider {provider.name!r} does not accept images, files or audio; choose another "
            f"model with `-m provider/model`, or send text alone"
        )
    body: dict[str, Any] = {
        "messages": [message_body(message, provider.name) for message in request.messages],
        "model": endpoint.model,
        **{name: value for name, value in request.parameters.items() if value is not None},
    }
    if request.tools:
        if not provider.tools:
            names = ", ".join(tool.name for tool in request.tools)
            raise ConfigError(
                f"provider {provider.name!r} does not support tools ({names}); choose another "
                f"model with `-m provider/model`, or run without tools: remove `tools:` from the "
                f"persona, or leave out -T and --functions"
            )
        body["tools"] = [tool.to_api() for tool in request.tools]
    if endpoint.defaults is not None:
        body = {**endpoint.defaults, **body}
    if endpoint.max_tokens is not None:
        asked = body.pop("max_completion_tokens", None) or body.get("max_tokens")
        body["max_tokens"] = min(asked or endpoint.max_tokens, endpoint.max_tokens)
    if stream:
        body["stream"] = True
        if provider.stream_usage:
            body["stream_options"] = {"include_usage": True}
    return body
