"""The yardstick: the library's own server over stdio, whose prompt is `Runner.render`.

With ``once`` or ``handler`` as argument, it has no server: it renders by itself, or lets the
handler of personakit do it, a number of times for each line of standard input, and prints the
seconds of CPU.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
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


async def once(arguments: dict[str, str]) -> dict[str, Any]:
    return {"messages": rendered(arguments)}


async def loop(
    answer: Callable[[Any], Awaitable[dict[str, Any]]], make: Callable[..., Any]
) -> None:
    """Answer as often as standard input asks for.

    Args:
        answer: Answers a request.
        make: Makes the request from the arguments, which takes no part.
    """
    for line in sys.stdin:
        command = json.loads(line)
        numbers = range(command["first"], command["first"] + command["times"])
        every = [make({**command["arguments"], "minutes": str(number)}) for number in numbers]
        start = time.process_time()
        for request in every:
            text = json.dumps(await answer(request))
        print(json.dumps({"cpu": time.process_time() - start, "size": len(text)}), flush=True)


async def handler() -> None:
    """Let the handler of ``prompts/get`` in `personakit mcp` answer."""
    import mcp_types as types
    from personakit_mcp.serving import Serving
    from personakit_mcp.serving.prompts import Prompts

    prompts = Prompts(Serving(RUNNER))

    def make(arguments: dict[str, str]) -> types.GetPromptRequestParams:
        return types.GetPromptRequestParams(name="bench0", arguments=arguments)

    # The context says who asks, which does not matter here.
    await loop(lambda params: prompts.get(None, params), make)


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
    if sys.argv[1:]:
        asyncio.run(loop(once, dict) if sys.argv[1] == "once" else handler())
    else:
        asyncio.run(serve())
