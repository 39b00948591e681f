"""What goes on beside a question, while its journal is being written."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from helpers.suspending import CALCULATOR, in_mode, runner_of

import personakit
from personakit import JournalFolder, Request, Response, ToolCall, hookimpl
from personakit.base import io as waiting
from personakit.config import Config
from personakit.testing import Upstream


class Slow(JournalFolder):
    """A folder whose first write takes until something else has begun."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.writes, self.goes_on, self.wrote = (threading.Event() for _ in range(3))

    def append(self, id: str, at: int, lines: Sequence[str]) -> None:  # noqa: A002
        self.writes.set()
        assert self.goes_on.wait(20)
        super().append(id, at, lines)
        self.wrote.set()


@pytest.mark.parametrize("mode", ["arun", "run"])
def test_what_begins_or_ends_while_the_journal_is_written_is_in_it(
    tmp_path: Path, mode: str
) -> None:
    journals = Slow(tmp_path / "journals")
    done: list[str] = []

    def fetch(name: str) -> str:
        done.append(name)
        journals.goes_on.set()
        assert journals.wrote.wait(20)
        time.sleep(0.05)
        return f"{name} is here"

    class Both:
        @hookimpl
        async def run(self, request: Request, send: Any) -> Request:
            async def fetched() -> tuple[str, str]:
                await waiting(journals.writes.wait)(20)
                return await personakit.io(fetch)("first"), await personakit.io(fetch)("second")

            got = await personakit.gather(fetched(), personakit.ask("Go on?", choices=["yes"]))
            if await personakit.ask("And on?", choices=["yes"]) == "yes":
                return request.with_system(str(got))
            return request

    answers = iter(["yes", None])
    upstream = Upstream(["Hello."])
    config = Config(path=())

    def made(asker: Any = None) -> personakit.Runner:
        return personakit.Runner(
            config, plugins=[Both()], backend=upstream, journals=journals, ask=asker
        )

    first = made(lambda question: next(answers))
    waits = in_mode(mode, first, CALCULATOR, "Hi.", [])
    assert isinstance(waits, personakit.Suspended)
    response = made().resume(waits, "yes")
    assert response.text == "Hello."
    assert done == ["first", "second"]
    assert "first is here" in upstream.requests[0].system


def test_an_asker_can_run_personas_of_its_own(tmp_path: Path) -> None:
    class Asks:
        @hookimpl
        async def run(self, request: Request, send: Any) -> Request:
            first = await personakit.ask("Which one?")
            return request.with_system(f"{first} {await personakit.ask('And then?')}")

    helper = personakit.Runner(Config(path=()), backend=Upstream(["red", "blue"]))
    upstream = Upstream(["Hello."])
    answers = iter([True, False])

    def asker(question: personakit.Question) -> str | None:
        return helper.run(CALCULATOR, question.text).text if next(answers) else None

    with pytest.raises(personakit.Suspended) as caught:
        runner_of(tmp_path, upstream, Asks(), ask=asker).run(CALCULATOR, "Hi.")
    response = runner_of(tmp_path, upstream, Asks()).resume(caught.value, "blue")
    assert response.spent.calls == 1
    assert "red blue" in upstream.requests[0].system


def test_a_tool_can_resume_another_run(tmp_path: Path) -> None:
    class Asks:
        @hookimpl
        async def run(self, request: Request, send: Any) -> Request:
            return request.with_system(await personakit.ask("Which one?"))

    inner = runner_of(tmp_path, Upstream(["It is red."]), Asks())
    with pytest.raises(personakit.Suspended) as caught:
        inner.run(CALCULATOR, "Hi.")

    def go_on(answer: str) -> str:
        """Answer the question."""
        return inner.resume(caught.value, answer).text

    call = ToolCall("1", "go_on", '{"answer": "red"}')
    outer = runner_of(tmp_path, Upstream([Response("", (call,)), "Done."]))
    response = outer.run(CALCULATOR, "Hi.", tools=[go_on])
    assert [m.text for m in response.messages] == ["", "It is red.", "Done."]
    assert outer.journals.ids() == []
