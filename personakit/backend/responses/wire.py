"""The Responses API: https://platform.openai.com/docs/api-reference/responses/create.

Nothing is stored at the provider: each request holds the whole conversation, so that any key, any
process and a replayed log continue it, and plugins see all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from personakit.backend.responses.answer import ResponsesAnswer
from personakit.backend.responses.items import input_items
from personakit.backend.wire import Wire
from personakit.frozen import thaw
from personakit.messages import Request
from personakit.providers import Endpoint, Provider

# A plugin may set those that only this API has.
_SAME = frozenset(
    "max_output_tokens max_tool_calls metadata parallel_tool_calls prompt_cache_key "
    "prompt_cache_options prompt_cache_retention safety_identifier service_tier store temperature "
    "top_logprobs top_p truncation user".split()
)
_OTHER = frozenset(
    "include logprobs max_completion_tokens max_tokens reasoning reasoning_effort response_format "
    "text tool_choice verbosity".split()
)


class Responses(Wire):
    """OpenAI's Responses API, which others serve, too (https://www.openresponses.org).

    Args:
        encrypts: Returns whether a model can be asked for its encrypted thoughts; OpenAI refuses
            the question for a model that has none.
    """

    name = "responses"
    title = "the Responses API"
    parameters = _SAME | _OTHER

    def __init__(self, encrypts: Callable[[str, Provider, Endpoint], bool]) -> None:
        self._encrypts = encrypts

    def path(self, endpoint: Endpoint, *, stream: bool) -> str:
        """Return the path of responses."""
        return "responses"

    def body(
        self, request: Request, endpoint: Endpoint, provider: Provider, *, stream: bool
    ) -> dict[str, Any]:
        """Return the JSON body of a request."""
        given = {name: thaw(value) for name, value in request.parameters.items()}
        given = {name: value for name, value in given.items() if value is not None}
        body: dict[str, Any] = {
            "model": endpoint.model,
            "input": [
                item
                for message in request.messages
                for item in input_items(message, self.kept(message, request, provider))
            ],
            "store": False,
            **{name: value for name, value in given.items() if name in _SAME},
        }
        limit = self.limit(request, endpoint)
        if limit is not None:
            body["max_output_tokens"] = limit
        body |= _nested(given)
        include = list(given.get("include", ()))
        if self._encrypts(request.model, provider, endpoint):
            include.append("reasoning.encrypted_content")
        if given.get("logprobs"):
            include.append("message.output_text.logprobs")
        if include:
            body["include"] = list(dict.fromkeys(include))
        if request.tools:
            body["tools"] = [_tool(tool.to_api()) for tool in request.tools]
        if "tool_choice" in given:
            body["tool_choice"] = _flat(given["tool_choice"])
        if stream:
            body["stream"] = True
        return body

    def answer(self, request: Request, provider: Provider) -> ResponsesAnswer:
        """Return the parser of a response."""
        return ResponsesAnswer(request, provider, self.name)


def _nested(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters that stand in others here."""
    reasoning, text = dict(given.get("reasoning", {})), dict(given.get("text", {}))
    if "reasoning_effort" in given:
        reasoning["effort"] = given["reasoning_effort"]
    if "verbosity" in given:
        text["verbosity"] = given["verbosity"]
    if "response_format" in given:
        text["format"] = _flat(given["response_format"])
    return {**({"reasoning": reasoning} if reasoning else {}), **({"text": text} if text else {})}


def _flat(value: Any) -> Any:
    """Return an object of chat completions as it is here: what its type names is not nested."""
    if not isinstance(value, dict):
        return value
    inner = value.get(str(value.get("type")))
    flat = {"type": value.get("type"), **inner} if isinstance(inner, dict) else dict(value)
    if isinstance(flat.get("tools"), list):
        flat["tools"] = [_flat(tool) for tool in flat["tools"]]
    return flat


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    # Here a tool is strict unless it says that it is not.
    return {"type": "function", "strict": False, **tool["function"]}
