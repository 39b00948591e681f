"""What is stored of an answer, and the key that it is stored under."""

import hashlib
import json
from typing import Any

from personakit import Persona, Request, Response, ToolCall, Usage

FORMAT = "personakit-cache 1"
"""Part of every key: what another format wrote is not found."""

COMPLETE = frozenset({"stop", "tool_calls", None})


def key_of(request: Request, persona: Persona) -> str | None:
    """Return the SHA-256 of all that the answer depends on; None when that is not JSON.

    The plugins are part of it because those listed after this one change the answer, and the
    request does not show how.
    """
    said = {
        "format": FORMAT,
        "model": request.model,
        "messages": [message.to_api() for message in request.messages],
        "parameters": dict(sorted(request.parameters.items())),
        "tools": [tool.to_api() for tool in request.tools],
        "plugins": [(use.name, use.options) for use in persona.plugins if use.name != "cache"],
    }
    try:
        # Deeper keys stay in order: a model answers a JSON Schema in the order of its properties.
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()
    except (TypeError, ValueError, RecursionError):
        return None


def write(response: Response, request: Request) -> str | None:
    """Return the JSON of an answer; None when it had better not be given again.

    That is one that is incomplete or empty, one that JSON cannot hold, and one that calls tools
    that a later plugin brought, since a hit does not bring them.
    """
    if response.finish_reason not in COMPLETE or not (response.text or response.tool_calls):
        return None
    sent = response.request or request
    if response.tool_calls and sent.tools != request.tools:
        return None
    names = ("text", "finish_reason", "model", "id", "raw", "parsed", "metadata")
    written: dict[str, Any] = {name: getattr(response, name) for name in names}
    written["tool_calls"] = [
        {"id": call.id, "name": call.name, "arguments": call.arguments}
        for call in response.tool_calls
    ]
    try:
        text = json.dumps(written)
    except (TypeError, ValueError, RecursionError):
        return None
    # Numbers as keys, NaN, tuples: what JSON takes and gives back as something else.
    same = {name: getattr(response, name) for name in (*names, "tool_calls")}
    return text if read(text) == _answer(**same) else None


def read(text: str) -> Response | None:
    """Return the answer that was stored; None when the text is not one."""
    try:
        written = json.loads(text)
        calls = tuple(ToolCall(**call) for call in written.pop("tool_calls"))
        mappings = written["raw"], written["metadata"]
        answer = _answer(**written, tool_calls=calls)
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
        return None
    texts = [answer.text, answer.model, answer.id, answer.finish_reason or ""]
    texts += [part for call in calls for part in (call.id, call.name, call.arguments)]
    sound = all(isinstance(part, str) for part in texts)
    return answer if sound and all(isinstance(part, dict) for part in mappings) else None


def _answer(**fields: Any) -> Response:
    """Return an answer that took nothing."""
    return Response(**fields, usage=Usage(), cost=0.0)
