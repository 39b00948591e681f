"""A call of a tool: the run of a persona, from its arguments to the result for the client."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Mapping
from typing import Any, Literal

import mcp_types as types

from personakit import (
    JournalError,
    Persona,
    PersonakitError,
    Request,
    Response,
    Resumption,
    Suspended,
    UsageError,
    told,
)
from personakit_mcp.serving import arguments
from personakit_mcp.serving.arguments import Given
from personakit_mcp.serving.asking import (
    TTL,
    Desk,
    InputRequired,
    answers,
    form_of_arguments,
    form_of_questions,
)
from personakit_mcp.serving.offer import Serving

ROUNDS = 3
"""How often the user is asked for arguments."""
PACE = 0.1
"""The least seconds between two reports of progress."""


class Runs:
    """Runs personas for calls of tools."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving
        # The suspended runs whose clients may still answer, with the time of their end.
        self._waiting: dict[str, float] = {}

    async def call(
        self,
        ctx: Any,
        params: types.CallToolRequestParams,
        persona: Persona,
        given: Mapping[str, Any],
    ) -> types.CallToolResult | types.InputRequiredResult:
        """Run a persona, and return its answer, an error for the model, or what the user is asked.

        Args:
            ctx: The context of the request.
            params: Its parameters.
            persona: The persona.
            given: The arguments for it.
        """
        desk = Desk(ctx, params)
        try:
            return await self._answered(ctx, desk, persona, given)
        except InputRequired as required:
            return required.result
        except PersonakitError as error:
            return failed(told(error))

    async def _answered(
        self, ctx: Any, desk: Desk, persona: Persona, arguments_: Mapping[str, Any]
    ) -> types.CallToolResult:
        runner, known = self._serving.runner, desk.state.get("run")
        if known is not None:
            self._waiting.pop(known, None)
            waits = await asyncio.to_thread(runner.suspended, known)
            return await self._continued(ctx, desk, persona, waits)
        given = await self._given(desk, persona, arguments_)
        if message := str(given):
            return failed(message)
        result = await self._run(ctx, desk, persona, given)
        return await self._continued(ctx, desk, persona, result)

    async def _given(self, desk: Desk, persona: Persona, first: Mapping[str, Any]) -> Given:
        """Return the arguments, with what the user says for those that are missing."""
        said: dict[str, Any] = desk.state.get("said", {})
        given, fault = arguments.from_json(persona, {**first, **said}), ""
        for number in range(desk.state.get("round", 0), ROUNDS):
            if not (given.missing and desk.can_ask) or given.faults:
                break
            form = form_of_arguments(given.missing, persona.name, fault)
            if form is None:
                break
            content = await desk.ask(form, {"said": said, "round": number})
            if content is None:
                break
            new = arguments.from_form(content, given.missing)
            if new.faults:
                fault = "\n".join(new.faults)
            said = {**said, **new.values}
            given = arguments.from_json(persona, {**first, **said})
        return given

    async def _continued(
        self, ctx: Any, desk: Desk, persona: Persona, result: Response[Any] | Suspended
    ) -> types.CallToolResult:
        """Return the result of a run, after asking the user as long as it asks for something."""
        while isinstance(result, Suspended):
            form = form_of_questions(result.questions)
            content = None
            try:
                if result.questions and desk.can_ask:
                    content = await desk.ask(form, {"run": result.id})
            except InputRequired:
                self._waiting[result.id] = time.monotonic() + TTL
                await self._forget_old()
                raise
            except asyncio.CancelledError:
                self._forget(result.id)
                raise
            prompt, told_ = Resumption(result.id), True
            if content is not None:
                # A wrong answer is asked again.
                with contextlib.suppress(UsageError):
                    prompt = result.resume_with(answers(result.questions, content))
                told_ = False
            result = await self._run(ctx, desk, persona, prompt, is_told=told_)
        return succeeded(persona, result)

    async def _run(
        self,
        ctx: Any,
        desk: Desk,
        persona: Persona,
        prompt: Given | Resumption,
        *,
        is_told: bool = False,
    ) -> Any:
        """Run a persona; return its response, or the suspended run if it asks for something."""
        runner, caller = self._serving.runner, self._serving.caller(ctx)
        how: Literal["return", "tell"] = "return" if desk.can_ask and not is_told else "tell"
        async with caller.running(persona.name) as counted:
            asked: Request | Resumption
            if isinstance(prompt, Given):
                rendered = runner.render(persona, prompt.input, variables=prompt.values)
                asked = caller.limited(rendered)
            else:
                asked = prompt
            if "progress_token" in (ctx.meta or {}):
                result = await self._reported(ctx, persona, asked, how)
            else:
                result = await runner.arun(persona, asked, on_suspend=how)
            counted.spent = result.spent
        return result

    async def _reported(
        self,
        ctx: Any,
        persona: Persona,
        asked: Request | Resumption,
        how: Literal["return", "tell"],
    ) -> Any:
        """Run a persona, and report the text so far as progress."""
        runner, text, sent, last = self._serving.runner, "", 0, 0.0
        async with runner.astream(persona, asked, on_suspend=how) as stream:
            async for piece in stream:
                text += piece
                now = time.monotonic()
                if now - last >= PACE:
                    last, sent = now, len(text)
                    await ctx.session.report_progress(sent, message=text)
            if len(text) > sent:
                await ctx.session.report_progress(len(text), message=text)
            return stream.response

    def _forget(self, run: str) -> None:
        """Remove the journal of a run that nobody continues."""
        self._waiting.pop(run, None)
        with contextlib.suppress(JournalError):
            self._serving.runner.journals.remove(run)

    async def _forget_old(self) -> None:
        now = time.monotonic()
        for run in [run for run, end in self._waiting.items() if end < now]:
            await asyncio.to_thread(self._forget, run)

    def close(self) -> None:
        """Remove the journals of runs that nobody can continue after the process has ended."""
        if not self._serving.secrets:
            for run in list(self._waiting):
                self._forget(run)


def succeeded(persona: Persona, response: Response[Any]) -> types.CallToolResult:
    """Return the answer of a persona as the result of a tool."""
    content: list[types.ContentBlock] = [types.TextContent(text=response.text)]
    if persona.output is None:
        return types.CallToolResult(content=content)
    return types.CallToolResult(content=content, structured_content=plain(response.parsed))


def failed(message: str) -> types.CallToolResult:
    """Return an error as the result of a tool: the model reads it, and may correct its call."""
    return types.CallToolResult(content=[types.TextContent(text=message)], is_error=True)


def plain(value: Any) -> Any:
    """Return a value with mappings as dicts and sequences as lists."""
    return json.loads(json.dumps(value, default=_plain))


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else list(value)
