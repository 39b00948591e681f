"""Calls of a tool, in the run that makes them: there a server can ask the user for input."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

import mcp_types as types

import personakit
from personakit_mcp.client import forms
from personakit_mcp.client.process import session, submit
from personakit_mcp.client.results import ToolError, text_of
from personakit_mcp.client.servers import Server
from personakit_mcp.client.sessions import Session

T = TypeVar("T")
_ROUNDS = 20
_PAUSE = 0.25
"""Seconds before a call is repeated whose server asks for nothing but that."""

# A step of a call: the answers to the requests of the last one and its state, to what came of it.
# It is `{"text": …}`, or `{"requests": {key: …}, "state": …}` if the server asks for input: plain
# data, so that a resumed run does not call the tool again.
_Step = Callable[[dict[str, Any] | None, str | None], Awaitable[dict[str, Any]]]


async def called(server: Server, tool: str, arguments: dict[str, Any], seconds: float) -> str:
    """Call a tool and return its result as text.

    Args:
        server: The server.
        tool: The tool's name there.
        arguments: The arguments, as JSON types.
        seconds: The most that the server may take, in all; the user may take longer.

    Raises:
        ServerError: The server stopped during the call, or cannot be restarted.
        ToolError: The tool failed, or asked for what the client does not have.
        TimeoutError: The call took too long; it is cancelled.
        Blocked: The server asked for input, nobody answers, and the run shall be refused then.
    """
    home, clock = session(server), _Clock(seconds)
    is_modern = await asyncio.wrap_future(clock.timed(home.is_modern()))
    if is_modern:
        step = _recorded(home, tool, arguments, clock)
        return await _answered(server.name, step)
    live = _Live(home, tool, arguments)

    async def go_on(replies: dict[str, Any] | None, _: str | None) -> dict[str, Any]:
        return await asyncio.wrap_future(clock.timed(live.step(replies)))

    try:
        return await _answered(server.name, go_on)
    finally:
        submit(live.stop())


async def _answered(server: str, step: _Step) -> str:
    outcome = await step(None, None)
    for _ in range(_ROUNDS):
        if "text" in outcome:
            return str(outcome["text"])
        replies = {}
        for key, request in outcome["requests"].items():
            if request["method"] != "elicitation/create":
                raise ToolError(f"the server asked for {request['method']}, which is not supported")
            replies[key] = await forms.answered(server, request["params"])
        if not replies:
            await personakit.sleep(_PAUSE)
        outcome = await step(replies, outcome["state"])
    raise ToolError(f"the server asked for input more than {_ROUNDS} times")


def _recorded(home: Session, tool: str, arguments: dict[str, Any], clock: _Clock) -> _Step:
    """Return the steps of a call in which each is a request of its own, and is not repeated."""

    async def step(replies: Mapping[str, Any], state: str | None) -> dict[str, Any]:
        responses: types.InputResponses = {
            key: types.ElicitResult.model_validate(one) for key, one in replies.items()
        }
        result = await home.call(tool, arguments, responses=responses, state=state)
        if isinstance(result, types.CallToolResult):
            return {"text": text_of(result)}
        wire = result.model_dump(mode="json", by_alias=True, exclude_none=True)
        return {"requests": wire.get("inputRequests", {}), "state": wire.get("requestState")}

    def begin(replies: dict[str, Any] | None, state: str | None) -> Future[dict[str, Any]]:
        return clock.timed(step(replies or {}, state))

    def call_tool(replies: dict[str, Any] | None, state: str | None) -> dict[str, Any]:
        return begin(replies, state).result()

    async def acall_tool(replies: dict[str, Any] | None, state: str | None) -> dict[str, Any]:
        return await asyncio.wrap_future(begin(replies, state))

    return personakit.io(call_tool, acall_tool)


class _Live:
    """A call that stays open while the user is asked, in the event loop of the sessions."""

    def __init__(self, home: Session, tool: str, arguments: dict[str, Any]) -> None:
        self._home, self._tool, self._arguments = home, tool, arguments
        self._questions: asyncio.Queue[tuple[dict[str, Any], asyncio.Future[dict[str, Any]]]]
        self._task: asyncio.Task[str] | None = None
        self._reply: asyncio.Future[dict[str, Any]] | None = None

    async def step(self, replies: dict[str, Any] | None) -> dict[str, Any]:
        """Begin the call, or answer its question; return its next question, or its result."""
        if self._task is None:
            self._questions = asyncio.Queue()
            self._task = asyncio.create_task(self._call())
        elif self._reply is not None and replies and not self._reply.done():
            self._reply.set_result(replies[""])
        asked = asyncio.create_task(self._questions.get())
        try:
            await asyncio.wait({asked, self._task}, return_when=asyncio.FIRST_COMPLETED)
            if self._task.done():
                return {"text": self._task.result()}
            params, self._reply = asked.result()
        finally:
            asked.cancel()
        return {"requests": {"": {"method": "elicitation/create", "params": params}}, "state": None}

    async def stop(self) -> None:
        """Cancel the call if it has not ended."""
        if self._task is not None:
            self._task.cancel()
        if self._reply is not None and not self._reply.done():
            self._reply.set_result({"action": "cancel"})

    async def _call(self) -> str:
        result = await self._home.call(self._tool, self._arguments, ask=self._ask)
        assert isinstance(result, types.CallToolResult)
        return text_of(result)

    async def _ask(self, params: types.ElicitRequestParams) -> types.ElicitResult:
        reply: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        wire = params.model_dump(mode="json", by_alias=True, exclude_none=True)
        self._questions.put_nowait((wire, reply))
        return types.ElicitResult.model_validate(await reply)


@dataclass(slots=True)
class _Clock:
    """The time that a server has for a call; the user's time is not counted.

    Attributes:
        seconds: The seconds in all.
        used: The seconds of the steps so far.
    """

    seconds: float
    used: float = 0.0

    def timed(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Run a step in the event loop of the sessions, which cancels it when it takes too long."""
        left = self.seconds - self.used
        run = personakit.time_left()
        return submit(self._limited(work, left if run is None else min(left, run)))

    async def _limited(self, work: Coroutine[Any, Any, T], seconds: float) -> T:
        begun = time.monotonic()
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                return await work
        except TimeoutError:
            if not limit.expired():
                raise
            raise TimeoutError(f"the call did not end within {self.seconds:g} s") from None
        finally:
            self.used += time.monotonic() - begun
