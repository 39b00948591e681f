"""LiteLLM."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

Job = dict[str, Any]


def _arguments(job: Job) -> dict[str, Any]:
    return {
        "model": "openai/test-model",
        "messages": job["messages"],
        "api_base": job["base_url"],
        "api_key": "key",
    }


def call(job: Job) -> Callable[[], str]:
    """Call with ready messages."""
    import litellm

    arguments = _arguments(job)

    def once() -> str:
        return str(litellm.completion(**arguments).choices[0].message.content)

    return once


def acall(job: Job) -> Callable[[], Awaitable[str]]:
    """As `call`, awaited."""
    import litellm

    arguments = _arguments(job)

    async def once() -> str:
        return str((await litellm.acompletion(**arguments)).choices[0].message.content)

    return once
