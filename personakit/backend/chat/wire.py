"""Chat completions: https://platform.openai.com/docs/api-reference/chat/create."""

from __future__ import annotations

from typing import Any

from personakit.backend.chat.answer import ChatAnswer
from personakit.backend.chat.items import message_body
from personakit.backend.wire import Wire
from personakit.messages import Request
from personakit.providers import Endpoint, Provider


class Chat(Wire):
    """The API of chat completions, which every provider serves."""

    name = "chat"
    title = "the chat completions API"

    def path(self, endpoint: Endpoint, *, stream: bool) -> str:
        """Return the path of chat completions."""
        return "chat/completions"

    def body(
        self, request: Request, endpoint: Endpoint, provider: Provider, *, stream: bool
    ) -> dict[str, Any]:
        """Return the JSON body of a request, as chat.completions.create() would send it."""
        body: dict[str, Any] = {
            "messages": [message_body(message, provider.name) for message in request.messages],
            "model": endpoint.model,
            **{name: value for name, value in request.parameters.items() if value is not None},
        }
        if request.tools:
            body["tools"] = [tool.to_api() for tool in request.tools]
        if endpoint.max_tokens is not None:
            body.pop("max_completion_tokens", None)
            body["max_tokens"] = self.limit(request, endpoint)
        if stream:
            body["stream"] = True
            if provider.stream_usage:
                body["stream_options"] = {"include_usage": True}
        return body

    def answer(self, request: Request, provider: Provider) -> ChatAnswer:
        """Return the parser of a completion."""
        return ChatAnswer(request, provider)
