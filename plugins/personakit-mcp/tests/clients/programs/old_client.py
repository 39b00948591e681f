# mypy: ignore-errors
# The types are those of version 2, which the tests have installed.
"""The client of `mcp` 1.x: `old_client.py JOB SCENARIO` prints what its user sees."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from mcp import ClientSession, McpError, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamablehttp_client
from mcp.types import ElicitResult, PromptReference

JOB, SCENARIO = json.loads(sys.argv[1]), sys.argv[2]


async def answered(_context: Any, params: Any) -> ElicitResult:
    values = dict.fromkeys(params.requestedSchema["properties"], "French")
    return ElicitResult(action="accept", content=values)


@asynccontextmanager
async def connected(**options: Any) -> AsyncIterator[Any]:
    if "url" in JOB:
        transport: Any = streamablehttp_client(JOB["url"], headers=JOB.get("headers"))
    else:
        transport = stdio_client(StdioServerParameters(**JOB))
    async with transport as streams, ClientSession(*streams[:2], **options) as session:
        started = await session.initialize()
        session.started = started  # type: ignore[attr-defined]
        yield session


async def prompts() -> Any:
    async with connected() as session:
        listed = (await session.list_prompts()).prompts
        values = {"language": "French", "input": "Zoë"}
        rendered = await session.get_prompt("greeter", values)
        asked = PromptReference(type="ref/prompt", name="greeter")
        done = await session.complete(asked, {"name": "language", "value": "F"})
        return {
            "version": session.started.protocolVersion,
            "names": [one.name for one in listed],
            "arguments": [
                [one.name, one.required]
                for prompt in listed
                if prompt.name == "greeter"
                for one in prompt.arguments
            ],
            "messages": [[one.role, one.content.text] for one in rendered.messages],
            "completed": done.completion.values,
        }


async def missing() -> Any:
    async with connected() as session:
        try:
            await session.get_prompt("greeter", {"input": "Zoë"})
        except McpError as error:
            return {"code": error.error.code, "message": error.error.message}
    return None


async def tools() -> Any:
    steps: list[Any] = []

    async def progress(done: float, _total: float | None, message: str | None) -> None:
        steps.append([done, message])

    async with connected() as session:
        listed = (await session.list_tools()).tools
        values = {"language": "French", "input": "Zoë"}
        called = await session.call_tool("greeter", values, progress_callback=progress)
        rated = await session.call_tool("judge", {"input": "soup"})
        return {
            "names": [one.name for one in listed],
            "text": called.content[0].text,
            "steps": steps,
            "structured": rated.structuredContent,
        }


async def wrong() -> Any:
    async with connected() as session:
        called = await session.call_tool("greeter", {"language": "Klingon"})
        return {"is_error": called.isError, "text": called.content[0].text}


async def asked() -> Any:
    async with connected(elicitation_callback=answered) as session:
        called = await session.call_tool("greeter", {"input": "Zoë"})
        return {"is_error": called.isError, "text": called.content[0].text}


async def resources() -> Any:
    async with connected() as session:
        listed = (await session.list_resources()).resources
        read = await session.read_resource("persona://greeter")
        return {"uris": [str(one.uri) for one in listed], "text": read.contents[0].text}


sys.stdout.write(json.dumps(asyncio.run(globals()[SCENARIO]())))
