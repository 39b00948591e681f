"""Values in a journal: as JSON that reads back as an equal value of the same type."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import json
from collections.abc import Callable, Container, Mapping
from typing import Any

from personakit.codec import SECRET, write_notes
from personakit.embeddings import Embeddings
from personakit.errors import MAX_MESSAGE
from personakit.frozen import FrozenDict
from personakit.messages import Message, Request, Response, ToolCall, ToolResult
from personakit.tools import Tool, ToolFailed
from personakit.usage import Charge, Timings, Usage

_KIND = "$"
_CLASSES: dict[str, Any] = {
    each.__name__: each
    for each in (Charge, Embeddings, Message, Request, Timings, ToolCall, ToolResult, Usage)
}
_MOMENTS: dict[str, Any] = {"datetime": dt.datetime, "date": dt.date, "time": dt.time}
_EXACT = (str, int, bool, type(None))
# What does not change the answer, or differs between two processes.
_OUTSIDE = frozenset(
    {"timeout", "max_retries", "defaults", "history", "_history_at", "variables", "messages"}
)


class NotStorable(TypeError):
    """A value that a journal cannot hold."""


def encode(value: Any) -> Any:
    """Return a value as JSON types.

    Raises:
        NotStorable: It is not plain data, nor a value of personakit.
    """
    kind = type(value)
    if kind in _EXACT:
        return value
    if kind is list:
        return [encode(item) for item in value]
    if kind is dict or kind is FrozenDict:
        return _mapping(value)
    if (written := _WRITTEN.get(kind)) is None:
        raise NotStorable(f"a journal cannot hold {kind.__name__}")
    return {_KIND: kind.__name__, "v": written(value)}


def _described(tool: Tool) -> dict[str, Any]:
    return {
        "name": tool.name,
        "description": tool.description,
        "parameters": encode(tool.parameters),
        "touches": list(tool.touches),
        "callers": tool.function is None,
    }


def _mapping(value: Mapping[Any, Any]) -> Any:
    if all(type(key) is str for key in value) and _KIND not in value:
        plain = {key: encode(item) for key, item in value.items()}
        return plain if type(value) is dict else {_KIND: "FrozenDict", "v": plain}
    pairs = [[encode(key), encode(item)] for key, item in value.items()]
    return {_KIND: f"{type(value).__name__} of pairs", "v": pairs}


def _fields(value: Any, without: Container[str] = ("cost",)) -> dict[str, Any]:
    names = [name for name in type(value).__slots__ if name not in without]
    values = {name: getattr(value, name) for name in names}
    if isinstance(value, Request):
        kept = {k: v for k, v in value.parameters.items() if k not in SECRET}
        values["parameters"] = FrozenDict(kept)
        try:
            encode(value.variables)
        except NotStorable:  # they have been rendered
            values["variables"] = FrozenDict(write_notes(value.variables))
    if isinstance(value, Embeddings):
        values["cost"] = value._given_cost()
    return {
        name: encode(item) for name, item in values.items() if not _is_default(value, name, item)
    }


def _is_default(value: Any, name: str, item: Any) -> bool:
    default = type(value).__dataclass_fields__[name].default
    return type(item) is type(default) and item in (None, (), "", 0, False) and item == default


def _response(value: Response) -> dict[str, Any]:
    values = value.__reduce__()[1][0]
    # Whatever a plugin noted, the answer was paid for.
    for name in ("metadata", "raw"):
        try:
            values[name] = encode(values[name])
        except NotStorable:
            values[name] = encode(FrozenDict(write_notes(values[name])))
    written: dict[str, Any] = {"metadata": values.pop("metadata"), "raw": values.pop("raw")}
    for name, item in values.items():
        if _is_default(value, name, item):
            continue
        try:
            written[name] = encode(item)
        except NotStorable:
            if name != "parsed":  # it is read again from the text
                raise
    return written


_WRITTEN: dict[type, Callable[[Any], Any]] = {
    float: repr,
    bytes: lambda value: base64.b64encode(value).decode(),
    Tool: _described,
    Response: _response,
    **dict.fromkeys((tuple, set, frozenset), lambda value: [encode(item) for item in value]),
    **dict.fromkeys(_MOMENTS.values(), lambda value: value.isoformat()),
    **dict.fromkeys(_CLASSES.values(), _fields),
}


def decode(data: Any) -> Any:
    """Return the value that `encode` wrote.

    A tool has no function: see `Request.with_functions`.

    Raises:
        ValueError: The data is not what `encode` writes.
    """
    if isinstance(data, list):
        return [decode(item) for item in data]
    if not isinstance(data, dict):
        return data
    kind, value = data.get(_KIND), data.get("v")
    if kind is None:
        return {key: decode(item) for key, item in data.items()}
    try:
        return _made(kind, value)
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{kind!r:.80} cannot be read: {error}") from error


def _made(kind: str, value: Any) -> Any:
    if kind == "bytes":
        return base64.b64decode(value)
    if kind == "float":
        return float(value)
    if kind in _MOMENTS:
        return _MOMENTS[kind].fromisoformat(value)
    if kind in ("tuple", "set", "frozenset"):
        collection: Callable[..., Any] = {"tuple": tuple, "set": set}.get(kind, frozenset)
        return collection(decode(item) for item in value)
    if kind == "FrozenDict":
        return FrozenDict({key: decode(item) for key, item in value.items()})
    if kind.endswith(" of pairs"):
        pairs = {decode(key): decode(item) for key, item in value}
        return pairs if kind == "dict of pairs" else FrozenDict(pairs)
    if kind == "Tool":
        return _tool(value)
    fields = {name: decode(item) for name, item in value.items()}
    return Response(**fields) if kind == "Response" else _CLASSES[kind](**fields)


def _tool(value: dict[str, Any]) -> Tool:
    """Return a tool as it was described to the model; its function is that of another process."""
    name, schema = value["name"], decode(value["parameters"])
    function = None if value["callers"] else _missing(name)
    return Tool(name, function, value["description"], schema, touches=value["touches"])


def _missing(name: str) -> Callable[..., Any]:
    def missing(**_: Any) -> Any:
        raise ToolFailed(f"tool {name!r} is not available in this process")

    return missing


def digest(subject: Any, known: dict[int, tuple[Any, str]] | None = None) -> dict[str, str]:
    """Return the parts of what a call was asked for, each as a short hash.

    Timeouts and keys do not belong to it: they may be others on the next day.

    Args:
        subject: What was asked for, or a function that returns it.
        known: The hashes of messages, by the identity of the message; those of new ones are added.
    """
    if callable(subject):
        subject = subject()
    messages: dict[str, str] = {}
    if isinstance(subject, Request):
        known = {} if known is None else known
        for number, message in enumerate(subject.messages):
            if id(message) not in known:
                known[id(message)] = message, _hash(message)  # which keeps it alive
            messages[f"message {number}"] = known[id(message)][1]
        tools = {tool.name: tool.to_api() for tool in subject.tools}
        whole: dict[str, Any] = {**_fields(subject, _OUTSIDE), "tools": tools}
    elif isinstance(subject, ToolCall):
        whole = {"name": subject.name, "arguments": subject.arguments}
    elif isinstance(subject, dict):
        whole = subject
    else:
        whole = {"value": subject}
    found = {name: _hash(part) for name, part in whole.items() if part not in (None, {}, "")}
    return {**found, **messages}


def _hash(part: Any) -> str:
    try:
        part = encode(part)
    except NotStorable:
        part = type(part).__name__
    text = json.dumps(part, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def different(first: Mapping[str, str], then: Mapping[str, str]) -> str:
    """Return the names of the parts in which two digests differ."""
    names = [name for name in {**first, **then} if first.get(name) != then.get(name)]
    return ", ".join(names)[:MAX_MESSAGE]
