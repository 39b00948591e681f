"""Values of a run as JSON for the run log, and back."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from personakit.exchange import SECRET
from personakit.frozen import FrozenDict
from personakit.messages import Message, Request, ToolCall
from personakit.tools import Tool
from personakit.trace import Step

MAX_DIFF = 100_000
"""Characters of a request beyond which what a plugin changed in it is not kept as a diff."""


def step_data(step: Step) -> dict[str, Any]:
    """Return what is kept of a layer of a trace."""
    kept: dict[str, Any] = {
        "plugin": step.plugin,
        "hook": step.hook,
        "depth": step.depth,
        "way": step.way,
        "seconds": round(step.seconds, 6),
    }
    if isinstance(step.request, ToolCall):
        kept["tool"] = step.request.name
    if len(step.sent) > 1:
        kept["sent"] = len(step.sent)
    if step.attempts > 1:
        kept["attempts"] = step.attempts
    if step.plugin and _size(step.request) <= MAX_DIFF:
        diffs = {"request": step.request_diff(), "response": step.response_diff()}
        kept |= {name: diff for name, diff in diffs.items() if diff}
    if step.error is not None:
        kept["error"] = f"{type(step.error).__name__}: {step.error}"
    return kept


def read_message(data: Mapping[str, Any]) -> Message:
    """Return the message of which `Message.to_api` gave the data."""
    calls = (
        ToolCall(call["id"], call["function"]["name"], call["function"]["arguments"])
        for call in data.get("tool_calls", ())
    )
    return Message(data["role"], data["content"], tuple(calls), data.get("tool_call_id"))


def dumps(value: Any) -> str:
    """Return a value as JSON on one line; what JSON cannot hold goes in as text."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, default=_told)
    except ValueError:
        text = json.dumps(_finite(value), ensure_ascii=False, default=_told)
    try:
        text.encode()
    except UnicodeEncodeError:
        # Half a surrogate pair, which JSON can write and a database cannot hold.
        text = json.dumps(json.loads(text), ensure_ascii=True)
    return text


def storable(text: str) -> str:
    """Return a text that UTF-8 can hold: half a surrogate pair becomes a question mark."""
    return text.encode("utf-8", "replace").decode("utf-8")


def write_request(request: Request) -> dict[str, Any]:
    """Return what is kept of a request, in a form that it can be read from again."""
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
    """Return the request that was kept."""
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


def _size(request: Request | ToolCall) -> int:
    if isinstance(request, ToolCall):
        return len(request.arguments)
    return sum(len(message.text) for message in request.messages)


def _told(value: Any) -> str:
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
