"""Conversion of requests, responses and messages to JSON and back.

The log, recordings and transcripts use it. There are two forms: the stored form is complete and
can be read back; the diffable form is for people: the body of the request, with each multi-line
text as a list of lines.
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
from personakit.frozen import FrozenDict, freeze, thaw
from personakit.messages import Message, Request, Response, ToolCall, ToolResult
from personakit.providers import AUTO
from personakit.tools import Tool
from personakit.usage import Usage

# A plugin may set these parameters; a shared file must not contain them.
SECRET = frozenset({"api_key", "base_url", "extra_headers", "extra_query"})

# JSON does not escape these, but editors, terminals or UTF-8 cannot show them.
_HIDDEN = re.compile("[\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
_DIFF_LINES = 80
_CUT = "…"
_MAX_NOTE = 100_000
_NOTE_LEVELS = 100
_INT_BITS = 2000
# The parts of a response that are JSON of the provider.
_PLAIN = ("items", "annotations")


def write_request(request: Request) -> dict[str, Any]:
    """Return the stored form of a request, without the parameters in `SECRET`."""
    kept: dict[str, Any] = {
        "model": request.model,
        "messages": [write_message(message) for message in request.messages],
        "parameters": {k: v for k, v in request.parameters.items() if k not in SECRET},
    }
    if request.tools:
        kept["tools"] = [_write_tool(tool) for tool in request.tools]
    for name in ("timeout", "max_retries"):
        if getattr(request, name) is not None:
            kept[name] = getattr(request, name)
    if request.api != AUTO:
        kept["api"] = request.api
    return kept


def read_request(text: str, persona: str, variables: Mapping[str, Any]) -> Request:
    """Parse a request from the JSON text of `write_request`'s result."""
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
        api=data.get("api", AUTO),
    )


def write_message(message: Message) -> dict[str, Any]:
    """Return the stored form of a message: as the API accepts it, and what it leaves out."""
    more: dict[str, Any] = {"items": thaw(message.items)} if message.items else {}
    if message.cache:
        more["cache"] = True
    return {**message.to_api(), **more}


def read_message(data: Mapping[str, Any]) -> Message:
    """Parse a message from the result of `write_message`."""
    calls = (
        ToolCall(call["id"], call["function"]["name"], call["function"]["arguments"])
        for call in data.get("tool_calls", ())
    )
    items = freeze(data.get("items", ()))
    call, cache = data.get("tool_call_id"), data.get("cache") is True
    return Message(data["role"], data["content"], tuple(calls), call, items, cache)


def _write_tool(tool: Tool) -> dict[str, Any]:
    return {**tool.to_api(), "run_by": "caller"} if tool.function is None else tool.to_api()


def _read_tool(data: Mapping[str, Any]) -> Tool:
    """Return a tool with its description for the model; the log does not store its function."""
    described = data["function"]

    def gone(**_: Any) -> Any:
        raise LookupError(f"cannot call tool {described['name']!r}: the log has only its schema")

    return Tool(
        described["name"],
        None if data.get("run_by") == "caller" else gone,
        described.get("description", ""),
        FrozenDict(described["parameters"]),
        strict=described.get("strict") is True,
    )


def diffable(value: Request | Response | ToolCall | ToolResult) -> Any:
    """Return the diffable form of the input or the result of a layer."""
    if isinstance(value, Request):
        written = write_request(value)
        written = {k: thaw(v) for k, v in written.items() if k not in ("timeout", "max_retries")}
        # Recordings that this is compared with have been through JSON.
        return json.loads(pretty(_folded(written)))
    if isinstance(value, Response):
        more = {"metadata": write_notes(value.metadata), "parsed": value.parsed}
        return write_response(value) | {key: item for key, item in more.items() if item}
    names = ("id", "name", "arguments") if isinstance(value, ToolCall) else ("content", "is_error")
    return {name: getattr(value, name) for name in names}


