"""The reply to a client that wants a stream."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from personakit.errors import PersonakitError, RunError
from personakit.journal import Suspended
from personakit.pipeline import BETWEEN
from personakit.server.completions import answer
from personakit.server.completions.run import Run
from personakit.server.errors import refusal
from personakit.server.http import Exchange, Refusal, event


class Streaming:
    """The reply to a client that wants a stream.

    Attributes:
        first: When the first event was written, on the clock of `time.perf_counter`; None if there
            was none.
    """

    def __init__(self, exchange: Exchange, run: Run) -> None:
        self._exchange, self._run = exchange, run
        self._chunks = answer.Chunks(run.id, run.asked.model, run.asked.tools)
        self._events = exchange.events()
        self.first: float | None = None

    async def reply(self, runner: Any) -> Any:
        """Send the events of the run, and return its response.

        Raises:
            PersonakitError: The run failed. If the reply had begun, it has ended with an event that
                says so; otherwise nothing was sent.
        """
        try:
            response = await self._streamed(runner)
        except PersonakitError as error:
            await self._failed(error)
            raise
        except asyncio.CancelledError:
            task: Any = asyncio.current_task()
            if self._exchange.gone or task.cancelling():
                await self._stopped()
            else:  # a task that was waited for was cancelled, such as one of a plugin
                await self._failed(RunError("the server failed"))
            raise
        except Exception:
            await self._failed(RunError("the server failed"))
            raise
        await self._events.end()
        return response

    async def _streamed(self, runner: Any) -> Any:
        run, events, chunks = self._run, self._events, self._chunks
        resumed = bool(run.before)
        async with runner.astream(run.persona, run.prompt, **run.options) as stream:
            async for given in stream.pieces():
                piece = given
                if resumed and piece.kind == "text":
                    piece, resumed = piece.replace(text=piece.text.removeprefix(BETWEEN)), False
                if data := chunks.of(piece):
                    if self.first is None:
                        self.first = time.perf_counter()
                    await events.write(data)
            response = stream.response
        if isinstance(response, Suspended):
            questions = await run.keep(response, ())
            data = chunks.asked(questions) + chunks.end((), "tool_calls")
        else:
            calls = response.tool_calls
            reason = "tool_calls" if calls else response.finish_reason or "stop"
            data = chunks.end(calls, reason)
            await run.keep(response, chunks.calls)
        if run.asked.usage:
            data += chunks.usage(run.usage(response))
        await events.write(data + answer.DONE)
        return response

    async def _failed(self, error: PersonakitError) -> None:
        """End the reply if it has begun: after a guard's refusal as OpenAI does, else by an error.

        Without ``[DONE]``, clients know that the answer is not whole.
        """
        if not (self._chunks.begun or self._exchange.begun):
            await self._events.abort()
        elif (found := refusal(error)).code == "content_filter":
            await self._events.write(self._chunks.end((), "content_filter") + answer.DONE)
            await self._events.end()
        else:
            await self._broken(found)

    async def _stopped(self) -> None:
        """End the reply of a run that was cancelled: the client left, or the server stops."""
        exchange = self._exchange
        if exchange.gone or not (self._chunks.begun or exchange.begun):
            await self._events.abort()
            return
        task: Any = asyncio.current_task()
        task.uncancel()
        found = Refusal(503, "the server is stopping", type="server_error", code="server_stopping")
        await self._broken(found)
        task.cancel()

    async def _broken(self, found: Refusal) -> None:
        await self._events.write(event(found.body()))
        await self._events.end()
