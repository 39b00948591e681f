"""Runs that wait for a person: questions, suspended runs, and how they go on."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from helpers.suspending import (
    CALCULATOR,
    SUMS,
    Asks,
    Counter,
    Gate,
    in_mode,
    runner_of,
    two_calls,
)

import personakit
from personakit import (
    Blocked,
    Question,
    Request,
    Response,
    Suspended,
    ToolCall,
    UsageError,
    hookimpl,
)
from personakit.testing import MODES, Upstream

# --- the value -----------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_a_run_waits_for_the_answer_and_goes_on_with_it(tmp_path: Path, mode: str) -> None:
    upstream, tool, shown = two_calls(), Counter(), list[str]()

    def go(prompt: Any) -> Any:
        runner = runner_of(tmp_path, upstream, Gate())
        return in_mode(mode, runner, CALCULATOR, prompt, shown, tools=[tool.add])

    first = go("Add.")
    assert isinstance(first, Suspended)
    assert [question.text for question in first.questions] == [
        'Allow add({"a": 1, "b": 2})?',
        'Allow add({"a": 3, "b": 4})?',
    ]
    assert first.question.plugin == "Gate"
    assert first.question.details == '{"a": 1, "b": 2}'
    assert [call.id for call in first.calls] == ["c1", "c2"]
    assert [message.role for message in first.messages] == ["assistant"]
    assert first.text == "Let me see."
    assert first.persona == "calc"
    assert first.spent.calls == 1
    assert tool.calls == []

    second = go(first.resume_with("yes"))
    assert isinstance(second, Suspended)
    assert second.id == first.id
    assert [question.id for question in second.questions] == [first.questions[1].id]
    assert [call.id for call in second.calls] == ["c2"]
    assert [message.role for message in second.messages] == ["assistant", "tool"]
    assert tool.calls == [(1, 2)]

    response = go(second.resume_with("no"))
    assert isinstance(response, Response)
    assert response.text == f"Let me see.\n\n{SUMS}"
    assert [m.text for m in response.messages if m.role == "tool"] == ["3", "refused"]
    assert (tool.calls, len(upstream.requests)) == ([(1, 2)], 2)
    assert response.spent.calls == 2
    assert "".join(shown) == (response.text if "stream" in mode else "")
    assert runner_of(tmp_path, upstream).journals.ids() == []


def test_a_suspended_run_can_be_pickled_and_written_as_json(tmp_path: Path) -> None:
    runner = runner_of(tmp_path, two_calls(), Gate())
    suspended = in_mode("run", runner, CALCULATOR, "Add.", [], tools=[Counter().add])
    assert isinstance(suspended, Suspended)
    twin = pickle.loads(pickle.dumps(suspended))
    assert vars(twin) == vars(suspended)
    written = json.loads(json.dumps(suspended.to_dict()))
    assert list(written) == "id persona questions calls messages text spent".split()
    assert written["questions"][0]["choices"] == ["yes", "no"]
    assert written["calls"][0] == {"id": "c1", "name": "add", "arguments": '{"a": 1, "b": 2}'}
    again = runner.suspended(suspended.id)
    assert again.to_dict() == written


def test_a_notebook_shows_a_suspended_run_by_its_name() -> None:
    lines = Suspended("06", (Question("Go?"),))._render_traceback_()
    assert lines == ["Suspended: the run waits for an answer: Go? (suspended run 06)"]


def test_one_answer_answers_one_question_and_a_mapping_several(tmp_path: Path) -> None:
    upstream, tool = two_calls(), Counter()
    runner = runner_of(tmp_path, upstream, Gate())
    suspended = in_mode("run", runner, CALCULATOR, "Add.", [], tools=[tool.add])
    assert isinstance(suspended, Suspended)
    answers = {question.id: "Y" for question in suspended.questions}
    response = runner.resume(suspended, answers, tools=[tool.add])
    assert response.text.endswith(SUMS)
    assert tool.calls == [(1, 2), (3, 4)]


@pytest.mark.parametrize("mode", MODES)
def test_on_suspend_decides_what_happens_where_nobody_is(tmp_path: Path, mode: str) -> None:
    runner = runner_of(tmp_path, Upstream(["Hello!"]), Asks("Go on?"))
    returned = in_mode(mode, runner, CALCULATOR, "Hi", [], on_suspend="return")
    assert isinstance(returned, Suspended)
    with pytest.raises(Blocked, match="nobody is there to answer: Go on\\?"):
        in_mode(mode, runner, CALCULATOR, "Hi", [], on_suspend="refuse")
    refusing = runner_of(tmp_path, Upstream(["Hello!"]), Asks("Go on?"), on_suspend="refuse")
    with pytest.raises(Blocked):
        in_mode(mode, refusing, CALCULATOR, "Hi", [])
    assert isinstance(in_mode(mode, refusing, CALCULATOR, "Hi", [], on_suspend="raise"), Suspended)
    wrong: Any = "never"
    with pytest.raises(UsageError, match="must be 'raise', 'return', 'refuse' or 'tell'"):
        in_mode(mode, runner, CALCULATOR, "Hi", [], on_suspend=wrong)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("is_async", [True, False])
def test_whoever_is_there_is_asked(tmp_path: Path, mode: str, is_async: bool) -> None:
    asked: list[Question] = []

    def ask(question: Question) -> str:
        asked.append(question)
        return "blue"

    async def ask_async(question: Question) -> str:
        return ask(question)

    plugin = Asks("Which?", choices=("red", "blue"))
    asker: Any = ask_async if is_async else ask
    runner = runner_of(tmp_path, Upstream(["Hello!"]), plugin, ask=asker)
    response = in_mode(mode, runner, CALCULATOR, "Hi", [])
    assert isinstance(response, Response)
    assert plugin.answers == ["blue"]
    assert [question.text for question in asked] == ["Which?"]
    assert runner.journals.ids() == []


@pytest.mark.parametrize("mode", MODES)
def test_a_person_who_does_not_answer_leaves_the_run_suspended(tmp_path: Path, mode: str) -> None:
    plugin = Asks("One?", "Two?")
    answers = {"One?": "yes", "Two?": None}
    runner = runner_of(tmp_path, Upstream(["Hi!"]), plugin, ask=lambda q: answers[q.text])
    suspended = in_mode(mode, runner, CALCULATOR, "Hi", [])
    assert isinstance(suspended, Suspended)
    assert [question.text for question in suspended.questions] == ["Two?"]
    response = in_mode(mode, runner, CALCULATOR, suspended.resume_with("no"), [])
    assert isinstance(response, Response)
    assert plugin.answers == ["yes", "yes", "no"]


@pytest.mark.parametrize("mode", MODES)
def test_who_leaves_a_question_open_is_not_asked_the_next_one(tmp_path: Path, mode: str) -> None:
    asked: list[Question] = []
    tool = Counter()
    runner = runner_of(tmp_path, two_calls(), Gate(), ask=asked.append)
    suspended = in_mode(mode, runner, CALCULATOR, "Add.", [], tools=[tool.add])
    assert isinstance(suspended, Suspended)
    assert len(asked) == 1
    assert len(suspended.questions) == 2


def test_a_question_is_in_the_journal_while_it_is_open(tmp_path: Path) -> None:
    waiting: list[Any] = []

    def ask(question: Question) -> str:
        waiting.extend(runner.suspended(next(iter(runner.journals.ids()))).questions)
        return "yes"

    runner = runner_of(tmp_path, Upstream(["Hi!"]), Asks("Go on?"), ask=ask)
    runner.run(CALCULATOR, "Hi")
    assert [question.text for question in waiting] == ["Go on?"]


# --- answers and arguments that are wrong --------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("yes", "yes"),
        (" YES ", "yes"),
        ("y", "yes"),
        ("yes for g", "yes for good"),
        ("n", "no"),
    ],
)
def test_an_answer_can_be_short(answer: str, expected: str) -> None:
    question = Question("Go?", ("yes", "no", "yes for this run", "yes for good"))
    assert question.check(answer) == expected


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("maybe", "'maybe' is not an answer to 'Go\\?'; answer one of 'left', 'right', 'rest'"),
        ("", "'' is not an answer"),
        ("r", "'r' stands for several answers to 'Go\\?'; answer one of 'right', 'rest'"),
        (3, "an answer must be a string, found int"),
    ],
)
def test_a_wrong_answer_names_the_choices(answer: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Question("Go?", ("left", "right", "rest")).check(answer)
    suspended = Suspended("06", (Question("Go?", ("left", "right", "rest"), id="0"),))
    with pytest.raises(UsageError, match=message):
        suspended.resume_with(answer)


def test_any_text_is_an_answer_to_a_question_without_choices(tmp_path: Path) -> None:
    plugin = Asks("Why?", choices=())
    runner = runner_of(tmp_path, Upstream(["Hi!"]), plugin, ask=lambda _: "Because.\n")
    runner.run(CALCULATOR, "Hi")
    assert plugin.answers == ["Because.\n"]


@pytest.mark.parametrize(
    ("text", "more", "message"),
    [
        ("", {}, "the question must be a text, found ''"),
        (3, {}, "the question must be a text, found 3"),
        ("Go?", {"choices": "yes"}, "choices must be a list of texts, found 'yes'"),
        ("Go?", {"choices": ["yes", 1]}, "choices must be a list of texts"),
        ("Go?", {"choices": ["yes", "YES"]}, "two choices are equal: 'yes', 'YES'"),
        ("Go?", {"details": b"x"}, "details must be a text"),
    ],
)
def test_a_wrong_question_names_the_argument(
    tmp_path: Path, text: Any, more: dict[str, Any], message: str
) -> None:
    class Wrong:
        @hookimpl
        async def run(self, request: Request) -> None:
            await personakit.ask(text, **more)

    with pytest.raises(personakit.PluginError, match=message):
        runner_of(tmp_path, Upstream(["Hi!"]), Wrong()).run(CALCULATOR, "Hi")


def test_where_nothing_can_wait_a_question_is_an_error(tmp_path: Path) -> None:
    class Every:
        every_call = True

        @hookimpl
        async def chat(self, request: Request) -> None:
            await personakit.ask("Go?")

    with pytest.raises(personakit.PluginError, match="outside of the hooks and tools that can"):
        runner_of(tmp_path, Upstream(["Hi!"]), Every(), Gate()).run(CALCULATOR, "Hi")
    with pytest.raises(UsageError, match="outside of the hooks and tools that can wait"):
        personakit.ask("Go?").send(None)


def test_a_dry_run_asks_nobody(tmp_path: Path) -> None:
    asked: list[Question] = []
    runner = runner_of(tmp_path, Upstream(), Asks("Go?"), ask=asked.append)
    request = runner.prepare(CALCULATOR, "Hi")
    assert request.messages[-1].text == "Hi"
    assert asked == []
    assert runner.journals.ids() == []


def test_a_tool_call_alone_asks_or_is_refused(tmp_path: Path) -> None:
    call = ToolCall("1", "nothing", "{}")
    with pytest.raises(Blocked, match="nobody is there"):
        runner_of(tmp_path, Upstream(), Gate()).call_tool(CALCULATOR, call)
    asking = runner_of(tmp_path, Upstream(), Gate(), ask=lambda _: "no")
    assert asking.call_tool(CALCULATOR, call).content == "refused"


def test_an_unknown_run_names_those_that_wait(tmp_path: Path) -> None:
    runner = runner_of(tmp_path, Upstream(["Hi!"]), Asks("Go?"))
    with pytest.raises(UsageError, match="no suspended run has the id '06'; none is waiting"):
        runner.suspended("06")
    ids = [
        each.id
        for _ in range(2)
        if isinstance(each := in_mode("run", runner, CALCULATOR, "Hi", []), Suspended)
    ]
    # The beginning of an id is not enough: in a service, to know an id is what allows an answer.
    with pytest.raises(UsageError, match="no suspended run has the id '0'; 2 runs waiting"):
        runner.suspended("0")
    with pytest.raises(UsageError, match=f"no suspended run has the id '{ids[0][:31]}'"):
        runner.resume(ids[0][:31], "yes")
    with pytest.raises(UsageError, match="no suspended run has the id 'ff'; 2 runs") as caught:
        runner.resume("ff", "yes")
    assert not any(each in str(caught.value) for each in ids)  # a service may show the message
    with pytest.raises(UsageError, match=r"no open question of run .* has the id '9'; use '0'"):
        runner.suspended(ids[0]).resume_with({"9": "yes"})
    assert len(list(runner.journals.ids())) == 2


@pytest.mark.parametrize("mode", MODES)
def test_open_questions_stay_in_the_order_of_their_calls(tmp_path: Path, mode: str) -> None:
    async def add(a: int, b: int) -> int:
        """Add."""
        await personakit.ask(f"Really {a}?", choices=["yes", "no"])
        return a + b

    def go(prompt: Any) -> Any:
        runner = runner_of(tmp_path, two_calls(), Gate())
        return in_mode(mode, runner, CALCULATOR, prompt, [], tools=[add])

    first = go("Add.")
    assert isinstance(first, Suspended)
    second = go(first.resume_with("yes"))  # the tool of the first call now asks by itself
    assert isinstance(second, Suspended)
    assert [question.text for question in second.questions] == [
        "Really 1?",
        'Allow add({"a": 3, "b": 4})?',
    ]
    assert runner_of(tmp_path, two_calls()).suspended(second.id).questions == second.questions
