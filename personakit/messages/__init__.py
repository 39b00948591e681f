"""The values of a run: messages, requests, responses and tool calls, all immutable."""

from __future__ import annotations

from typing import TYPE_CHECKING

from personakit.base import door

if TYPE_CHECKING:
    from personakit.messages.message import Message as Message
    from personakit.messages.message import Role as Role
    from personakit.messages.message import ToolCall as ToolCall
    from personakit.messages.message import ToolResult as ToolResult
    from personakit.messages.request import Request as Request
    from personakit.messages.response import Response as Response
else:
    __getattr__, __dir__, __all__ = door(
        __name__,
        {
            "message": "Message Role ToolCall ToolResult",
            "request": "Request",
            "response": "Response",
        },
    )
