"""A call of a tool: the run of a persona, from its arguments to the result for the client."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
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
from personakit_mcp.serving.offer import Refused, Serving
from personakit_mcp.serving.wording import encodable

ROUNDS = 3
"""How often the user is asked for arguments."""
PACE = 0.1
"""The least seconds between two reports of progress."""
How = Literal["return", "tell"]


@dataclass(frozen=True, slots=True)
class Asked:
    """A run that a client asks for.

    Attributes:
        persona: The persona.
        prompt: The arguments, or the answers with which a suspended run goes on.
        how: What happens if it asks a person: `on_suspend` of the run.
        id: The id of the run; empty for a suspended one.
        before: The text that it has written before.
    """

    persona: Persona
    prompt: Given | Resumption
    how: How
    id: str = ""
    before: str = ""


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
        identity = known or _run_id()
        try:
            if known is not None:
                result: Any = await asyncio.to_thread(runner.suspended, known)
            else:
                given = await self._given(desk, persona, arguments_)
                if message := str(given):
                    return failed(message)
                how: How = "return" if desk.can_ask else "tell"
                result = await self._run(ctx, Asked(persona, given, how, identity))
            answered = await self._continued(ctx, desk, persona, result)
        except (InputRequired, JournalError):  # it waits, or another call continues it
            raise
        except Refused as refused:
            # Before it has run, the client may send its request again.
            if refused.has_run:
                self._forget(identity)
            raise
        except BaseException:
            self._forget(identity)
            raise
        self._waiting.pop(identity, None)
        return answered

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
        failures = desk.state.get("failures", 0)
        while isinstance(result, Suspended):
            content = None
            if result.questions and desk.can_ask and failures < ROUNDS:
                content = await self._said(desk, result, failures)
            prompt = Resumption(result.id)
            if content is not None:
                with contextlib.suppress(UsageError):
                    prompt = result.resume_with(answers(result.questions, content))
            # A wrong answer is asked for again, but not for ever.
            failures = 0 if prompt.answers else failures + 1
            how: How = "tell" if content is None else "return"
            asked = Asked(persona, prompt, how, before=result.text)
            result = await self._run(ctx, asked)
        return succeeded(persona, result, any_value=desk.is_new)

    async def _said(
        self, desk: Desk, suspended: Suspended, failures: int
    ) -> Mapping[str, Any] | None:
        """Return what the user says to the questions of a run; None without an answer."""
        state = {"run": suspended.id, "failures": failures}
        try:
            return await desk.ask(form_of_questions(suspended.questions), state)
        except InputRequired:
            self._waiting[suspended.id] = time.monotonic() + TTL
            await self._forget_old()
            raise

    async def _run(self, ctx: Any, asked: Asked) -> Any:
        """Run a persona; return its response, or the suspended run if it asks for something."""
        runner, caller = self._serving.runner, self._serving.caller(ctx)
        persona, prompt = asked.persona, asked.prompt
        async with caller.running(persona.name) as counted:
            options: dict[str, Any] = {"on_suspend": asked.how}
            sent: Request | Resumption
            if isinstance(prompt, Given):
                render = functools.partial(
                    runner.render, persona, prompt.input, variables=prompt.values
                )
                # Templates that are compiled now, and long texts, take a while.
                sent = caller.limited(await asyncio.to_thread(render))
                options["run_id"] = asked.id
            else:
                sent = prompt
            if "progress_token" in (ctx.meta or {}):
                stream = runner.astream(persona, sent, **options)
                result = await _reported(ctx, stream, asked.before)
            else:
                result = await runner.arun(persona, sent, **options)
            counted.spent = result.spent
        return result

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


async def _reported(ctx: Any, stream: Any, text: str) -> Any:
    """Report the text of a stream so far as progress, and return its response."""
    sent, last = len(text), 0.0
    async with stream:
        async for piece in stream:
            text += piece
            now = time.monotonic()
            if now - last >= PACE:
                last, sent = now, len(text)
                await ctx.session.report_progress(sent, message=text)
        if len(text) > sent:
            await ctx.session.report_progress(len(text), message=text)
        return stream.response


def _run_id() -> str:
    """Return an id as runs have it: the microseconds of its start and random digits."""
    return f"{int(time.time() * 1_000_000):014x}{secrets.token_hex(9)}"


def succeeded(
    persona: Persona, response: Response[Any], *, any_value: bool
) -> types.CallToolResult:
    """Return the answer of a persona as the result of a tool.

    Args:
        persona: The persona.
        response: The answer.
        any_value: Whether structured content may be something else than an object, as since
            2026-07-28.
    """
    content: list[types.ContentBlock] = [types.TextContent(text=encodable(response.text))]
    value = None if persona.output is None else plain(response.parsed)
    if value is None or not (any_value or isinstance(value, dict)):
        return types.CallToolResult(content=content)
    return types.CallToolResult(content=content, structured_content=value)


def failed(message: str) -> types.CallToolResult:
    """Return an error as the result of a tool: the model reads it, and may correct its call."""
    return types.CallToolResult(content=[types.TextContent(text=encodable(message))], is_error=True)


def plain(value: Any) -> Any:
    """Return a value with mappings as dicts and sequences as lists."""
    return json.loads(encodable(json.dumps(value, default=_plain, ensure_ascii=False)))


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else list(value)
