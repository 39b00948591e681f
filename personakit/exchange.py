"""What is recorded of a request and of its answer, as JSON that people can read and compare."""

from __future__ import annotations

import json
import re
from typing import Any

from personakit import errors
from personakit.checking import diff
from personakit.errors import BackendError
from personakit.frozen import thaw
from personakit.messages import Request, Response, ToolCall, Usage

# What a plugin may have put among the parameters and a file that is shared must not hold.
SECRET = frozenset({"api_key", "base_url", "extra_headers", "extra_query"})

# What JSON leaves as it is, and an editor, a terminal or UTF-8 does not.
_HIDDEN = re.compile("[\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def write_request(request: Request) -> Any:
    """Return what is recorded of a request: what its body says."""
    given = {k: v for k, v in request.parameters.items() if k not in SECRET}
    written: dict[str, Any] = {
        "messages": [message.to_api() for message in request.messages],
        "model": request.model,
        "parameters": thaw(given),
    }
    if request.tools:
        written["tools"] = [tool.to_api() for tool in request.tools]
    # What is compared later has been through JSON, so this has to be as well.
    return json.loads(dumps(_folded(written)))


def write_response(response: Response) -> Any:
    """Return what is recorded of a response."""
    written: dict[str, Any] = {
        "finish_reason": response.finish_reason,
        "model": response.model,
        "text": response.text,
    }
    if response.usage is not None:
        names = ("prompt_tokens", "completion_tokens", "total_tokens")
        written["usage"] = {name: getattr(response.usage, name) for name in names}
        for name in ("cached_tokens", "reasoning_tokens"):
            if count := getattr(response.usage, name):
                written["usage"][name] = count
    if response.tool_calls:
        written["tool_calls"] = [
            {"id": call.id, "name": call.name, "arguments": call.arguments}
            for call in response.tool_calls
        ]
    return json.loads(dumps(_folded(written)))


def read_response(written: dict[str, Any]) -> Response:
    """Return the response that was recorded."""
    calls, reason = written.get("tool_calls", ()), written.get("finish_reason")
    return Response(
        text=_text(written["text"]),
        tool_calls=tuple(
            ToolCall(_text(call["id"]), _text(call["name"]), _text(call["arguments"]))
            for call in calls
        ),
        finish_reason=None if reason is None else _text(reason),
        model=_text(written.get("model", "")),
        usage=Usage(**written["usage"]) if "usage" in written else None,
    )


def read_error(written: dict[str, Any]) -> BackendError:
    """Return the error that was recorded."""
    kind = getattr(errors, written["type"], None)
    if not isinstance(kind, type) or not issubclass(kind, BackendError):
        raise ValueError(f"no error is called {written['type']!r}")
    message = f"{written['type']}, when this was recorded"
    return kind(message, status=written.get("status"))


def difference(old: Any, new: Any) -> str:
    """Return how two requests differ, as a diff."""
    return diff(dumps(old).splitlines(), dumps(new).splitlines(), ("recorded", "now"))


def dumps(value: Any) -> str:
    """Return a value as JSON that people can read and compare."""
    text = json.dumps(value, ensure_ascii=False, indent=2, sort_keys=True, default=str)
    return _HIDDEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _folded(value: Any) -> Any:
    """Return a value with each text of several lines as a list of its lines, for the diffs."""
    if isinstance(value, str) and "\n" in value:
        return value.split("\n")
    if isinstance(value, dict):
        return {key: _folded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_folded(item) for item in value]
    return value


def _text(value: Any) -> str:
    """Return a text out of its lines."""
    text = "\n".join(value) if isinstance(value, list) else value
    if not isinstance(text, str):
        raise TypeError(f"expected a text, found {text!r}"[:80])
    return text
