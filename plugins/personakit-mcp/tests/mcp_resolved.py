"""Tools of a server of `mcp` 2.x that ask for input, in the way of each protocol version."""

from typing import Annotated, Any

from mcp.server.elicitation import AcceptedElicitation, ElicitationResult
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.resolve import Elicit, Resolve
from mcp_types import (
    CallToolResult,
    CreateMessageRequest,
    CreateMessageRequestParams,
    ElicitRequest,
    ElicitRequestURLParams,
    InputRequiredResult,
    TextContent,
)


def register(server: Any, form: type[Any]) -> None:
    def ask_for_it() -> Elicit[Any]:
        return Elicit("Which day?", form)

    async def book(answer: Any) -> str:
        return (
            str(answer.data.model_dump())
            if isinstance(answer, AcceptedElicitation)
            else str(answer.action)
        )

    # The type is an argument, so it cannot be written in the signature.
    result: Any = ElicitationResult
    book.__annotations__["answer"] = Annotated[result[form], Resolve(ask_for_it)]

    async def again(ctx: Context) -> CallToolResult | InputRequiredResult:
        """Ask for nothing but to be called again."""
        if ctx.request_state is None:
            return InputRequiredResult(request_state="one")
        return CallToolResult(content=[TextContent(text=f"state {ctx.request_state}")])

    async def sample(ctx: Context) -> CallToolResult | InputRequiredResult:
        """Ask for what the client does not have."""
        params = CreateMessageRequestParams(messages=[], max_tokens=1)
        return InputRequiredResult(input_requests={"a": CreateMessageRequest(params=params)})

    calls = 0

    async def visit(ctx: Context) -> CallToolResult | InputRequiredResult:
        """Ask for a visit of a page; tell how often it was called since then."""
        nonlocal calls
        calls += 1
        if ctx.input_responses is None:
            params = ElicitRequestURLParams(message="Sign in", url="https://example.com/in")
            requests: Any = {"a": ElicitRequest(params=params)}
            return InputRequiredResult(input_requests=requests, request_state=str(calls))
        action = getattr(ctx.input_responses["a"], "action", "")
        since = calls - int(ctx.request_state or 0) + 1
        return CallToolResult(content=[TextContent(text=f"{action} after {since} calls")])

    for tool in (book, again, sample, visit):
        server.add_tool(tool)
