"""The tool loop: call the model and the tools it requests, until it answers."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from personakit.base import Emit, Noting, Suspending, TextTap, Unanswered, in_sync, scope
from personakit.errors import (
    BackendError,
    IncompleteAnswer,
    TooManyRounds,
    did_you_mean,
)
from personakit.hookspecs import Piece
from personakit.messages import Message, Request, Response, ToolCall, ToolResult
from personakit.pipeline.chain import Chain
from personakit.pipeline.inside import Inside, Layer
from personakit.pipeline.layers import BETWEEN, Watch
from personakit.tools import Tool, ToolFailed
from personakit.usage import Book, Charge, Timings, Usage

_CUT = {
    "length": "cut off at the token limit",
    "content_filter": "held back in part by the provider",
}


@dataclass(slots=True)
class ToolLoop:
    """The rounds of a run, each a model call and its tool calls.

    Attributes:
        chat: The layers around the model.
        around_tool: Returns the layers around a tool, given the function that calls it.
        limit: The most model calls.
        called: Called with each tool call, before it and with its result.
        tap: Records the times of the start and of the first text.
        book: What the run has paid.
        read: Parses a structured answer; None for plain text.
    """

    chat: Chain[Request, Response]
    around_tool: Callable[[Callable[..., Awaitable[ToolResult]]], Chain[ToolCall, ToolResult]]
    called: Callable[..., Awaitable[None]]
    tap: TextTap
    limit: int
    book: Book
    read: Callable[[Response], Response] | None = None
    _exchanged: list[Message] = field(default_factory=list, init=False)
    _texts: list[str] = field(default_factory=list, init=False)
    _thoughts: list[str] = field(default_factory=list, init=False)
    _rounds: list[Charge] = field(default_factory=list, init=False)
    _notes: dict[str, Any] = field(default_factory=dict, init=False)
    _round: tuple[Message, ...] = field(default=(), init=False)

    def anew(self, request: Request, emit: Emit | None) -> Awaitable[Response]:
        """Run rounds of their own: a `run` hook may send several times, also at the same time."""
        return dataclasses.replace(self, tap=TextTap()).run(request, emit)

    async def run(self, request: Request, emit: Emit | None) -> Response:
        """Return the answer, with the text of all rounds; or the calls of the caller's tools.

        Raises:
            IncompleteAnswer: An answer with tool calls is not whole; the calls are not run.
            TooManyRounds: The last allowed model call requested tools again.
        """
        first, emit = request, self.tap.through(emit)
        try:
            for number in range(1, self.limit + 1):
                later = self._later_round if self._texts or self._thoughts else self.chat.call
                response = await later(request, emit)
                if response.tool_calls or self._exchanged:
                    self._count(response)
                if response.tool_calls and response.finish_reason in _CUT:
                    raise self._cut(response, first)
                offered = (response.request or request).tools if response.tool_calls else ()
                if not offered:
                    whole = self._whole(response, first)
                    return whole if self.read is None else self.read(whole)
                tools = {tool.name: tool for tool in offered}
                if any(_is_callers(call, tools) for call in response.tool_calls):
                    return await self._left_to_caller(response, first, tools)
                if number == self.limit:
                    break
                results = await self._call(response.tool_calls, tools, response)
                added = (response.message, *map(_message, results))
                self._exchanged += added
                request = request.with_messages(*added)
        except Suspending as pause:
            pause.messages = (*self._exchanged, *self._round)
            pause.text = BETWEEN.join(self._texts)
            raise
        raise TooManyRounds(
            f"the model still calls tools after {self.limit} rounds; raise max_rounds, or write in "
            f"the system text when to stop",
            response=self._whole(response, first),
        )

    async def _left_to_caller(
        self, response: Response, request: Request, tools: dict[str, Tool]
    ) -> Response:
        """Run the run's own calls of a round, and return the response with the caller's."""
        calls = tuple(call for call in response.tool_calls if _is_callers(call, tools))
        own = tuple(call for call in response.tool_calls if call not in calls)
        results = await self._call(own, tools, response)
        whole = self._whole(response, request)
        return whole.replace(
            tool_calls=calls,
            tool_results=tuple(results),
            finish_reason="tool_calls",
            messages=(*whole.messages, *map(_message, results)),
        )

    async def _later_round(self, request: Request, emit: Emit | None) -> Response:
        try:
            return await self.chat.call(request, self._joined(emit))
        except BackendError as error:
            # The text of earlier rounds has been received, too.
            error.partial = BETWEEN.join(filter(None, (*self._texts, error.partial)))
            raise

    def _joined(self, emit: Emit | None) -> Emit | None:
        """Return an `emit` that separates the text and reasoning of a round from earlier ones."""
        if emit is None:
            return emit
        before = [BETWEEN] if self._texts else []
        unthought = [BETWEEN] if self._thoughts else []

        async def apart(text: str) -> None:
            await emit((before.pop() if before else "") + text)

        if not getattr(emit, "wanted", False):
            return apart
        outer: Any = emit

        async def note(piece: Piece) -> None:
            if piece.kind == "reasoning" and unthought:
                piece = piece.replace(text=unthought.pop() + piece.text)
            await outer.note(piece)

        return Noting(apart, note)

    def _count(self, response: Response) -> None:
        if response.text:
            self._texts.append(response.text)
        if response.reasoning:
            self._thoughts.append(response.reasoning)
        self._rounds.append(response._charges()[-1])
        self._notes = merged(self._notes, response.metadata)

    def _whole(self, response: Response, request: Request) -> Response:
        changes: dict[str, Any] = {
            "messages": (*self._exchanged, response.message),
            "request": response.request or request,
            "_asked": request,
            "_paid": tuple(itertools.chain.from_iterable(self.book.values())),
            "timings": Timings(
                self.tap.started, time.perf_counter() - self.tap.clock, self.tap.first_text
            ),
        }
        if self._exchanged:
            changes |= {
                "text": BETWEEN.join(self._texts), "reasoning": BETWEEN.join(self._thoughts),
                "usage": Usage.sum(each.usage for each in self._rounds), "cost": None,
                "_rounds": tuple(self._rounds), "parsed": response.parsed,
                "metadata": self._notes,
            }  # fmt: skip
        return response.replace(**changes)

    def _cut(self, response: Response, request: Request) -> IncompleteAnswer:
        """Return the error of an answer that ended within its tool calls."""
        names = ", ".join(call.name for call in response.tool_calls)
        sent, reason = response.request or request, response.finish_reason or ""
        limits = ("max_completion_tokens", "max_tokens")
        limit = next((name for name in limits if sent.parameters.get(name)), "")
        now = f" (now {sent.parameters[limit]})" if limit else ""
        advice = (
            f"raise {limit or 'max_tokens'}{now}" if reason == "length" else "rephrase the prompt"
        )
        return IncompleteAnswer(
            f"{sent.model}: the answer calls tools ({names[:200]}), which were not run: it was "
            f"{_CUT[reason]} (finish reason: {reason}); {advice}",
            partial=BETWEEN.join(self._texts),
            attempts=response.attempts,
            response=self._whole(response, request),
        )

    async def _call(
        self, calls: tuple[ToolCall, ...], tools: dict[str, Tool], response: Response
    ) -> list[ToolResult]:
        """Return the results of a round's calls, which run concurrently in the async API.

        Where one of them waits for a person, the others are called nevertheless.
        """
        outer, pauses = scope.get(), []
        places = [None if outer is None else outer.child() for _ in calls]

        async def one(call: ToolCall, place: Any) -> ToolResult | None:
            try:
                return await self._one(call, place, tools)
            except Suspending as pause:
                pauses.append(pause)
                return None

        if in_sync() or len(calls) < 2:
            results = [await one(*each) for each in zip(calls, places, strict=True)]
        else:
            import asyncio  # noqa: PLC0415

            try:
                async with asyncio.TaskGroup() as group:
                    pairs = zip(calls, places, strict=True)
                    tasks = [group.create_task(one(*each)) for each in pairs]
            except ExceptionGroup as errors:
                # Raise one error, as in the sync modes; the other calls were cancelled.
                raise errors.exceptions[0] from None
            results = [task.result() for task in tasks]
        done = [result for result in results if result is not None]
        if pauses:
            pending = zip(calls, results, strict=True)
            pauses[0].calls = pauses[0].calls or tuple(c for c, result in pending if result is None)
            self._round = (response.message, *map(_message, done))
            raise pauses[0]
        return done

    async def _one(self, call: ToolCall, place: Any, tools: dict[str, Tool]) -> ToolResult:
        # What was shown before the run was resumed is not shown again.
        if place is None or not place.had():
            await self.called("calling", call=call)
        chain = self.around_tool(lambda call, emit: call_tool(call, tools))
        token = scope.set(place)
        try:
            result = await chain.call(call)
        except Unanswered as error:
            advice = "do not call the tool again in this conversation"
            result = ToolResult(call.id, f"error: {error.reason}; {advice}", is_error=True)
        finally:
            scope.reset(token)
        if place is None or not place.had("tool"):
            await self.called("tool", call=call, result=result)
        return result


def merged(first: Mapping[str, Any], then: Mapping[str, Any]) -> dict[str, Any]:
    """Return the notes of two rounds as one.

    Mappings are merged by their keys, and lists without repetition; of other values, the later one
    counts.
    """
    result = dict(first)
    for name, value in then.items():
        old = result.get(name)
        result[name] = value
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            result[name] = merged(old, value)
        elif isinstance(old, list | tuple) and isinstance(value, list | tuple):
            result[name] = (*old, *(item for item in value if not _is_in(item, old)))
    return result


def _is_in(item: Any, items: Iterable[Any]) -> bool:
    try:
        return item in items
    except Exception:  # such as those of numpy, whose comparison is an array
        return False


def _is_callers(call: ToolCall, tools: dict[str, Tool]) -> bool:
    return call.name in tools and tools[call.name].function is None


def _message(result: ToolResult) -> Message:
    return Message("tool", result.content, tool_call_id=result.call_id)


async def call_tool(call: ToolCall, tools: dict[str, Tool]) -> ToolResult:
    """Call a tool, or return its result from before the run was resumed."""
    place = scope.get()
    if place is None:
        return await _result(call, tools)
    result: ToolResult = await place.tool(call, functools.partial(_result, call, tools))
    return result


async def _result(call: ToolCall, tools: dict[str, Tool]) -> ToolResult:
    """Call a tool; an error becomes a result for the model."""
    tool = tools.get(call.name)
    try:
        if tool is None:
            hint = did_you_mean(call.name, tools) or f" (available: {', '.join(tools) or 'none'})"
            raise ToolFailed(f"there is no tool {call.name!r}{hint}")
        return ToolResult(call.id, await tool.call(call.arguments))
    except ToolFailed as error:
        return ToolResult(call.id, f"error: {error}", is_error=True)


async def call_alone(
    call: ToolCall,
    tools: dict[str, Tool],
    layers: tuple[Layer, ...],
    persona: Any,
    watch: Watch,
    inside: Inside,
    _: None = None,
) -> ToolResult:
    """Call a tool outside a run, through the `tool` hooks of a persona's plugins."""

    async def end(call: ToolCall, emit: Emit | None) -> ToolResult:
        return await call_tool(call, tools)

    chain = Chain(layers, end, persona, ToolCall, ToolResult, watch, inside, hook="tool")
    await watch("calling", call=call)
    result = await chain.call(call)
    await watch("tool", call=call, result=result)
    return result
