"""Suspended runs that go on: what has changed since, and what runs beside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers.suspending import (
    CALCULATOR,
    SUMS,
    YES_NO,
    Asks,
    Counter,
    Gate,
    adds,
    in_mode,
    runner_of,
    two_calls,
)

import personakit
from personakit import (
    Blocked,
    JournalError,
    Message,
    Persona,
    Question,
    Request,
    Response,
    RunLog,
    Suspended,
    ToolCall,
    Usage,
    UsageError,
    hookimpl,
)
from personakit.config import Config
from personakit.errors import RateLimited, ReplayMismatch
from personakit.testing import MODES, MemoryJournals, Upstream

# --- what has changed since ----------------------------------------------------------------------


def test_a_changed_persona_is_refused_with_the_reason(tmp_path: Path) -> None:
    file = tmp_path / "ann.yaml"
    file.write_text("system: You are Ann.\nmodel: openai/x\n")
    runner = runner_of(tmp_path, Upstream(["Hi!"]), Asks("Go?"))
    suspended = in_mode("run", runner, file, "Hi", [])
    assert isinstance(suspended, Suspended)
    before = file.read_text()
    file.write_text("system: You are Bob.\nmodel: openai/x\n")
    later = runner_of(tmp_path, Upstream(["Hi!"]), Asks("Go?"))
    with pytest.raises(UsageError, match=r"persona 'ann' .* has changed since it was suspended"):
        later.resume(suspended, "yes")
    file.write_text(before)
    assert later.resume(suspended, "yes").text == "Hi!"


class Writer:
    """Writes to another persona before the answer."""

    def __init__(self, *prompts: str) -> None:
        self.prompts = prompts

    @hookimpl
    async def run(self, request: Request, send: Any) -> Response:
        for prompt in self.prompts:
            await send.run(CALCULATOR, prompt)
        await personakit.ask("Go?", choices=YES_NO)
        response: Response = await send(request)
        return response


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        (("one", "three"), "plugin 'Writer' now asks for the request .*: its prompt differs"),
        (("one",), "asked for send\\(\\) before it was suspended, plugin 'Writer' now .* question"),
        (("one", "two", "three"), "asked for a question before .* 'Writer' now asks for send"),
    ],
)
def test_a_changed_plugin_is_named_with_its_call(
    tmp_path: Path, prompts: tuple[str, ...], message: str
) -> None:
    upstream = Upstream(["Hello!"])
    suspended = in_mode(
        "run", runner_of(tmp_path, upstream, Writer("one", "two")), CALCULATOR, "Hi", []
    )
    assert isinstance(suspended, Suspended)
    changed = runner_of(tmp_path, upstream, Writer(*prompts))
    with pytest.raises(ReplayMismatch, match=message) as caught:
        changed.resume(suspended, "yes")
    assert caught.value.plugin == "Writer"
    assert len(upstream.requests) == 2
    assert runner_of(tmp_path, upstream, Writer("one", "two")).resume(suspended, "yes").text


@pytest.mark.parametrize("answered_before", [True, False])
def test_an_answer_never_becomes_that_to_another_question(
    tmp_path: Path, answered_before: bool
) -> None:
    texts = ["Delete the copy?", "Two?"][: 1 + answered_before]
    runner = runner_of(tmp_path, Upstream(["Hi!"]), Asks(*texts))
    suspended = in_mode("run", runner, CALCULATOR, "Hi", [])
    assert isinstance(suspended, Suspended)
    if answered_before:
        suspended = in_mode("run", runner, CALCULATOR, suspended.resume_with("yes"), [])
        assert isinstance(suspended, Suspended)
    changed = Asks("Delete the original?", *texts[1:])
    message = r"'Asks' now asks for another question: 'Delete the original\?'"
    with pytest.raises(ReplayMismatch, match=message):
        runner_of(tmp_path, Upstream(["Hi!"]), changed).resume(suspended, "yes")
    assert changed.answers == []


def test_what_is_no_longer_asked_for_is_an_error_at_the_end(tmp_path: Path) -> None:
    class Late:
        def __init__(self, *, writes: bool) -> None:
            self.writes = writes

        @hookimpl
        async def run(self, request: Request, send: Any) -> Response:
            response: Response = await send(request)
            if self.writes:
                await send.run(CALCULATOR, "Another.")
                await personakit.ask("Go?", choices=YES_NO)
            return response

    upstream = Upstream(["Hello!"])
    suspended = in_mode(
        "run", runner_of(tmp_path, upstream, Late(writes=True)), CALCULATOR, "Hi", []
    )
    assert isinstance(suspended, Suspended)
    with pytest.raises(ReplayMismatch, match="the run no longer asks for it"):
        runner_of(tmp_path, upstream, Late(writes=False)).resume(suspended, "yes")
    later = runner_of(tmp_path, upstream, Late(writes=True))
    assert later.resume(suspended, "yes").text == "Hello!"


def test_a_missing_tool_and_a_missing_key_are_named(tmp_path: Path) -> None:
    upstream, tool = two_calls(), Counter()
    runner = runner_of(tmp_path, upstream, Gate())
    secret = {"api_key": "sk-1234567890abcdef"}
    request = runner.render(CALCULATOR, "Add.").replace(parameters=secret)
    suspended = in_mode("run", runner, CALCULATOR, request, [], tools=[tool.add])
    assert isinstance(suspended, Suspended)
    assert "sk-1234" not in "".join(runner.journals.read(suspended.id))
    with pytest.raises(UsageError, match="its tools add are missing; pass the same `tools`"):
        runner.resume(suspended, "yes")
    with pytest.raises(UsageError, match="its parameters api_key are not in the journal"):
        runner.resume(suspended, "yes", tools=[tool.add])
    answers = {question.id: "yes" for question in suspended.questions}
    runner.resume(suspended, answers, tools=[tool.add], parameters=secret)
    assert upstream.requests[-1].parameters["api_key"] == secret["api_key"]


# --- what runs beside ----------------------------------------------------------------------------


def test_the_log_has_one_row_for_a_run(tmp_path: Path) -> None:
    log = RunLog(tmp_path / "runs.db")
    calls = runner_of(tmp_path, two_calls(), Gate(), log=log)
    assert isinstance(in_mode("run", calls, CALCULATOR, "Hi", [], tools=[Counter().add]), Suspended)
    (row,) = log.find()
    assert (row.text, [call.id for call in row.tool_calls]) == ("Let me see.", ["c1", "c2"])
    log.remove(ids=[row.id])
    upstream = Upstream([Response("Hi!", usage=Usage(1, 2, 3))])
    runner = runner_of(tmp_path, upstream, Asks("One?", "Two?"), log=log)
    first = in_mode("run", runner, CALCULATOR, "Hi", [])
    assert isinstance(first, Suspended)
    (row,) = log.find()
    assert row.id == first.id
    assert row.error is not None
    assert row.error["type"] == "Suspended"
    assert "One?" in row.error["message"]
    second = in_mode("run", runner, CALCULATOR, first.resume_with("yes"), [])
    assert isinstance(second, Suspended)
    runner.resume(second, "yes")
    (row,) = log.find()
    assert (row.id, row.error, row.text) == (first.id, None, "Hi!")
    assert row.usage == Usage(1, 2, 3)


def test_observers_see_that_a_run_waits(tmp_path: Path) -> None:
    events: list[Any] = []

    class Watches:
        @hookimpl
        def observe(self, event: Any) -> None:
            events.append(event)

    upstream, tool = two_calls(), Counter()
    runner = runner_of(tmp_path, upstream, Watches(), Gate())
    suspended = in_mode("run", runner, CALCULATOR, "Add.", [], tools=[tool.add])
    assert isinstance(suspended, Suspended)
    assert [each.name for each in events] == [
        "started", "sent", "answered", "calling", "calling", "suspended",
    ]  # fmt: skip
    assert events[-1].error.id == suspended.id
    events.clear()
    runner.resume(suspended, {q.id: "yes" for q in suspended.questions}, tools=[tool.add])
    assert [each.name for each in events] == [
        "started", "calling", "tool", "calling", "tool", "sent", "answered", "finished",
    ]  # fmt: skip


@pytest.mark.parametrize("mode", MODES)
def test_a_turn_of_a_conversation_waits_and_goes_on(tmp_path: Path, mode: str) -> None:
    upstream = Upstream(["First.", "Second.", "Third."])
    asks = {"Two": "Go?"}

    class Sometimes:
        @hookimpl
        async def run(self, request: Request, send: Any) -> Any:
            text = request.messages[-1].text
            if text in asks and await personakit.ask(asks[text], choices=YES_NO) == "no":
                raise Blocked("no")
            return await send.live(request)

    runner = runner_of(tmp_path, upstream, Sometimes())
    talk = runner.conversation(CALCULATOR)

    class Turn:
        def __getattr__(self, name: str) -> Any:
            way = getattr(talk, name)
            return lambda _, prompt, **options: way(prompt, **options)

    turn, shown = Turn(), list[str]()
    in_mode(mode, turn, None, "One", shown)
    suspended = in_mode(mode, turn, None, "Two", shown)
    assert isinstance(suspended, Suspended)
    assert [message.text for message in talk.messages] == ["One", "First."]
    later = in_mode(mode, turn, None, suspended.resume_with("yes"), shown)
    assert isinstance(later, Response)
    in_mode(mode, turn, None, "Three", shown)
    texts = ["One", "First.", "Two", "Second.", "Three", "Third."]
    assert [message.text for message in talk.messages] == texts
    assert [m.text for m in upstream.requests[-1].messages[1:]] == texts[:-1]

    again = in_mode(mode, turn, None, "Two", shown)
    assert isinstance(again, Suspended)
    in_mode(mode, turn, None, "Four", shown)
    with pytest.raises(UsageError, match="as it was before other turns"):
        in_mode(mode, turn, None, again.resume_with("yes"), shown)


def test_a_failed_run_goes_on_where_it_failed(tmp_path: Path) -> None:
    limited = RateLimited("slow down")
    upstream = Upstream([adds((1, 2)), limited, limited, SUMS])
    tool = Counter()
    runner = runner_of(tmp_path, upstream, Gate())
    suspended = in_mode("run", runner, CALCULATOR, "Add.", [], tools=[tool.add])
    assert isinstance(suspended, Suspended)
    with pytest.raises(RateLimited):
        runner.resume(suspended, "yes", tools=[tool.add])
    waiting = runner.suspended(suspended.id)
    assert waiting.questions == ()
    with pytest.raises(UsageError, match="was interrupted and has no open question"):
        waiting.resume_with("yes")
    with pytest.raises(RateLimited):
        runner.resume(waiting, tools=[tool.add])
    assert runner.resume(waiting, tools=[tool.add]).text.endswith(SUMS)
    assert (tool.calls, len(upstream.requests)) == ([(1, 2)], 4)


def test_a_run_that_is_at_work_is_not_continued_a_second_time(tmp_path: Path) -> None:
    errors: list[UsageError] = []
    ids: list[str] = []

    def again(request: Request) -> str:
        try:
            runner_of(tmp_path, Upstream(), Asks("Go?")).resume(ids[0])
        except UsageError as error:
            errors.append(error)
        return "Hi!"

    upstream = Upstream([again])
    runner = runner_of(tmp_path, upstream, Asks("Go?"))
    suspended = in_mode("run", runner, CALCULATOR, "Hi", [])
    assert isinstance(suspended, Suspended)
    ids.append(suspended.id)
    assert runner.resume(suspended, "yes").text == "Hi!"
    assert len(upstream.requests) == 1
    assert [type(error) for error in errors] == [JournalError]
    assert f"run {suspended.id} goes on in process " in str(errors[0])


def test_a_run_that_a_hook_refuses_is_over(tmp_path: Path) -> None:
    class Refuses:
        @hookimpl
        async def run(self, request: Request) -> None:
            if await personakit.ask("Go?", choices=YES_NO) == "no":
                raise Blocked("the user refused")

    runner = runner_of(tmp_path, Upstream(["Hi!"]), Refuses())
    suspended = in_mode("run", runner, CALCULATOR, "Hi", [])
    assert isinstance(suspended, Suspended)
    with pytest.raises(Blocked, match="the user refused"):
        runner.resume(suspended, "no")
    assert runner.journals.ids() == []


def test_a_call_that_is_blocked_can_be_made_later(tmp_path: Path) -> None:
    upstream = Upstream(["Hi!"])

    class Limit:
        every_call = True
        is_reached = True

        @hookimpl
        def chat(self, request: Request) -> None:
            if self.is_reached:
                raise Blocked("over the budget")

    limit = Limit()
    runner = runner_of(tmp_path, upstream, Asks("Go?"), limit)
    suspended = in_mode("run", runner, CALCULATOR, "Hi", [])
    assert isinstance(suspended, Suspended)
    with pytest.raises(Blocked, match="over the budget"):
        runner.resume(suspended, "yes")
    limit.is_reached = False
    assert runner.resume(suspended, "yes").text == "Hi!"


def test_an_error_that_a_hook_has_handled_stays_as_it_was(tmp_path: Path) -> None:
    down = RateLimited("slow down")

    class Retries:
        @hookimpl
        async def chat(self, request: Request, send: Any) -> Response:
            try:
                response: Response = await send(request)
            except RateLimited:
                response = await send(request.replace(model="openai/y"))
            return response

    upstream = Upstream([down, RateLimited("that one, too"), "Hello!"])
    runner = runner_of(tmp_path, upstream, Asks("Go?"), Retries())
    suspended = in_mode("run", runner, CALCULATOR, "Hi", [])
    assert isinstance(suspended, Suspended)
    with pytest.raises(RateLimited, match="that one, too"):
        runner.resume(suspended, "yes")
    assert runner.resume(suspended, "yes").text == "Hello!"
    assert [request.model for request in upstream.requests] == ["openai/x", "openai/y", "openai/y"]


def test_a_structured_answer_keeps_its_type(tmp_path: Path) -> None:
    upstream = Upstream(['{"value": [1, 2]}'])
    runner = runner_of(tmp_path, upstream, Asks("Go?"))
    suspended = in_mode("run", runner, CALCULATOR, "Hi", [], output=list[int])
    assert isinstance(suspended, Suspended)
    twin = runner.suspended(suspended.id)
    assert runner.run(CALCULATOR, twin.resume_with("yes"), output=list[int]).parsed == [1, 2]
    again = in_mode("run", runner, CALCULATOR, "Hi", [], output=list[int])
    assert isinstance(again, Suspended)
    assert runner.resume(again, "yes").parsed == {"value": [1, 2]}


def test_a_persona_without_a_file_is_in_the_journal(tmp_path: Path) -> None:
    one = Persona.parse("name: one\nsystem: You are {{ who }}.\nvariables: {who: {default: One}}\n")
    runner = runner_of(tmp_path, Upstream(["Hi!"]), Asks("Go?"))
    suspended = in_mode("run", runner, one, "Hi", [], model="openai/x")
    assert isinstance(suspended, Suspended)
    later = runner_of(tmp_path, upstream := Upstream(["Hello!"]), Asks("Go?"))
    assert later.resume(suspended.id, "yes").text == "Hello!"
    assert upstream.requests[0].messages[0] == Message("system", "You are One.")


def test_a_value_that_is_no_prompt_is_an_error(tmp_path: Path) -> None:
    runner = runner_of(tmp_path, Upstream(["Hi!"]))
    wrong: Any = ["Hi"]
    with pytest.raises(UsageError, match="the prompt must be a string, found list"):
        runner.run(CALCULATOR, wrong)
    wrong = in_mode("run", runner_of(tmp_path, Upstream(), Asks("Go?")), CALCULATOR, "Hi", [])
    with pytest.raises(UsageError, match=r"found Suspended; .* `suspended.resume_with\(answer\)`"):
        runner.run(CALCULATOR, wrong)
    with pytest.raises(
        UsageError, match=r"found Resumption; .*`runner.run\(persona, resumption\)`"
    ):
        runner.resume(wrong.resume_with("yes"))
    wrong = {}
    with pytest.raises(UsageError, match="methods append, read, remove, ids, found dict"):
        personakit.Runner(journals=wrong)


def test_a_tool_that_was_killed_at_its_question_asks_that_question_again(tmp_path: Path) -> None:
    killed, effects = MemoryJournals(), list[str]()

    async def buy(item: str) -> str:
        """Buy something."""
        effects.append(f"{item}: {await personakit.ask(f'Buy {item}?', choices=YES_NO)}")
        return effects[-1]

    def asker(question: Question) -> str:
        for identity in runner.journals.ids():  # what kill -9 leaves now
            killed.remove(identity)
            killed.append(identity, 0, list(runner.journals.read(identity)))
        return "yes"

    upstream = Upstream([Response("", (ToolCall("1", "buy", '{"item": "tea"}'),)), "Bought."])
    runner = runner_of(tmp_path, upstream, ask=asker)
    assert runner.run(CALCULATOR, "Tea!", tools=[buy]).text == "Bought."
    (identity,) = killed.ids()
    again = personakit.Runner(Config(path=()), backend=upstream, journals=killed)
    waiting = again.suspended(identity)
    assert [question.text for question in waiting.questions] == ["Buy tea?"]
    assert again.resume(waiting, "no", tools=[buy]).text == "Bought."
    assert effects == ["tea: yes", "tea: no"]
