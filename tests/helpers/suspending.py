"""Run personas that ask a person, and continue them like another process would."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import personakit
from personakit import (
    JournalFolder,
    Question,
    Request,
    Response,
    Resumption,
    Runner,
    Suspended,
    ToolCall,
    ToolResult,
    hookimpl,
)
from personakit.config import Config
from personakit.testing import Upstream

YES_NO = ("yes", "no")
CALCULATOR = personakit.Persona.parse("name: calc\nsystem: You add.\nmodel: openai/x\n")


class Gate:
    """Asks before each tool call, as the plugin approve does."""

    @hookimpl
    async def tool(self, call: ToolCall, send: Any) -> ToolResult:
        text = f"Allow {call.name}({call.arguments})?"
        if await personakit.ask(text, choices=YES_NO, details=call.arguments) == "no":
            return ToolResult(call.id, "refused", is_error=True)
        result: ToolResult = await send(call)
        return result


class Asks:
    """Asks in the hook that it is told to."""

    def __init__(self, *texts: str, choices: tuple[str, ...] = YES_NO) -> None:
        self.texts, self.choices = texts, choices
        self.answers: list[str] = []

    @hookimpl
    async def run(self, request: Request, send: Any) -> Response:
        for text in self.texts:
            self.answers.append(await personakit.ask(text, choices=self.choices))
        response: Response = await send.live(request)
        return response


class Counter:
    """A tool that counts how often it was called with which numbers."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, int]] = []

    def add(self, a: int, b: int) -> int:
        """Add two numbers."""
        self.calls.append((a, b))
        return a + b


def adds(*pairs: tuple[int, int], start: int = 1) -> Response:
    """Return an answer that calls the tool."""
    calls = (
        ToolCall(f"c{n}", "add", f'{{"a": {a}, "b": {b}}}') for n, (a, b) in enumerate(pairs, start)
    )
    return Response("Let me see.", tuple(calls))


def runner_of(folder: Path, backend: Any, *plugins: Any, **more: Any) -> Runner:
    """Return a runner whose journals are in a folder, as a new process makes it."""
    journals = JournalFolder(folder / "journals")
    return Runner(Config(path=()), plugins=plugins, backend=backend, journals=journals, **more)


def in_mode(
    mode: str, runner: Any, persona: Any, prompt: Any, shown: list[str], **options: Any
) -> Response | Suspended:
    """Run a persona; return the response, or the suspended run. What it streams is added."""
    try:
        if mode == "run":
            response: Response = runner.run(persona, prompt, **options)
        elif mode == "arun":
            response = asyncio.run(runner.arun(persona, prompt, **options))
        elif mode == "stream":
            stream = runner.stream(persona, prompt, **options)
            shown += stream
            response = stream.response
        else:
            response = asyncio.run(_read(runner.astream(persona, prompt, **options), shown))
    except Suspended as suspended:
        return suspended
    return response


async def _read(stream: Any, shown: list[str]) -> Response:
    async for text in stream:
        shown.append(text)
    response: Response = stream.response
    return response


def to_the_end(
    made: Callable[[], Runner],
    persona: Any,
    prompt: str,
    answer: Callable[[Question], str],
    modes: Callable[[], str],
    **options: Any,
) -> tuple[Response, str, int]:
    """Run a persona, with a new runner after each question, until it has an answer.

    Returns:
        The response, the text that was streamed, and the number of questions.
    """
    shown: list[str] = []
    given: str | Resumption = prompt
    asked = 0
    while True:
        result = in_mode(modes(), made(), persona, given, shown, **options)
        if isinstance(result, Response):
            return result, "".join(shown), asked
        asked += len(result.questions)
        given = result.resume_with({each.id: answer(each) for each in result.questions})


SUMS = "The sums are 3 and 7."


def two_calls() -> Upstream:
    return Upstream([adds((1, 2), (3, 4)), SUMS])
