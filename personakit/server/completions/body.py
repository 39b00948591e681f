"""The body of a chat completion: what the client asks for, checked before anything runs.

The shape is that of https://platform.openai.com/docs/api-reference/chat/create, with `variables`
beside it. What other clients send in its place, such as messages under `input`, is read as well.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from personakit.base import describe, read_json
from personakit.errors import PersonakitError, UsageError
from personakit.frozen import check_plain
from personakit.messages import Message, ToolCall
from personakit.persona import parameters
from personakit.server.completions.tools import Offered, offered
from personakit.server.http import Refusal

ROLES = ("system", "developer", "user", "assistant", "tool")
_READ = (
    "model messages input instructions variables metadata tools tool_choice parallel_tool_calls "
    "stream stream_options n"
).split()
_HARMLESS = ("user", "store", "n")  # ignored without a word: they change no answer
_CHOICES = ("none", "auto", "required")


@dataclass(frozen=True, slots=True)
class Asked:
    """What a client asks for.

    Attributes:
        model: The name of the persona.
        messages: The client's conversation.
        variables: The values of the persona's variables, from `variables` and the header.
        texts: The strings of `metadata`: those with the name of a variable are its value.
        parameters: Parameters of the model call.
        tools: The client's own tools.
        choice: The `tool_choice`; None if the client sets none.
        parallel: The `parallel_tool_calls`; None if the client sets none.
        stream: Whether the answer is streamed.
        usage: Whether the stream ends with the tokens.
        ignored: The keys that have no effect.
    """

    model: str
    messages: tuple[Message, ...] = ()
    variables: Mapping[str, Any] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    tools: Offered = field(default_factory=Offered)
    choice: Any = None
    parallel: bool | None = None
    stream: bool = False
    usage: bool = False
    ignored: tuple[str, ...] = ()


def read(body: Any, header: str, most: int) -> Asked:
    """Return what a client asks for.

    Args:
        body: The parsed body.
        header: The header ``x-personakit-variables``; empty if there is none.
        most: The most bytes of all variables.

    Raises:
        Refusal: The body is invalid (400), with the part that is wrong as `param`.
    """
    if not isinstance(body, dict):
        raise wrong("", f"the body must be a JSON object, found {describe(body)}")
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise wrong("model", f"model must be the name of a persona, found {describe(model)}")
    number = body.get("n")
    if number not in (None, 1) or isinstance(number, bool):
        raise wrong("n", f"n must be 1: a persona gives one answer, found {describe(number)}")
    tools = offered(body.get("tools"))
    given, ignored = _parameters(body)
    options = _mapping(body, "stream_options")
    choice = tools.chosen(body.get("tool_choice"))
    return Asked(
        model,
        _messages(body, tools),
        _variables(body, header, most),
        _texts(body),
        given,
        tools,
        choice,
        _flag(body, "parallel_tool_calls"),
        bool(_flag(body, "stream")),
        bool(_flag(options, "include_usage", "stream_options.")),
        ignored,
    )


def wrong(param: str, message: str) -> Refusal:
    """Return the refusal of an invalid body."""
    return Refusal(400, message[:2000], param=param or None, code="invalid_value", reason="invalid")


def _parameters(body: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the parameters of the model call, and the keys that have no effect."""
    given: dict[str, Any] = {}
    ignored = []
    for name, value in body.items():
        if value is None or name in _READ:
            continue
        if name in parameters.ALLOWED:
            if problem := parameters.fault(name, value):
                raise wrong(name, problem)
            given[name] = value
        elif name not in _HARMLESS:
            ignored.append(name)
    return given, tuple(ignored)


def _variables(body: Mapping[str, Any], header: str, most: int) -> dict[str, Any]:
    given: dict[str, Any] = {}
    if header:
        try:
            given = read_json(header)
        except ValueError as error:
            message = f"the header x-personakit-variables is not valid JSON: {error}"
            raise wrong("variables", message) from None
        if not isinstance(given, dict):
            found = describe(given)
            message = f"the header x-personakit-variables must be a JSON object, found {found}"
            raise wrong("variables", message)
    given = {**given, **_mapping(body, "variables")}
    if given and len(json.dumps(given)) > most:
        raise wrong("variables", f"the variables have more than {most:,} bytes as JSON")
    try:
        check_plain(given, "variables")
    except UsageError as error:
        raise wrong("variables", str(error)) from None
    return given


def _texts(body: Mapping[str, Any]) -> dict[str, str]:
    """Return `metadata`, whose values are strings (OpenAI's limit: 16 of 512 characters)."""
    texts = _mapping(body, "metadata")
    for name, value in texts.items():
        if not isinstance(value, str):
            message = f"metadata must contain strings, found {describe(value)}; write variables"
            raise wrong(f"metadata.{name:.64}", message)
    return texts


def _mapping(body: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = body.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise wrong(name, f"{name} must be an object, found {describe(value)}")
    return value


def _flag(body: Mapping[str, Any], name: str, at: str = "") -> bool | None:
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise wrong(f"{at}{name}", f"{at}{name} must be true or false, found {describe(value)}")
    return value


# --- messages ------------------------------------------------------------------------------------


def _messages(body: Mapping[str, Any], tools: Offered) -> tuple[Message, ...]:
    """Return the messages, also those of a body in the shape of the Responses API."""
    key = "messages" if body.get("messages") is not None or "input" not in body else "input"
    items = body.get(key)
    if key == "input" and isinstance(items, str):
        items = [{"role": "user", "content": items}]
    if not isinstance(items, list):
        raise wrong(key, f"{key} must be an array of messages, found {describe(items)}")
    messages = [_message(item, f"{key}[{at}]", tools) for at, item in enumerate(items)]
    instructions = body.get("instructions")
    if isinstance(instructions, str) and instructions:
        messages.insert(0, Message("system", instructions))
    return tuple(one for one in messages if one is not None)


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


def convert(name: str, text: str, variable: Any) -> Any:
    """Return the value of a variable that was given as text.

    Raises:
        Refusal: The text is not a value of its type (400).
    """
    try:
        return variable.convert(text)
    except PersonakitError as error:
        raise wrong(f"metadata.{name}", str(error)) from None
