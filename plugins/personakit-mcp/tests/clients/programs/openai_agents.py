"""The client of the OpenAI Agents SDK: `openai_agents.py JOB SCENARIO` prints what it gets."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from agents.mcp import MCPServerStdio, MCPServerStreamableHttp

JOB, SCENARIO = json.loads(sys.argv[1]), sys.argv[2]


def server() -> Any:
    kind: Any = MCPServerStreamableHttp if "url" in JOB else MCPServerStdio
    return kind(params=JOB, client_session_timeout_seconds=60)


async def prompts() -> Any:
    async with server() as connected:
        listed = await connected.list_prompts()
        values = {"language": "French", "input": "Zoë"}
        rendered = await connected.get_prompt("greeter", values)
        return {
            "names": [one.name for one in listed.prompts],
            "messages": [[one.role, one.content.text] for one in rendered.messages],
        }


async def tools() -> Any:
    async with server() as connected:
        listed = await connected.list_tools()
        called = await connected.call_tool("greeter", {"language": "French", "input": "Zoë"})
        return {"names": [one.name for one in listed], "text": called.content[0].text}


sys.stdout.write(json.dumps(asyncio.run(globals()[SCENARIO]())))
