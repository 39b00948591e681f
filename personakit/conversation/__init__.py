"""Conversations: turns, their history, and how to save and resume it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from personakit.base import door

if TYPE_CHECKING:
    from personakit.conversation import transcript as transcript
    from personakit.conversation.conversation import Conversation as Conversation
    from personakit.conversation.length import newest as newest
    from personakit.conversation.resuming import persona_of as persona_of
    from personakit.conversation.resuming import resume as resume
    from personakit.conversation.turns import Said as Said
else:
    __getattr__, __dir__, __all__ = door(
        __name__,
        {
            "conversation": "Conversation",
            "length": "newest",
            "resuming": "persona_of resume",
            "turns": "Said",
        },
        modules="transcript",
    )
