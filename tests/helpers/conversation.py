"""What the tests of conversation share."""

from __future__ import annotations

import asyncio
from typing import Any

from personakit import (
    Conversation,
    Message,
    Persona,
    Response,
)
from personakit.testing import Answer, Upstream, runner

CHEF = Persona.parse(
    """
name: chef
system: Act as {{ cook }}.
variables: {cook: Florent}
messages:
  - user: What is in season?
  - assistant: Kale.
prompt: "Guest: {{ input }}"
"""
)


def say(conversation: Conversation, mode: str, prompt: Any = None, **options: Any) -> Response:
    """Take a turn in one of the four ways."""
    if mode == "run":
        return conversation.run(prompt, **options)
    if mode == "arun":
        return asyncio.run(conversation.arun(prompt, **options))
    response: Response
    if mode == "stream":
        stream = conversation.stream(prompt, **options)
        text, response = "".join(stream), stream.response
    else:
        astream = conversation.astream(prompt, **options)

        async def read() -> str:
            return "".join([piece async for piece in astream])

        text, response = asyncio.run(read()), astream.response
    assert text == response.text
    return response


def talk(
    answers: list[Answer], persona: Persona = CHEF, **setup: Any
) -> tuple[Conversation, Upstream]:
    running, upstream = runner(answers)
    return running.conversation(persona, **setup), upstream


def shown(messages: Any) -> list[tuple[str, str]]:
    return [(message.role, message.text) for message in messages]


def keeping(keep: int) -> Persona:
    return Persona.parse(f"system: x\nhistory: {{keep: {keep}}}\n")


def past(turns: int) -> list[Message]:
    return [Message(r, f"{r} {n}") for n in range(turns) for r in ("user", "assistant")]
