"""Haystack."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Job = dict[str, Any]


def render(job: Job) -> Callable[[], str]:
    """Run a builder of chat messages that is made once."""
    from haystack.components.builders import ChatPromptBuilder
    from haystack.dataclasses import ChatMessage

    said = [ChatMessage.from_system(job["template"]), ChatMessage.from_user(job["prompt"])]
    builder, fresh = ChatPromptBuilder(template=said, required_variables="*"), job["fresh"]

    def once() -> str:
        return str(builder.run(**fresh())["prompt"][0].text)

    return once


def call(job: Job) -> Callable[[], str]:
    """Run a chat generator with ready messages."""
    from haystack.components.generators.chat import OpenAIChatGenerator
    from haystack.dataclasses import ChatMessage
    from haystack.utils import Secret

    generator = OpenAIChatGenerator(
        api_key=Secret.from_token("key"), model="test-model", api_base_url=job["base_url"]
    )
    made = {
        "system": ChatMessage.from_system,
        "user": ChatMessage.from_user,
        "assistant": ChatMessage.from_assistant,
    }
    messages = [made[said["role"]](said["content"]) for said in job["messages"]]

    def once() -> str:
        return str(generator.run(messages=messages)["replies"][0].text)

    return once
