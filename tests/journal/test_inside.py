"""Runs inside a run that waits: what they paid, failed at, and started by themselves."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from helpers.suspending import CALCULATOR, YES_NO, Counter, Gate, adds, in_mode, runner_of

import personakit
from personakit import (
    JournalFolder,
    Persona,
    RateLimited,
    Request,
    Response,
    Runner,
    Suspended,
    Usage,
    UsageError,
    hookimpl,
)
from personakit.testing import MODES, Upstream

OTHER = Persona.parse("name: other\nsystem: You help.\nmodel: openai/y\n")
USAGE = Usage(1, 1, 2)


class Outer:
    """Runs another persona before each run."""

    @hookimpl
    async def run(self, request: Request, send: Any) -> Request:
        return request.with_system((await send.run(OTHER, "Help.")).text)


class Inner:
    """Sends twice in the run of the other persona, with a question between."""

    @hookimpl
    async def run(self, request: Request, send: Any) -> Response | None:
        if request.persona != "other":
            return None
        first = await send(request)
        answer = await personakit.ask("Once more?")
        response: Response = await send(request.with_system(f"{first.text} {answer}"))
        return response


def test_a_run_inside_that_fails_after_a_question_is_paid_once(tmp_path: Path) -> None:
    first, second, end = (Response(text, usage=USAGE) for text in ("one", "two", "end"))
    upstream = Upstream([first, RateLimited("slow down", status=429), second, end])

    def made() -> Runner:
        return runner_of(tmp_path, upstream, Outer(), Inner())

    with pytest.raises(Suspended) as caught:
        made().run(CALCULATOR, "Hi.")
    identity = caught.value.id
    with pytest.raises(RateLimited) as failed:
        made().resume(identity, "yes")
    assert failed.value.spent is not None
    assert failed.value.spent.calls == 1
    assert made().suspended(identity).spent.calls == 1
    response = made().resume(identity)
    assert response.spent.calls == 3
    assert response.spent.usage == Usage(3, 3, 6)
    assert len(upstream.requests) == 4


def test_runs_that_a_hook_starts_at_the_same_time_have_places_of_their_own(tmp_path: Path) -> None:
    upstream = Upstream([lambda request: Response(f"{request.system}.")])

    class Asks:
        @hookimpl
        async def run(self, request: Request, send: Any) -> Request:
            if request.persona == "other":
                return request.with_system(await personakit.ask(request.messages[-1].text))
            runs = (made().arun(OTHER, text) for text in ("One?", "Two?", "Three?"))
            found = await asyncio.gather(*runs)
            return request.with_system(" ".join(response.text for response in found))

    def made() -> Runner:
        return runner_of(tmp_path, upstream, Asks())

    waits = in_mode("arun", made(), CALCULATOR, "Hi.", [])
    assert isinstance(waits, Suspended)
    assert [question.text for question in waits.questions] == ["One?", "Two?", "Three?"]
    answers = {question.id: f"to {question.text}" for question in waits.questions}
    response = in_mode("arun", made(), CALCULATOR, waits.resume_with(answers), [])
    assert isinstance(response, Response)
    assert [text in response.text for text in ("to One?", "to Two?", "to Three?")] == [True] * 3
    assert len(upstream.requests) == 4


def test_what_goes_on_in_the_background_after_a_run_is_not_recorded_in_it(tmp_path: Path) -> None:
    upstream = Upstream(["Hello.", "Later."])
    tasks: list[asyncio.Task[Response]] = []
    ended = asyncio.Event()

    class Starts:
        @hookimpl
        async def run(self, request: Request, send: Any) -> Request | None:
            if request.persona == "other":
                return None

            async def later() -> Response:
                await ended.wait()
                return await made().arun(OTHER, "Hi.")

            answer = await personakit.ask("Start it?")
            tasks.append(asyncio.create_task(later()))
            return request.with_system(answer)

    def made() -> Runner:
        return runner_of(tmp_path, upstream, Starts(), ask=lambda question: "yes")

    async def both() -> list[str]:
        first = await made().arun(CALCULATOR, "Hi.")
        ended.set()
        return [first.text, (await tasks[0]).text]

    assert asyncio.run(both()) == ["Hello.", "Later."]
    assert made().journals.ids() == []


@pytest.mark.parametrize("mode", ["stream", "astream"])
def test_text_of_an_answer_that_is_asked_for_again_is_streamed_whole(
    tmp_path: Path, mode: str
) -> None:
    counter = Counter()

    def made(upstream: Upstream) -> Runner:
        return runner_of(tmp_path, upstream, Gate(), ask=lambda question: "yes")

    first = made(Upstream([adds((1, 2)), "The sum of the numbers is three."]))

    def cut() -> None:
        stream = first.stream(CALCULATOR, "Hi.", tools=[counter.add])
        while "sum" not in stream.text:
            next(stream)
        stream.close()

    async def acut() -> None:
        async with first.astream(CALCULATOR, "Hi.", tools=[counter.add]) as stream:
            while "sum" not in stream.text:
                await anext(stream)

    if mode == "stream":
        cut()
    else:
        asyncio.run(acut())
    (identity,) = first.journals.ids()
    assert first.suspended(identity).spent.calls == 2
    given = personakit.Resumption(identity)
    shown: list[str] = []
    again = made(Upstream(["One and two are three."]))
    response = in_mode(mode, again, CALCULATOR, given, shown, tools=[counter.add])
    assert isinstance(response, Response)
    assert "".join(shown) == "\n\nOne and two are three."
    assert response.text == "Let me see.\n\nOne and two are three."
    assert response.spent.calls == 3
    assert response.spent.usage is not None
    assert response.spent.usage.incomplete
    assert counter.calls == [(1, 2)]


@pytest.mark.parametrize("mode", MODES)
def test_a_conversation_that_has_gone_on_refuses_its_first_turn(tmp_path: Path, mode: str) -> None:
    counter = Counter()
    runner = runner_of(tmp_path, Upstream([adds((1, 2)), "Two.", "Three."]), Gate())
    conversation = runner.conversation(CALCULATOR)
    with pytest.raises(Suspended) as caught:
        conversation.run("One.", tools=[counter.add])
    conversation.run("Two.")

    class Turns:
        def __getattr__(self, name: str) -> Any:
            way = getattr(conversation, name)
            return lambda _, prompt, **options: way(prompt, **options)

    given = caught.value.resume_with("yes")
    with pytest.raises(UsageError, match="as it was before other turns"):
        in_mode(mode, Turns(), None, given, [], tools=[counter.add])
    assert runner.resume(caught.value, "yes", tools=[counter.add]).text.endswith("Three.")


def test_a_turn_that_continues_with_results_can_wait(tmp_path: Path) -> None:
    tool = personakit.Tool("mine", None, "Mine.", {"type": "object", "properties": {}})
    call = personakit.ToolCall("m1", "mine", "{}")

    class Asks:
        @hookimpl
        async def chat(self, request: Request, send: Any) -> Request | None:
            if request.messages[-1].role != "tool":
                return None
            return request.with_system(await personakit.ask("Believe it?"))

    runner = runner_of(tmp_path, Upstream([Response("", (call,)), "After."]), Asks())
    conversation = runner.conversation(CALCULATOR)
    given = conversation.run("Go.", tools=[tool])
    with pytest.raises(Suspended) as caught:
        conversation.run(given.continue_with([personakit.ToolResult("m1", "found")]))
    assert conversation.run(caught.value.resume_with("yes")).text == "After."
    roles = [message.role for message in conversation.messages]
    assert roles == ["user", "assistant", "tool", "assistant"]


def test_a_journal_does_not_repeat_requests_and_is_not_read_at_each_step(tmp_path: Path) -> None:
    long, reads = "x" * 50_000, 0

    class Many:
        @hookimpl
        async def run(self, request: Request, send: Any) -> Request:
            await personakit.ask("Begin?")
            for number in range(20):
                await send.run(OTHER, f"{long}{number}")
            return request.with_system(await personakit.ask("End?"))

    class Folder(JournalFolder):
        @staticmethod
        def _whole(file: Path) -> bytes:
            nonlocal reads
            reads += 1
            return JournalFolder._whole(file)

    journals = Folder(tmp_path / "journals")
    upstream = Upstream(["Hello."])

    def made() -> Runner:
        config = personakit.Config(path=())
        return Runner(config, plugins=[Many()], backend=upstream, journals=journals)

    with pytest.raises(Suspended) as caught:
        made().run(CALCULATOR, "Hi.")
    begun = caught.value
    with pytest.raises(Suspended) as caught:
        made().resume(begun, "yes")
    (file,) = journals.path.iterdir()
    assert file.stat().st_size < 1.3 * 20 * len(long)
    assert reads < 10
    response = made().resume(caught.value, "yes")
    assert response.text == "Hello."
    assert len(upstream.requests) == 21


@pytest.mark.parametrize("first", MODES)
@pytest.mark.parametrize("then", MODES)
def test_what_gather_awaits_has_the_same_place_in_all_modes(
    tmp_path: Path, first: str, then: str
) -> None:
    class Together:
        async def one(self, send: Any, number: int) -> str:
            text: str = (await send.run(CALCULATOR, f"number {number}")).text
            return text + await personakit.ask(f"{number}?", choices=YES_NO)

        @hookimpl
        async def tool(self, call: Any, send: Any) -> Any:
            texts = await personakit.gather(self.one(send, 1), self.one(send, 2))
            result = await send(call)
            return result.replace(content=f"{result.content} {texts}")

    def answer(request: Request) -> Any:
        text = request.messages[-1].text
        return adds((1, 2)) if text == "Add." else f"heard {text}"

    upstream, tool = Upstream([answer]), Counter()

    def go(mode: str, prompt: Any) -> Any:
        running = runner_of(tmp_path, upstream, Together())
        return in_mode(mode, running, CALCULATOR, prompt, [], tools=[tool.add])

    suspended = go(first, "Add.")
    answers = {question.id: "yes" for question in suspended.questions}
    assert len(answers) == 2
    response = go(then, suspended.resume_with(answers))
    assert response.messages[1].text == "3 ('heard number 1yes', 'heard number 2yes')"
    assert (len(upstream.requests), tool.calls) == (4, [(1, 2)])
