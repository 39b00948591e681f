"""The yardstick: the library's own server over stdio, whose prompt is `Runner.render`.

With ``once`` as argument, it renders without a server: it reads a number of times from each line
of standard input, and prints the seconds of CPU.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

from personakit import Runner

RUNNER = Runner()
TYPED = ("guests", "minutes", "topics")


def rendered(arguments: dict[str, str]) -> list[dict[str, Any]]:
    """Return the messages of the persona as MCP has them."""
    values: dict[str, Any] = {
        name: json.loads(text) if name in TYPED else text for name, text in arguments.items()
    }
    request = RUNNER.render("bench0", values.pop("input"), variables=values)
    return [
        {"role": "user", "content": {"type": "text", "text": message.text}}
        for message in request.messages
    ]


def once() -> None:
    for line in sys.stdin:
        command = json.loads(line)
        start = time.process_time()
        for number in range(command["times"]):
            arguments = {**command["arguments"], "minutes": str(command["first"] + number)}
            text = json.dumps({"messages": rendered(arguments)})
        print(json.dumps({"cpu": time.process_time() - start, "size": len(text)}), flush=True)


async def serve() -> None:
    import mcp_types as types
    from mcp.server import Server
    from mcp.server.stdio import stdio_server

    async def listed(_context: Any, _params: Any) -> types.ListPromptsResult:
        return types.ListPromptsResult(prompts=[types.Prompt(name="bench0")])

    async def got(_context: Any, params: Any) -> types.GetPromptResult:
        messages = [
            types.PromptMessage(
                role="user", content=types.TextContent(type="text", text=message["content"]["text"])
            )
            for message in rendered(params.arguments)
        ]
        return types.GetPromptResult(messages=messages)

    server = Server("bare", on_list_prompts=listed, on_get_prompt=got)
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


if __name__ == "__main__":
    if "once" in sys.argv:
        once()
    else:
        asyncio.run(serve())
