"""Messages as the turns of a conversation, which consist of blocks."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from personakit import ConfigError, Message

Block = dict[str, Any]


def conversation(
    messages: Iterable[Message], kept: Callable[[Message], tuple[Any, ...]]
) -> tuple[list[Block], list[Block]]:
    """Return the blocks of the system prompt, and the turns of a conversation.

    All system messages are in the system prompt, also those from the middle: most models accept
    them nowhere else. Messages of one role in a row are one turn, so the results of one round of
    tools are in one.

    Args:
        messages: The messages.
        kept: Returns what `MessagesAnswer` kept of a message.

    Raises:
        ConfigError: A message contains what the API does not accept.
    """
    system: list[Block] = []
    turns: list[Block] = []
    for message in messages:
        if message.role == "assistant":
            blocks = _answer(message, kept(message))
        else:
            blocks = list(_parts(message.to_api()["content"]))
        if message.role == "tool":
            result = {"type": "tool_result", "tool_use_id": _identity(message.tool_call_id or "")}
            blocks = [{**result, "content": blocks} if blocks else result]
        if message.cache and blocks:
            blocks[-1] = {**blocks[-1], "cache_control": {"type": "ephemeral"}}
        role = "assistant" if message.role == "assistant" else "user"
        if message.role in ("system", "developer"):
            system += blocks
        elif blocks and turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        elif blocks:
            turns.append({"role": role, "content": blocks})
    return system, turns


def _answer(message: Message, kept: tuple[Any, ...]) -> list[Block]:
    """Return the blocks of an answer in their order: kept ones, text and calls."""
    text = message.text
    calls = {call.id: call for call in message.tool_calls}
    # The text is in one piece if a plugin changed it.
    is_whole = len(text) == sum(entry.get("length", 0) for entry in kept)
    blocks: list[Block] = []
    for entry in (*kept, {"length": len(text)}, *({"call": identity} for identity in calls)):
        if "length" in entry:
            size = entry["length"] if is_whole else len(text)
            blocks += _parts(text[:size])
            text = text[size:]
        elif "call" not in entry:
            blocks.append(dict(entry))
        elif call := calls.pop(entry["call"], None):
            use = {"type": "tool_use", "id": _identity(call.id), "name": call.name}
            blocks.append({**use, "input": as_object(call.arguments)})
    # The API refuses thoughts that lead to nothing.
    return blocks if any(block.get("type") in ("text", "tool_use") for block in blocks) else []


def _parts(content: Any) -> Iterator[Block]:
    """Yield the blocks of a message's content; the API refuses blank texts."""
    parts: Any = [{"type": "text", "text": content}] if isinstance(content, str) else content
    for part in parts or ():
        kind = part.get("type")
        inner = part.get(str(kind)) or {}
        if kind == "text":
            if part["text"].strip():
                yield {"type": "text", "text": part["text"]}
        elif kind == "image_url":
            yield {"type": "image", "source": _source(inner["url"])}
        elif kind == "file" and (address := inner.get("file_data") or inner.get("file_url")):
            named = {"title": inner["filename"]} if inner.get("filename") else {}
            yield {"type": "document", "source": _source(address), **named}
        else:
            raise ConfigError(
                f"Anthropic's Messages API does not accept {kind!r} in a message; send text, "
                f"images or PDFs, or choose another model with `-m provider/model`"
            )


def _source(address: str) -> Block:
    head, comma, data = address.partition(",")
    if not head.startswith("data:") or not comma:
        return {"type": "url", "url": address}
    return {"type": "base64", "media_type": head[5:].partition(";")[0], "data": data}


def _identity(identity: str) -> str:
    """Return the id of a call in the characters that the API accepts; other models have others."""
    return re.sub(r"[^\w-]", "_", identity, flags=re.ASCII)


def as_object(arguments: str) -> dict[str, Any]:
    """Return the arguments of a call as an object, which the API wants, whatever they are."""
    try:
        value = json.loads(arguments or "{}", parse_constant=str)
    except (ValueError, RecursionError):
        value = None
    return value if isinstance(value, dict) else {"arguments": arguments}
