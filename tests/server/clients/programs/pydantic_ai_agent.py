"""pydantic-ai: `pydantic_ai_agent.py BASE_URL TOKEN SCENARIO` prints what its user sees."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from pydantic import BaseModel
from pydantic_ai import Agent, NativeOutput, ToolOutput
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

BASE_URL, TOKEN, SCENARIO = sys.argv[1:]


class Rating(BaseModel):
    """A rated dish."""

    dish: str
    stars: int


def agent(model: str, **options: Any) -> Any:
    provider = OpenAIProvider(base_url=BASE_URL, api_key=TOKEN)
    return Agent(OpenAIChatModel(model, provider=provider), **options)


def weather(city: str) -> str:
    """Return the weather of a city."""
    return f"{city}: sun"


def run() -> Any:
    settings = {"temperature": 0.9, "extra_body": {"variables": {"language": "French"}}}
    done = agent("greeter", instructions="Be brief.").run_sync("Zoë", model_settings=settings)
    return {"text": done.output, "output_tokens": done.usage.output_tokens}


def native() -> Any:
    return agent("plain", output_type=NativeOutput(Rating)).run_sync("Soup?").output.model_dump()


def tool_output() -> Any:
    return agent("plain", output_type=ToolOutput(Rating)).run_sync("Soup?").output.model_dump()


def tools() -> Any:
    done = agent("plain", tools=[weather]).run_sync("Lyon?")
    return {"text": done.output, "requests": done.usage.requests}


def stream() -> Any:
    async def main() -> Any:
        async with agent("plain").run_stream("Hi") as reply:
            pieces = [piece async for piece in reply.stream_text(delta=True, debounce_by=None)]
        return {"pieces": pieces, "output_tokens": reply.usage.output_tokens}

    return asyncio.run(main())


def stream_tools() -> Any:
    async def main() -> Any:
        async with agent("plain", tools=[weather]).run_stream("Lyon?") as reply:
            return {"text": await reply.get_output(), "requests": reply.usage.requests}

    return asyncio.run(main())


if __name__ == "__main__":
    sys.stdout.write(json.dumps(globals()[SCENARIO](), default=str))
