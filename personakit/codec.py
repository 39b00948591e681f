"""Requests, responses and messages as JSON, and back: for the log, recordings and transcripts.

Two forms are written. The stored form holds everything, and what it came from can be read from it.
The diffable form is for people: what the body of the request says, with each text of several lines
as a list of its lines.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from personakit import errors
from personakit.errors import BackendError
from personakit.frozen import FrozenDict, thaw
from personakit.messages import Message, Request, Response, ToolCall, ToolResult
from personakit.tools import Tool
from personakit.usage import Usage

# What a plugin may have put among the parameters and a file that is shared must not hold.
SECRET = frozenset({"api_key", "base_url", "extra_headers", "extra_query"})

# What JSON leaves as it is, and an editor, a terminal or UTF-8 does not.
_HIDDEN = re.compile("[\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
_DIFF_LINES = 80


def write_request(request: Request) -> dict[str, Any]:
    """Return the stored form of a request, without what may be a secret."""
    kept: dict[str, Any] = {
        "model": request.model,
        "messages": [message.to_api() for message in request.messages],
        "parameters": {k: v for k, v in request.parameters.items() if k not in SECRET},
    }
    if request.tools:
        kept["tools"] = [tool.to_api() for tool in request.tools]
    for name in ("timeout", "max_retries"):
        if getattr(request, name) is not None:
            kept[name] = getattr(request, name)
    return kept


def read_request(text: str, persona: str, variables: Mapping[str, Any]) -> Request:
    """Return the request of which `write_request` gave the data, as JSON text."""
    data = json.loads(text)
    return Request(
        model=data["model"],
        messages=tuple(read_message(message) for message in data["messages"]),
        parameters=data["parameters"],
        persona=persona,
        variables=variables,
        max_retries=data.get("max_retries"),
        timeout=data.get("timeout"),
        tools=tuple(map(_read_tool, data.get("tools", ()))),
    )


def read_message(data: Mapping[str, Any]) -> Message:
    """Return the message of which `Message.to_api` gave the data."""
    calls = (
        ToolCall(call["id"], call["function"]["name"], call["function"]["arguments"])
        for call in data.get("tool_calls", ())
    )
    return Message(data["role"], data["content"], tuple(calls), data.get("tool_call_id"))


def _read_tool(data: Mapping[str, Any]) -> Tool:
    """Return a tool as it was described to the model; what it did is not in the log."""
    described = data["function"]

    def gone(**_: Any) -> Any:
        raise LookupError(f"the log describes the tool {described['name']!r}, it cannot call it")

    return Tool(
        described["name"],
        gone,
        described.get("description", ""),
        FrozenDict(described["parameters"]),
    )


def diffable(value: Request | Response | ToolCall | ToolResult) -> Any:
    """Return the diffable form of what a layer is given or gives."""
    if isinstance(value, Request):
        written = write_request(value)
        written = {k: thaw(v) for k, v in written.items() if k not in ("timeout", "max_retries")}
        # What is compared later has been through JSON, so this has to be as well.
        return json.loads(pretty(_folded(written)))
    if isinstance(value, Response):
        more = {"metadata": dict(value.metadata), "parsed": value.parsed}
        return write_response(value) | {key: given for key, given in more.items() if given}
    names = ("id", "name", "arguments") if isinstance(value, ToolCall) else ("content", "is_error")
    return {name: getattr(value, name) for name in names}


def write_response(response: Response) -> Any:
    """Return what is recorded of a response, in the diffable form."""
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
    return json.loads(pretty(_folded(written)))


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


def difference(old: Any, new: Any, names: tuple[str, str] = ("recorded", "now")) -> str:
    """Return how two values in the diffable form differ, as a diff; empty if they do not."""
    return diff(pretty(old).splitlines(), pretty(new).splitlines(), names)


def diff(old: Sequence[str], new: Sequence[str], names: tuple[str, str]) -> str:
    """Return the difference of two lists of lines, shortened where it is long."""
    lines = list(difflib.unified_diff(old, new, *names, n=2, lineterm=""))
    if len(lines) > _DIFF_LINES:
        lines[_DIFF_LINES:] = [f"… and {len(lines) - _DIFF_LINES} more lines"]
    return "\n".join(lines)


def pretty(value: Any) -> str:
    """Return a value as JSON that people can read and compare."""
    text = json.dumps(value, ensure_ascii=False, indent=2, sort_keys=True, default=str)
    return _HIDDEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def compact(value: Any) -> str:
    """Return a value as JSON on one line; what JSON cannot hold goes in as text."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, default=_shown)
    except ValueError:
        text = json.dumps(_finite(value), ensure_ascii=False, default=_shown)
    try:
        text.encode()
    except UnicodeEncodeError:
        # Half a surrogate pair, which JSON can write and a database cannot hold.
        text = json.dumps(json.loads(text), ensure_ascii=True)
    return text


def storable(text: str) -> str:
    """Return a text that UTF-8 can hold: half a surrogate pair becomes a question mark."""
    return text.encode("utf-8", "replace").decode("utf-8")


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


def _shown(value: Any) -> str:
    try:
        return str(value)
    except Exception:
        return f"<{type(value).__name__}>"


def _finite(value: Any) -> Any:
    """Return a value with infinity and NaN, which are no JSON, as texts."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
