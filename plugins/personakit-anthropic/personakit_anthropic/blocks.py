"""Messages as the turns of a conversation, which consist of blocks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from personakit import ConfigError, Message, ToolCall

Block = dict[str, Any]
Part = str | ToolCall | Mapping[str, Any]


def conversation(
    messages: Iterable[Message], parts: Callable[[Message], Iterable[Part]]
) -> tuple[list[Block], list[Block]]:
    """Return the blocks of the system prompt, and the turns of a conversation.

    All system messages are in the system prompt, also those from the middle: most models accept
    them nowhere else. Messages of one role in a row are one turn, so the results of one round of
    tools are in one.

    Args:
        messages: The messages.
        parts: Returns the parts of an answer; see `Wire.parts`.

    Raises:
        ConfigError: A message contains what the API does not accept.
    """
    system: list[Block] = []
    turns: list[Block] = []
    for message in messages:
        if message.role == "assistant":
            blocks = _answer(parts(message))
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


def _answer(parts: Iterable[Part]) -> list[Block]:
    """Return the blocks of an answer; the API refuses thoughts that lead to nothing."""
    blocks: list[Block] = []
    for part in parts:
        if isinstance(part, str):
            blocks += _parts(part)
        elif isinstance(part, ToolCall):
            use = {"type": "tool_use", "id": _identity(part.id), "name": part.name}
            blocks.append({**use, "input": part.parsed})
        else:
            blocks.append(dict(part))
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
