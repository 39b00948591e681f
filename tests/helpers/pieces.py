"""What the tests of pieces share."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from personakit import Piece, Response, Runner, ToolCall, Usage
from personakit.testing import persona


@dataclass
class Assembled:
    """What pieces are together."""

    text: str = ""
    reasoning: str = ""
    calls: list[ToolCall] = field(default_factory=list)
    annotations: list[Mapping[str, Any]] = field(default_factory=list)
    usages: list[Usage] = field(default_factory=list)


def assembled(pieces: list[Piece]) -> Assembled:
    """Put pieces together, as a reader does who knows only the attributes of `Piece`."""
    found, calls = Assembled(), dict[str, ToolCall]()
    for piece in pieces:
        if piece.kind == "text":
            found.text += piece.text
        elif piece.kind == "reasoning":
            found.reasoning += piece.text
        elif piece.kind == "tool_call":
            call = calls.get(piece.id) or ToolCall(piece.id, piece.name, "")
            assert call.name == piece.name
            calls[piece.id] = call.replace(arguments=call.arguments + piece.arguments)
        elif piece.kind == "annotation" and piece.annotation is not None:
            found.annotations.append(piece.annotation)
        elif piece.usage is not None:
            found.usages.append(piece.usage)
    found.calls = list(calls.values())
    return found


def read_pieces(running: Runner, is_async: bool, **options: Any) -> tuple[list[Piece], Response]:
    """Return the pieces of a run, and its response."""
    if not is_async:
        stream = running.stream(persona(), "Hi!", **options)
        return list(stream.pieces()), stream.response

    async def read() -> tuple[list[Piece], Response]:
        stream = running.astream(persona(), "Hi!", **options)
        return [piece async for piece in stream.pieces()], stream.response

    return asyncio.run(read())
