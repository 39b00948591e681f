"""The messages of a body: what the client's conversation is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from personakit.base import describe
from personakit.messages import Message, ToolCall
from personakit.server.completions.tools import Offered, wrong

ROLES = ("system", "developer", "user", "assistant", "tool")


def read_messages(body: Mapping[str, Any], tools: Offered) -> tuple[Message, ...]:
    """Return the messages, also those of a body in the shape of the Responses API.

    Raises:
        Refusal: A message is invalid (400).
    """
    # Cursor sends an empty `messages` beside its `input`.
    key = "messages" if body.get("messages") or "input" not in body else "input"
    items = body.get(key)
    if key == "input" and isinstance(items, str):
        items = [{"role": "user", "content": items}]
    if not isinstance(items, list):
        raise wrong(key, f"{key} must be an array of messages, found {describe(items)}")
    found = [_message(item, f"{key}[{at}]", tools) for at, item in enumerate(items)]
    messages = [one for one in found if one is not None]
    if key == "input":
        messages = _joined(messages)
    instructions = body.get("instructions")
    if isinstance(instructions, str) and instructions:
        messages.insert(0, Message("system", instructions))
    return tuple(messages)


def _joined(messages: Sequence[Message]) -> list[Message]:
    """Join the items of one answer: its text and each of its calls are items of their own.

    A chat completion refuses a message with calls that their results do not follow.
    """
    joined: list[Message] = []
    for one in messages:
        last = joined[-1] if joined else None
        if last is not None and one.tool_calls and last.role == one.role:
            joined[-1] = last.replace(tool_calls=(*last.tool_calls, *one.tool_calls))
        else:
            joined.append(one)
    return joined


def _message(item: Any, at: str, tools: Offered) -> Message | None:
    if not isinstance(item, dict):
        raise wrong(at, f"{at} must be an object, found {describe(item)}")
    kind = item.get("type", "message")
    if kind in ("function_call", "custom_tool_call"):
        return Message("assistant", None, (_item_call(item, at, tools),))
    if kind in ("function_call_output", "custom_tool_call_output"):
        text = _content(item.get("output"), f"{at}.output")
        return Message("tool", text, tool_call_id=_text(item, "call_id", at))
    if kind == "reasoning":
        return None
    return _spoken(item, at, tools)


def _spoken(item: Mapping[str, Any], at: str, tools: Offered) -> Message:
    role = item.get("role")
    if role == "function":
        raise wrong(f"{at}.role", f"{at}.role: 'function' is no longer supported; use 'tool'")
    if role not in ROLES:
        known = ", ".join(ROLES)
        raise wrong(f"{at}.role", f"{at}.role must be one of {known}, found {describe(role)}")
    content = _content(item.get("content"), f"{at}.content")
    if role == "tool":
        return Message(role, content or "", tool_call_id=_text(item, "tool_call_id", at))
    if role != "assistant":
        if content is None:
            raise wrong(f"{at}.content", f"{at}.content must be a string or an array, found null")
        return Message(role, content)
    calls = item.get("tool_calls")
    if calls is not None and not isinstance(calls, list):
        found = describe(calls)
        raise wrong(f"{at}.tool_calls", f"{at}.tool_calls must be an array, found {found}")
    made = [_call(call, f"{at}.tool_calls[{n}]", tools) for n, call in enumerate(calls or ())]
    if content is None and not made:
        content = item.get("refusal") if isinstance(item.get("refusal"), str) else ""
    return Message(role, content, tuple(made))


def _content(value: Any, at: str) -> Any:
    """Return the content of a message: text, parts, or None."""
    if value is None or isinstance(value, str):
        return value
    if not isinstance(value, list):
        raise wrong(at, f"{at} must be a string or an array of parts, found {describe(value)}")
    parts = [_part(part, f"{at}[{number}]") for number, part in enumerate(value)]
    if all(part["type"] == "text" for part in parts):
        return "".join(part["text"] for part in parts)
    return tuple(parts)


def _part(part: Any, at: str) -> dict[str, Any]:
    if not isinstance(part, dict) or not isinstance(part.get("type"), str):
        raise wrong(at, f"{at} must be an object with a `type`, found {describe(part)}")
    kind = part["type"]
    if kind in ("text", "input_text", "output_text", "refusal"):
        text = part.get("refusal" if kind == "refusal" else "text")
        if not isinstance(text, str):
            raise wrong(f"{at}.text", f"{at}.text must be a string, found {describe(text)}")
        return {"type": "text", "text": text}
    if kind == "input_image":
        part = {"type": "image_url", "image_url": {"url": part.get("image_url")}}
        kind = "image_url"
    if kind == "image_url":
        image = part.get("image_url")
        url = image.get("url") if isinstance(image, dict) else image
        if not isinstance(url, str) or not url.startswith(("data:", "https://", "http://")):
            found = describe(url)
            raise wrong(at, f"{at}.image_url.url must be a data: or http(s) URL, found {found:.80}")
        return {**part, "image_url": image if isinstance(image, dict) else {"url": url}}
    if kind in ("input_audio", "file"):
        return dict(part)
    known = "text, image_url, input_audio, file"
    raise wrong(f"{at}.type", f"{at}.type must be one of {known}, found {kind[:40]!r}")


def _call(call: Any, at: str, tools: Offered) -> ToolCall:
    if not isinstance(call, dict):
        raise wrong(at, f"{at} must be an object, found {describe(call)}")
    if isinstance(call.get("custom"), dict):
        made = call["custom"]
        text: Any = tools.as_arguments(made.get("input"))
    else:
        made = call.get("function")
        made = made if isinstance(made, dict) else {}
        text = made.get("arguments", "{}")
    name = made.get("name")
    if not isinstance(name, str) or not isinstance(text, str | None):
        message = f"{at}.function must have a `name` and `arguments` as strings"
        raise wrong(f"{at}.function", f"{message}, found {describe(call.get('function'))}")
    return ToolCall(_text(call, "id", at), name, text or "{}")


def _item_call(item: Mapping[str, Any], at: str, tools: Offered) -> ToolCall:
    """Return a tool call in the shape of the Responses API."""
    custom = item.get("type") == "custom_tool_call"
    text = tools.as_arguments(item.get("input")) if custom else item.get("arguments")
    if not isinstance(text, str):
        raise wrong(f"{at}.arguments", f"{at}.arguments must be a string, found {describe(text)}")
    return ToolCall(_text(item, "call_id", at), _text(item, "name", at), text or "{}")


def _text(item: Mapping[str, Any], name: str, at: str) -> str:
    value = item.get(name)
    if not isinstance(value, str) or not value:
        raise wrong(f"{at}.{name}", f"{at}.{name} must be a string, found {describe(value)}")
    return value
