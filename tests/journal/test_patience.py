"""The time limit of a tool while it asks a person."""

import asyncio
import time
from typing import Any

import pytest

import personakit
from personakit import Config, Persona, Response, Runner, Tool, ToolCall
from personakit.testing import Upstream

PERSONA = Persona.parse("name: clerk\nsystem: Buy.\nmodel: openai/x\n")
MODES = ("run", "arun")


def said(tool: Any, mode: str, *, takes: float, timeout: float) -> str | None:
    """Return what the model reads after a call of a tool."""
    upstream = Upstream([Response("", (ToolCall("1", "buy", "{}"),)), "Done."])

    def person(_: Any) -> str:
        time.sleep(takes)
        return "yes"

    runner = Runner(Config(path=()), backend=upstream, ask=person)
    tools = [Tool.of(tool, timeout=timeout)]
    if mode == "run":
        runner.run(PERSONA, "Hi", tools=tools)
    else:
        asyncio.run(runner.arun(PERSONA, "Hi", tools=tools))
    return upstream.requests[1].messages[-1].text


@pytest.mark.parametrize("mode", MODES)
def test_the_time_of_a_question_does_not_count(mode: str) -> None:
    async def buy() -> str:
        """Buy something."""
        return await personakit.ask("Sure?", choices=["yes", "no"])

    assert said(buy, mode, takes=0.8, timeout=0.4) == "yes"


@pytest.mark.parametrize("mode", MODES)
def test_the_time_after_a_question_counts(mode: str) -> None:
    async def buy() -> str:
        """Buy something."""
        await personakit.ask("Sure?")
        await asyncio.sleep(30)
        return "late"

    began = time.monotonic()
    text = said(buy, mode, takes=0.1, timeout=0.4)
    assert text is not None
    assert "it did not end within 0.4 s" in text
    assert time.monotonic() - began < 20


@pytest.mark.parametrize("mode", MODES)
def test_questions_beside_each_other_stop_the_time_together(mode: str) -> None:
    async def buy() -> str:
        """Buy something."""
        return ",".join(await personakit.gather(personakit.ask("One?"), personakit.ask("Two?")))

    assert said(buy, mode, takes=0.5, timeout=0.4) == "yes,yes"
