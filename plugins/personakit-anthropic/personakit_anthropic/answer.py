"""Parse a message of the Messages API, whole or streamed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from personakit import Answer, Provider, Request, ToolCall

# The events of a stream: https://platform.claude.com/docs/en/build-with-claude/streaming
_PIECES = frozenset({"text", "thinking", "signature", "partial_json"})
_EMPTY = {"text": ("text",), "thinking": ("thinking",), "tool_use": ("id",)}


class MessagesAnswer(Answer):
    """The parser of one message.

    Thoughts, and blocks of a type that is not known, are kept with the places of the texts and the
    calls between them, so that all go back in their order.
    """

    def __init__(self, request: Request, provider: Provider, wire: str) -> None:
        super().__init__(request, provider, wire)
        self._blocks: dict[int, dict[str, Any]] = {}
        self._pieces: dict[tuple[int, str], list[str]] = {}

    def read(self, data: dict[str, Any]) -> None:
        """Read a whole message."""
        for index, block in enumerate(data["content"]):
            self._begin(index, block)
        self._finish(data)

    def read_event(self, data: dict[str, Any], name: str) -> None:
        """Read an event of a stream; those that are not known are ignored."""
        kind = data.get("type") or name
        if kind == "message_start":
            # The output is not counted yet.
            usage = {**(data["message"].get("usage") or {}), "output_tokens": None}
            self.raw = {**data["message"], "usage": usage}
        elif kind == "content_block_start":
            self._begin(data["index"], data["content_block"])
        elif kind == "content_block_delta":
            self._continue(data["index"], data["delta"])
        elif kind == "message_delta":
            usage = data.get("usage") or {}
            counts = {key: value for key, value in usage.items() if value}
            self.raw["usage"] = {**(self.raw.get("usage") or {}), **counts}
            delta = data.get("delta") or {}
            self.raw |= {key: value for key, value in delta.items() if value is not None}
        elif kind == "message_stop":
            self._finish(self.raw)
            self.done = self.finish_reason is not None

    def _begin(self, index: int, block: Mapping[str, Any]) -> None:
        """Read the beginning of a block, or all of it."""
        # Gateways send null for what is empty, and leave it out.
        self._blocks[index] = block = {**block}
        kind = block.get("type")
        for key in _EMPTY.get(str(kind), ()):
            block[key] = block.get(key) or ""
        if kind == "text":
            self.add_text(block["text"])
            self.annotations += block.get("citations") or ()
        elif kind == "thinking":
            # Thoughts before and after a call are paragraphs.
            self.add_reasoning("\n\n" if self.reasoning else "")
            self.add_reasoning(block["thinking"])
        elif kind == "tool_use":
            arguments = block.get("input") or ""
            self.add_call(index, id=block["id"], name=block["name"], arguments=arguments)

    def _continue(self, index: int, delta: Mapping[str, Any]) -> None:
        """Read a piece of a block."""
        block = self._blocks[index]
        key = delta["type"].removesuffix("_delta").replace("input_json", "partial_json")
        if key == "citations":
            block[key] = [*(block.get(key) or ()), delta["citation"]]
            self.annotations.append(delta["citation"])
        elif key in _PIECES:
            self._pieces.setdefault((index, key), []).append(delta[key])
        if key == "text":
            self.add_text(delta[key])
        elif key == "thinking":
            self.add_reasoning(delta[key])
        elif key == "partial_json" and block.get("type") == "tool_use":
            self.add_call(index, arguments=delta[key])

    def _finish(self, data: dict[str, Any]) -> None:
        """Read why the message ended, and keep its blocks."""
        reason = data.get("stop_reason")
        self.finish_reason = None if reason is None else str(reason)
        for (index, key), pieces in self._pieces.items():
            block, text = self._blocks[index], "".join(pieces)
            block[key] = (block.get(key) or "") + text
            if key == "partial_json":
                block["input"] = ToolCall("", "", block.pop(key)).parsed
        data["content"] = [self._blocks[index] for index in sorted(self._blocks)]
        for block in data["content"]:
            if block.get("type") == "text":
                self.place_text(len(block["text"]))
            elif block.get("type") == "tool_use":
                self.place_call()
            else:
                self.keep(block)
