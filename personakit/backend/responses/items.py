"""The input of a request of the Responses API: the items of its messages.

OpenAI refuses thoughts that are not directly before the item that they led to, and thoughts of
which it has neither the content nor, with ``store: false``, a copy:
https://platform.openai.com/docs/guides/reasoning#keeping-reasoning-items-in-context
Ids of messages and calls are not sent, because they name stored items.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from personakit.backend.answers.order import ordered
from personakit.backend.chat.items import object_text
from personakit.backend.responses.answer import BETWEEN
from personakit.errors import ConfigError
from personakit.frozen import thaw
from personakit.messages import Message, ToolCall

Item = dict[str, Any]


def input_items(message: Message, kept: Sequence[Mapping[str, Any]]) -> Iterator[Item]:
    """Yield the input items of a message.

    Args:
        message: The message.
        kept: What `ResponsesAnswer` kept of it: opaque items, and the places of the others.
    """
    if message.role == "tool":
        result = {"type": "function_call_output", "call_id": message.tool_call_id or ""}
        yield {**result, "output": message.text}
    elif message.role == "assistant":
        yield from _answer(message, kept)
    else:
        yield _message(message.role, _content(message))


def _answer(message: Message, entries: Sequence[Mapping[str, Any]]) -> Iterator[Item]:
    """Yield the items of an answer in their order, as far as they are still there."""
    outputs = [e.get("call_id") for e in entries if str(e.get("type")).endswith("_output")]
    waiting: list[Item] = []
    for entry, part in ordered(_text(message), message.tool_calls, entries, BETWEEN):
        if part is not entry:
            yield from waiting if entry and part else _without_end(waiting)
            waiting.clear()
            if part:
                yield _call(part) if isinstance(part, ToolCall) else _said(part, entry)
        elif entry.get("call_id") and entry["call_id"] not in outputs:
            # A call that nobody ran, such as one of a custom tool: it is refused without an output.
            _without_end(waiting)
        else:
            waiting += _opaque(entry)
    yield from _without_end(waiting)


def _said(text: str, entry: Mapping[str, Any]) -> Item:
    item = _message("assistant", text)
    return {**item, "phase": entry["phase"]} if "phase" in entry else item


def _without_end(items: list[Item]) -> list[Item]:
    """Return items up to the last one that is no thought."""
    while items and items[-1].get("type") == "reasoning":
        items.pop()
    return items


def _opaque(entry: Mapping[str, Any]) -> list[Item]:
    """Return an item as it goes back, if it can: thoughts with their content."""
    item = thaw(entry)
    if item.get("type") != "reasoning":
        return [item]
    # The state of thoughts is refused, and so is a content of none.
    item = {key: value for key, value in item.items() if key != "status" and value is not None}
    if item.get("encrypted_content"):
        item.pop("content", None)
    elif not item.get("content"):
        return []
    return [{"summary": [], **item}]


def _call(call: ToolCall) -> Item:
    named = {"call_id": call.id, "name": call.name, "arguments": object_text(call.arguments)}
    return {"type": "function_call", **named}


def _message(role: str, content: Any) -> Item:
    return {"type": "message", "role": role, "content": content}


def _content(message: Message) -> Any:
    if isinstance(message.content, tuple):
        return [_part(thaw(part)) for part in message.content]
    return message.content or ""


def _text(message: Message) -> str:
    """Return the text of an answer, which may be in parts."""
    if not isinstance(message.content, tuple):
        return message.content or ""
    parts = map(_refused, message.content)
    return "".join(str(part.get("text") or part.get("refusal") or "") for part in parts)


def _refused(part: Mapping[str, Any]) -> Mapping[str, Any]:
    if part.get("type") not in ("text", "refusal"):
        raise _unknown(part.get("type"))
    return part


def _part(part: dict[str, Any]) -> Item:
    """Return a part of a message: chat's parts with other names."""
    kind = part.get("type")
    inner = part.get(str(kind))
    if kind == "text":
        return {"type": "input_text", "text": part.get("text")}
    if kind == "image_url" and isinstance(inner, dict):
        image = {"image_url": inner.get("url"), "detail": inner.get("detail") or "auto"}
        return {"type": "input_image", **image}
    if kind == "file" and isinstance(inner, dict):
        return {"type": "input_file", **inner}
    raise _unknown(kind)


def _unknown(kind: Any) -> ConfigError:
    return ConfigError(
        f"the Responses API does not accept {kind!r} in a message; send text, images or files, or "
        f"write `api: chat` in the persona or under `providers:` of the config file"
    )
