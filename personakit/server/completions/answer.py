"""Answers in the shape of chat completions, whole and as chunks of a stream.

The shapes are those of https://platform.openai.com/docs/api-reference/chat; `reasoning_content` is
what vLLM, Open WebUI and LibreChat use for thoughts.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from personakit.frozen import thaw
from personakit.hookspecs import Piece
from personakit.messages import Response, ToolCall
from personakit.server.completions.tools import Offered
from personakit.server.http import dumped
from personakit.usage import Usage

DONE = b"data: [DONE]\n\n"
_quoted = json.encoder.encode_basestring_ascii


def usage_of(usage: Usage | None, cost: float | None) -> dict[str, Any] | None:
    """Return tokens as OpenAI's API has them, and the cost in US dollars; None if unknown."""
    if usage is None:
        return None
    details = {"cached_tokens": usage.cached_tokens}
    written: dict[str, Any] = {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": details,
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }
    if cost is not None:
        written["cost"] = cost
    return written


def whole(
    identity: str,
    model: str,
    text: str,
    calls: Sequence[Mapping[str, Any]],
    response: Response[Any] | None,
    usage: dict[str, Any] | None,
) -> dict[str, Any]:
    """Return a chat completion.

    Args:
        identity: The id of the run.
        model: The model, as the client named it.
        text: The text of the answer.
        calls: The tool calls for the client.
        response: The answer; None for a run that waits for a person.
        usage: The tokens.
    """
    message: dict[str, Any] = {"role": "assistant", "content": text or (None if calls else "")}
    message["refusal"] = None
    reason, logprobs = "tool_calls", None
    if calls:
        message["tool_calls"] = list(calls)
    if response is not None:
        reason = reason if calls else response.finish_reason or "stop"
        logprobs = _logprobs(response)
        if response.reasoning:
            message["reasoning_content"] = response.reasoning
        if response.annotations:
            message["annotations"] = [thaw(each) for each in response.annotations]
    choice = {"index": 0, "message": message, "logprobs": logprobs, "finish_reason": reason}
    made = {
        "id": f"chatcmpl-{identity}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": [choice],
    }
    return made if usage is None else {**made, "usage": usage}


def _logprobs(response: Response[Any]) -> Any:
    choices = response.raw.get("choices")
    first = choices[0] if isinstance(choices, tuple | list) and choices else None
    return thaw(first.get("logprobs")) if isinstance(first, Mapping) else None


class Chunks:
    """The chunks of a streamed chat completion.

    Args:
        identity: The id of the run.
        model: The model, as the client named it.
        tools: The client's tools; calls of others are not shown.

    Attributes:
        begun: Whether there was a chunk.
    """

    def __init__(self, identity: str, model: str, tools: Offered) -> None:
        self._id, self._tools = identity, tools
        self._names = tools.names
        head = {
            "id": f"chatcmpl-{identity}",
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": model,
        }
        self._head = b"data: " + dumped(head)[:-1]
        self._text = self._head + b',"choices":[{"index":0,"delta":{"content":'
        self._after = b'},"logprobs":null,"finish_reason":null}]}\n\n'
        self._indexes: dict[str, int] = {}
        self.begun = False

    def of(self, piece: Piece) -> bytes:
        """Return the chunk of a piece; empty if it is not for the client."""
        if piece.kind == "text":
            if not piece.text:
                return b""
            data = b"".join((self._text, _quoted(piece.text).encode(), self._after))
            return data if self.begun else self._role() + data
        if piece.kind == "reasoning":
            return self._delta({"reasoning_content": piece.text}) if piece.text else b""
        if piece.kind == "tool_call":
            return self._call(piece)
        if piece.kind == "annotation":
            return self._delta({"annotations": [thaw(piece.annotation)]})
        return b""

    def end(self, calls: Sequence[ToolCall], reason: str) -> bytes:
        """Return the chunks at the end of the answer.

        Args:
            calls: All tool calls for the client; those that no piece had are in a chunk now.
            reason: The finish reason.
        """
        late = b"".join(self._late(call) for call in calls if call.id not in self._indexes)
        choice = {"index": 0, "delta": {}, "logprobs": None, "finish_reason": reason}
        return (b"" if self.begun else self._role()) + late + self._chunk([choice])

    def asked(self, calls: Sequence[Mapping[str, Any]]) -> bytes:
        """Return the chunk of calls that are not those of the model."""
        start = len(self._indexes)
        listed = [{"index": start + number, **call} for number, call in enumerate(calls)]
        return self._delta({"tool_calls": listed})

    @property
    def calls(self) -> list[str]:
        """The ids of the model's calls, by their numbers for the client."""
        return list(self._indexes)

    def usage(self, usage: dict[str, Any] | None) -> bytes:
        """Return the chunk of the tokens, which has no choices."""
        return self._chunk([], usage=usage)

    def identity(self, call: str) -> str:
        """Return the id of a call for the client, and number the call."""
        number = self._indexes.setdefault(call, len(self._indexes))
        return call_id(self._id, number)

    def _call(self, piece: Piece) -> bytes:
        tools = self._tools
        if piece.name not in self._names or piece.name in tools.custom or tools.approves:
            # The server's own; or one whose input is only known at its end; or one of a round that
            # may be suspended by a question, which asks for it again when it goes on.
            return b""
        is_new = piece.id not in self._indexes
        identity = self.identity(piece.id)
        made: dict[str, Any] = {"index": self._indexes[piece.id]}
        if is_new:
            made |= {"id": identity, "type": "function"}
            made["function"] = {"name": piece.name, "arguments": piece.arguments}
        elif not piece.arguments:
            return b""
        else:
            made["function"] = {"arguments": piece.arguments}
        return self._delta({"tool_calls": [made]})

    def _late(self, call: ToolCall) -> bytes:
        identity = self.identity(call.id)
        made = self._tools.as_call(identity, call.name, call.arguments)
        return self._delta({"tool_calls": [{"index": self._indexes[call.id], **made}]})

    def _role(self) -> bytes:
        self.begun = True
        return self._delta({"role": "assistant", "content": ""})

    def _delta(self, delta: dict[str, Any]) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}
        return (b"" if self.begun else self._role()) + self._chunk([choice])

    def _chunk(self, choices: list[Any], **more: Any) -> bytes:
        return self._head + b"," + dumped({"choices": choices, **more})[1:] + b"\n\n"


def call_id(identity: str, number: int, kind: str = "pkr") -> str:
    """Return the id of a tool call for the client, by which its run is found again."""
    return f"{kind}_{identity}_{number}"
