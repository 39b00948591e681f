"""The keys and entries of the store."""

import hashlib
import json
from typing import Any

from personakit import Persona, Request, Response, ToolCall, Usage

FORMAT = "personakit-cache 3"
"""Part of every key, so that entries of another format are not found."""

_FIELDS = (
    "text", "finish_reason", "model", "id", "raw", "parsed", "metadata", "reasoning", "items",
    "annotations",
)  # fmt: skip
COMPLETE = frozenset({"stop", "tool_calls", None})


def key_of(request: Request, persona: Persona) -> str | None:
    """Return the SHA-256 of everything the answer depends on; None if that is not JSON.

    This includes the persona's plugins: those listed after this one change the answer, and the
    request does not show how.
    """
    parts = {
        "format": FORMAT,
        "model": request.model,
        "api": request.api,
        "messages": [(message.to_api(), message.items) for message in request.messages],
        "parameters": dict(sorted(request.parameters.items())),
        "tools": [tool.to_api() for tool in request.tools],
        "plugins": [(use.name, use.options) for use in persona.plugins if use.name != "cache"],
    }
    try:
        # Do not sort nested keys: a model follows the order of the properties in a JSON Schema.
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
    except (TypeError, ValueError, RecursionError):
        return None


def write(response: Response, request: Request) -> str | None:
    """Return the JSON of an answer; None if the answer must not be reused.

    Not reused are answers that are incomplete or empty, that JSON cannot represent, or that call
    tools added by a later plugin: a hit would not add those tools.
    """
    if response.finish_reason not in COMPLETE or not (response.text or response.tool_calls):
        return None
    sent = response.request or request
    if response.tool_calls and sent.tools != request.tools:
        return None
    names = _FIELDS
    written: dict[str, Any] = {name: getattr(response, name) for name in names}
    written["tool_calls"] = [
        {"id": call.id, "name": call.name, "arguments": call.arguments}
        for call in response.tool_calls
    ]
    try:
        text = json.dumps(written)
    except (TypeError, ValueError, RecursionError):
        return None
    # JSON accepts numbers as keys, NaN and tuples, but does not return them unchanged.
    same = {name: getattr(response, name) for name in (*names, "tool_calls")}
    return text if read(text) == _answer(**same) else None


def read(text: str) -> Response | None:
    """Return the stored answer in `text`; None if `text` is not a valid entry."""
    try:
        written = json.loads(text)
        calls = tuple(ToolCall(**call) for call in written.pop("tool_calls"))
        listed = (*written["items"], *written["annotations"])
        mappings = (written["raw"], written["metadata"], *listed)
        answer = _answer(**written, tool_calls=calls)
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
        return None
    texts = [
        answer.text, answer.model, answer.id, answer.finish_reason or "", answer.reasoning
    ]  # fmt: skip
    texts += [part for call in calls for part in (call.id, call.name, call.arguments)]
    sound = all(isinstance(part, str) for part in texts)
    return answer if sound and all(isinstance(part, dict) for part in mappings) else None


def _answer(**fields: Any) -> Response:
    """Return an answer with zero usage and cost."""
    return Response(**fields, usage=Usage(), cost=0.0)
