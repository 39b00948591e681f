"""Pydantic AI."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

Job = dict[str, Any]


def _agent(job: Job) -> tuple[Any, str, list[Any]]:
    from pydantic_ai import Agent
    from pydantic_ai import messages as parts
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    model = OpenAIChatModel(
        "test-model", provider=OpenAIProvider(base_url=job["base_url"], api_key="key")
    )
    history: list[Any] = []
    for said in job["messages"][:-1]:
        text = said["content"]
        if said["role"] == "assistant":
            history.append(parts.ModelResponse(parts=[parts.TextPart(text)]))
        else:
            kind = parts.SystemPromptPart if said["role"] == "system" else parts.UserPromptPart
            history.append(parts.ModelRequest(parts=[kind(text)]))
    return Agent(model), job["messages"][-1]["content"], history


def call(job: Job) -> Callable[[], str]:
    """Run an agent with ready messages."""
    agent, prompt, history = _agent(job)

    def once() -> str:
        return str(agent.run_sync(prompt, message_history=history).output)

    return once


def acall(job: Job) -> Callable[[], Awaitable[str]]:
    """As `call`, awaited."""
    agent, prompt, history = _agent(job)

    async def once() -> str:
        return str((await agent.run(prompt, message_history=history)).output)

    return once
