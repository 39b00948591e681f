"""LangChain's adapter: `langchain_tools.py JOB SCENARIO` prints what its user sees."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from langchain_mcp_adapters.client import MultiServerMCPClient

JOB, SCENARIO = json.loads(sys.argv[1]), sys.argv[2]
TRANSPORT = "streamable_http" if "url" in JOB else "stdio"


async def prompts() -> Any:
    client = MultiServerMCPClient({"personakit": {"transport": TRANSPORT, **JOB}})
    values = {"language": "French", "input": "Zoë"}
    messages = await client.get_prompt("personakit", "greeter", arguments=values)
    return [[one.type, one.content] for one in messages]


async def tools() -> Any:
    client = MultiServerMCPClient({"personakit": {"transport": TRANSPORT, **JOB}})
    tools = {tool.name: tool for tool in await client.get_tools()}
    answer = await tools["greeter"].ainvoke({"language": "French", "input": "Zoë"})
    text = answer if isinstance(answer, str) else answer[0]["text"]
    return {"names": sorted(tools), "arguments": sorted(tools["greeter"].args), "text": text}


sys.stdout.write(json.dumps(asyncio.run(globals()[SCENARIO]())))