def write_notes(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata of a response as JSON types; other values become their text.

    Whatever a plugin noted, this raises nothing. A note of more than 100,000 characters, or of more
    than 100 levels, is cut, which ``…`` shows.
    """
    return {_cut(key, _MAX_NOTE): _Note().written(value) for key, value in metadata.items()}


class _Note:
    """The writer of one note, which counts its characters."""

    def __init__(self) -> None:
        self._left = _MAX_NOTE

    def written(self, value: Any, depth: int = 0) -> Any:
        self._left -= 1
        if depth > _NOTE_LEVELS:
            return _CUT
        if isinstance(value, Mapping | list | tuple):
            try:
                return self._items(value, depth)
            except Exception:
                return f"<{type(value).__name__}>"
        if value is None or isinstance(value, bool):
            return value
        # Python writes no integer of more than 4300 digits.
        if isinstance(value, int) and value.bit_length() < _INT_BITS:
            return value
        if isinstance(value, float) and math.isfinite(value):
            return value
        return self._text(hex(value) if isinstance(value, int) else value)

    def _items(self, value: Mapping[Any, Any] | Sequence[Any], depth: int) -> Any:
        if isinstance(value, Mapping):
            written: dict[str, Any] = {}
            for key, item in value.items():
                if self._left <= 0:
                    return written | {_CUT: _CUT}
                written[self._text(key)] = self.written(item, depth + 1)
            return written
        items: list[Any] = []
        for item in value:
            if self._left <= 0:
                return [*items, _CUT]
            items.append(self.written(item, depth + 1))
        return items

    def _text(self, value: Any) -> str:
        text = _cut(value, max(self._left, 0))
        self._left -= len(text)
        return text


def _cut(value: Any, most: int) -> str:
    text = value if isinstance(value, str) else _shown(value)
    return text if len(text) <= most else f"{text[:most]}{_CUT}"


def write_response(response: Response) -> Any:
    """Return the diffable form of a response, as recordings store it."""
    written: dict[str, Any] = {
        "finish_reason": response.finish_reason,
        "model": response.model,
        "text": response.text,
    }
    if response.usage is not None:
        names = ("prompt_tokens", "completion_tokens", "total_tokens")
        written["usage"] = {name: getattr(response.usage, name) for name in names}
        for name in ("cached_tokens", "reasoning_tokens", "cache_write_tokens", "incomplete"):
            if value := getattr(response.usage, name):
                written["usage"][name] = value
    if response.tool_calls:
        written["tool_calls"] = [
            {"id": call.id, "name": call.name, "arguments": call.arguments}
            for call in response.tool_calls
        ]
    if response.reasoning:
        written["reasoning"] = response.reasoning
    # Their texts are not folded: a list of lines could not be told from a list.
    plain = {name: thaw(value) for name in _PLAIN if (value := getattr(response, name))}
    return json.loads(pretty({**_folded(written), **plain}))


def read_response(written: dict[str, Any]) -> Response:
    """Parse a recorded response."""
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
        reasoning=_text(written.get("reasoning", "")),
        **{name: _objects(written[name]) for name in _PLAIN if name in written},
    )


def read_error(written: dict[str, Any]) -> BackendError:
    """Parse a recorded error."""
    kind = getattr(errors, written["type"], None)
    if not isinstance(kind, type) or not issubclass(kind, BackendError):
        raise ValueError(f"unknown error type {written['type']!r}")
    message = f"{written['type']} (recorded error)"
    return kind(message, status=written.get("status"))


def difference(old: Any, new: Any, names: tuple[str, str] = ("recorded", "now")) -> str:
    """Return the diff of two values in the diffable form; empty if they are equal."""
    return diff(pretty(old).splitlines(), pretty(new).splitlines(), names)


def diff(old: Sequence[str], new: Sequence[str], names: tuple[str, str]) -> str:
    """Return the unified diff of two lists of lines, cut after 80 lines."""
    lines = list(difflib.unified_diff(old, new, *names, n=2, lineterm=""))
    if len(lines) > _DIFF_LINES:
        lines[_DIFF_LINES:] = [f"… and {len(lines) - _DIFF_LINES} more lines"]
    return "\n".join(lines)


def pretty(value: Any) -> str:
    """Return a value as indented JSON with sorted keys."""
    text = json.dumps(value, ensure_ascii=False, indent=2, sort_keys=True, default=_shown)
    return _HIDDEN.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def compact(value: Any) -> str:
    """Return a value as JSON on one line; other types are converted to strings."""
    try:
        text = _compact(value)
    except ValueError:
        text = json.dumps(_finite(value), ensure_ascii=False, default=_shown)
    try:
        text.encode()
    except UnicodeEncodeError:
        # A lone surrogate: JSON can escape it, a database cannot store it.
        text = json.dumps(json.loads(text), ensure_ascii=True)
    return text


def storable(text: str) -> str:
    """Return a text that UTF-8 can encode: a lone surrogate becomes a question mark."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def _folded(value: Any) -> Any:
    """Return a value with each multi-line text as a list of lines, for diffs."""
    if isinstance(value, str) and "\n" in value:
        return value.split("\n")
    if isinstance(value, dict):
        return {key: _folded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_folded(item) for item in value]
    return value


def _text(value: Any) -> str:
    """Return a text from its lines."""
    text = "\n".join(value) if isinstance(value, list) else value
    if not isinstance(text, str):
        raise TypeError(f"expected a string, found {text!r}"[:80])
    return text


def _objects(value: Any) -> Any:
    """Return a list of objects, read-only."""
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise TypeError(f"expected a list of objects, found {value!r}"[:80])
    return freeze(value)


def _shown(value: Any) -> str:
    try:
        return str(value)
    except Exception:
        return f"<{type(value).__name__}>"


# json.dumps() creates an encoder for each call.
_compact = json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=_shown).encode


def _finite(value: Any) -> Any:
    """Return a value with infinity and NaN, which JSON lacks, as strings."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
