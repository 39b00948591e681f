"""Semantic Kernel; all of it is async."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

Job = dict[str, Any]


def render(job: Job) -> Callable[[], Awaitable[str]]:
    """Render a Jinja2 prompt template that is made once."""
    from semantic_kernel import Kernel
    from semantic_kernel.functions import KernelArguments
    from semantic_kernel.prompt_template import Jinja2PromptTemplate, PromptTemplateConfig

    config = PromptTemplateConfig(
        template=job["template"], template_format="jinja2", allow_dangerously_set_content=True
    )
    template = Jinja2PromptTemplate(
        prompt_template_config=config, allow_dangerously_set_content=True
    )
    kernel, fresh = Kernel(), job["fresh"]

    async def once() -> str:
        return str(await template.render(kernel, KernelArguments(**fresh())))

    return once


def acall(job: Job) -> Callable[[], Awaitable[str]]:
    """Call a chat service with ready messages."""
    from openai import AsyncOpenAI
    from semantic_kernel.connectors.ai.open_ai import (
        OpenAIChatCompletion,
        OpenAIChatPromptExecutionSettings,
    )
    from semantic_kernel.contents import ChatHistory

    client = AsyncOpenAI(base_url=job["base_url"], api_key="key")
    service = OpenAIChatCompletion(ai_model_id="test-model", async_client=client)
    history, settings = ChatHistory(), OpenAIChatPromptExecutionSettings()
    for said in job["messages"]:
        history.add_message(said)

    async def once() -> str:
        return str(await service.get_chat_message_content(history, settings))

    return once
