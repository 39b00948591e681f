"""What a provider wants back with an answer: signed thoughts, and reasoning beside tool calls.

Gemini rejects a tool call without its `extra_content` (https://ai.google.dev/gemini-api/docs/
thought-signatures), DeepSeek one without its `reasoning_content` (https://api-docs.deepseek.com/
guides/thinking_mode), and OpenRouter wants `reasoning_details`
(https://openrouter.ai/docs/use-cases/reasoning-tokens). They are kept in `Message.items`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from personakit.backend.answers.checks import cleaned
from personakit.backend.answers.merging import merged
from personakit.base import TextBuffer
from personakit.errors import UsageError
from personakit.frozen import FrozenDict, check_plain, freeze, thaw
from personakit.messages import Message

# Fields that are read elsewhere, or that are about the answer and not part of it.
_READ = frozenset(
    "role content tool_calls refusal function_call audio annotations citations images".split()
)
_THOUGHTS = ("reasoning_content", "reasoning")
_ALWAYS = frozenset({"extra_content", "reasoning_details", "thought_signature"})


class Extras:
    """The other fields of a message, whole or streamed."""

    __slots__ = ("_fields", "_source", "_thoughts")

    def __init__(self) -> None:
        self._source = ""
        self._fields: dict[str, Any] = {}
        self._thoughts: dict[str, TextBuffer] = {}

    def __bool__(self) -> bool:
        return bool(self._fields or self._thoughts)

    def add(self, message: Mapping[str, Any], grow: Callable[[str], None]) -> None:
        """Add the fields of a message or of a delta.

        Args:
            message: The message or the delta.
            grow: Called with each text that is kept, to limit their size.
        """
        for key, value in message.items():
            # Gemini marks a delta of its thoughts; the answer as a whole is not one.
            if key in _READ or value is None or value == {"google": {"thought": True}}:
                continue
            if key in _THOUGHTS and isinstance(value, str):
                grow(value)
                self._thoughts.setdefault(key, TextBuffer()).add(value)
            else:
                self._fields[key] = merged(self._fields.get(key), value)

    @property
    def reasoning(self) -> str:
        """The reasoning as text."""
        texts = (self._thoughts[key].text for key in _THOUGHTS if key in self._thoughts)
        return next(filter(None, texts), "") or "".join(_details(self._fields))

    def thoughts_in(self, delta: Mapping[str, Any]) -> str:
        """Return the reasoning in a delta: of the first field that had any, as others repeat it."""
        texts: dict[str, str] = {
            key: delta[key] for key in _THOUGHTS if isinstance(delta.get(key), str)
        }
        texts["reasoning_details"] = "".join(_details(delta))
        self._source = self._source or next((key for key, text in texts.items() if text), "")
        return texts.get(self._source, "")

    def fields(self, *, with_calls: bool) -> dict[str, Any]:
        """Return what goes back with the message.

        Plain reasoning goes back only with tool calls: elsewhere DeepSeek ignores or rejects it.
        """
        thoughts = {key: buffer.text for key, buffer in self._thoughts.items()}
        every = {**thoughts, **self._fields}
        return every if with_calls else {k: v for k, v in every.items() if k in _ALWAYS}


def _details(fields: Mapping[str, Any]) -> list[str]:
    """Return the texts in OpenRouter's `reasoning_details`."""
    details = fields.get("reasoning_details")
    entries = [d for d in details if isinstance(d, dict)] if isinstance(details, list) else []
    texts = (entry.get("text") or entry.get("summary") for entry in entries)
    return [text for text in texts if isinstance(text, str)]


def items_of(
    provider: str, fields: Mapping[str, Any], calls: Mapping[str, Any]
) -> tuple[FrozenDict, ...]:
    """Return the `Message.items` of an answer: what its provider wants back, if anything.

    Args:
        provider: The provider's name.
        fields: The fields of the message.
        calls: The fields of its tool calls, by the id of the call.
    """
    parts = {"message": fields, "calls": calls}
    try:
        # Deep nesting beside the text does not make the answer invalid.
        check_plain(parts, "the fields")
    except UsageError:
        return ()
    item = {key: cleaned(part) for key, part in parts.items() if part}
    return (freeze({"provider": provider, **item}),) if item else ()


def message_body(message: Message, provider: str) -> dict[str, Any]:
    """Return a message as it is sent to a provider, with the items that came from it.

    Invalid arguments of tool calls become valid ones: servers reject the whole history otherwise.
    """
    body = message.to_api()
    if message.tool_calls:
        for call in body["tool_calls"]:
            call["function"]["arguments"] = object_text(call["function"]["arguments"])
    for item in message.items:
        # A file may contain anything.
        if not isinstance(item, Mapping) or item.get("provider") != provider:  # type: ignore[redundant-expr]
            continue
        fields, calls = item.get("message"), item.get("calls")
        if isinstance(fields, Mapping):
            body = {**thaw(fields), **body}
        for call in body.get("tool_calls", ()):
            extras = calls.get(call["id"]) if isinstance(calls, Mapping) else None
            if isinstance(extras, Mapping):
                call.update(merged(thaw(extras), call))
    return body


def object_text(arguments: str) -> str:
    """Return the arguments of a tool call as the JSON text of an object."""
    if not arguments.strip():
        return "{}"
    try:
        valid = isinstance(json.loads(arguments, parse_constant=_refuse_constant), dict)
    except (ValueError, RecursionError):
        valid = False
    return arguments if valid else json.dumps({"arguments": arguments}, ensure_ascii=False)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
