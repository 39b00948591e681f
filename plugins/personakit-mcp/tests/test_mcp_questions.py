"""Asking the user of a client: for arguments, and for what plugins and tools want to know."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from mcp import MCPError
from mcp_types import ElicitResult, InputRequiredResult
from serving_clients import MODES, PLAN, connected, library, run

import personakit
from personakit import Persona, Request, Response, Runner, Tool, ToolCall, hookimpl
from personakit.testing import Upstream, runner

both = pytest.mark.parametrize("mode", MODES)
CALL = ToolCall("1", "book", '{"train": "the 9:12"}')


async def book(train: str) -> str:
    """Book a train."""
    question = f"Book {train}?"
    if await personakit.ask(question, choices=["yes", "no"], details="It costs 40 EUR.") == "yes":
        return f"booked {train}"
    return "the user refused"


class Books:
    """Gives every persona the tool `book`."""

    @hookimpl
    def chat(self, request: Request, persona: Persona) -> Request:
        del persona
        schema = {"type": "object", "properties": {"train": {"type": "string"}}}
        return request.with_tools(Tool("book", book, "Book a train.", schema))


class User:
    """Fills in forms.

    Args:
        answers: For each form in turn the content of its fields; None declines.
    """

    def __init__(self, *answers: Mapping[str, Any] | None) -> None:
        self._answers = list(answers)
        self.forms: list[Any] = []

    async def __call__(self, context: Any, params: Any) -> ElicitResult:
        del context
        self.forms.append(params)
        content = self._answers.pop(0)
        if content is None:
            return ElicitResult(action="decline")
        return ElicitResult(action="accept", content=dict(content))


def booking(folder: Path) -> tuple[Runner, Upstream]:
    """Return a runner whose model wants to book a train."""
    answers = (Response("", tool_calls=(CALL,)), "Have a good journey.")
    return runner(answers, plugins=[Books()], path=[library(folder, plan=PLAN)])


def results(upstream: Upstream) -> list[str]:
    """Return the results of tools that the model was told."""
    return [message.text for message in upstream.requests[-1].messages if message.role == "tool"]


def called(running: Runner, mode: str, given: Mapping[str, Any], user: User | None) -> Any:
    """Call the tool `plan`."""

    async def work() -> Any:
        client = {} if user is None else {"elicitation_callback": user}
        async with connected(running, mode, tools=("plan",), client=client) as client_:
            return await client_.call_tool("plan", dict(given))

    return run(work)


@both
def test_missing_arguments_are_asked_for(mode: str, tmp_path: Path) -> None:
    running, upstream = runner(["Go."], path=[library(tmp_path, plan=PLAN)])
    user = User({"who": "Ann", "days": 3})
    result = called(running, mode, {"input": "To Oslo!"}, user)
    assert (result.is_error, result.content[0].text) == (False, "Go.")
    assert upstream.requests[0].messages[0].text.endswith("for Ann, who travels 3 days.")
    assert user.forms[0].message == "plan needs who, days."
    assert user.forms[0].requested_schema["properties"] == {
        "who": {"type": "string", "title": "who", "description": "Who travels."},
        "days": {"type": "integer", "title": "days", "minimum": 1, "maximum": 30},
    }


@both
def test_a_wrong_answer_is_asked_for_again(mode: str, tmp_path: Path) -> None:
    running, upstream = runner(["Go."], path=[library(tmp_path, plan=PLAN)])
    user = User({"who": "Ann", "days": 99}, {"days": 5})
    result = called(running, mode, {"input": "To Oslo!"}, user)
    assert result.content[0].text == "Go."
    assert list(user.forms[1].requested_schema["properties"]) == ["days"]
    assert "it is 99, the maximum is 30" in user.forms[1].message
    assert "5 days" in upstream.requests[0].messages[0].text


@both
@pytest.mark.parametrize("answers", [(None,), ({}, {}, {})])
def test_without_an_answer_the_call_is_an_error(
    mode: str, tmp_path: Path, answers: tuple[Any, ...]
) -> None:
    running, upstream = runner(["Go."], path=[library(tmp_path, plan=PLAN)])
    result = called(running, mode, {"input": "To Oslo!"}, User(*answers))
    assert result.is_error
    assert "argument 'who' is required: Who travels" in result.content[0].text
    assert upstream.requests == []


@both
@pytest.mark.parametrize(
    ("answer", "told"), [("yes", "booked the 9:12"), ("no", "the user refused")]
)
def test_a_tool_asks_the_user_of_the_client(
    mode: str, tmp_path: Path, answer: str, told: str
) -> None:
    running, upstream = booking(tmp_path)
    user = User({"answer": answer})
    result = called(running, mode, {"who": "Ann", "days": 3, "input": "Go!"}, user)
    assert result.content[0].text == "Have a good journey."
    assert results(upstream) == [told]
    assert len(upstream.requests) == 2
    assert user.forms[0].message == "Book the 9:12?\nIt costs 40 EUR."
    assert user.forms[0].requested_schema["properties"]["answer"]["enum"] == ["yes", "no"]
    assert list(running.journals.ids()) == []


@both
@pytest.mark.parametrize("user", [None, (None,)])
def test_the_model_is_told_if_nobody_answers(
    mode: str, tmp_path: Path, user: tuple[Any, ...] | None
) -> None:
    running, upstream = booking(tmp_path)
    asked = None if user is None else User(*user)
    result = called(running, mode, {"who": "Ann", "days": 3, "input": "Go!"}, asked)
    assert result.content[0].text == "Have a good journey."
    assert "nobody is there to answer: Book the 9:12?" in results(upstream)[0]
    assert list(running.journals.ids()) == []


@both
def test_a_client_that_always_answers_wrongly_is_not_asked_for_ever(
    mode: str, tmp_path: Path
) -> None:
    running, upstream = booking(tmp_path)
    user = User({"answer": "maybe"}, {}, {"answer": 7})
    result = called(running, mode, {"who": "Ann", "days": 3, "input": "Go!"}, user)
    assert result.content[0].text == "Have a good journey."
    assert "nobody is there to answer" in results(upstream)[0]
    assert len(user.forms) == 3


@both
def test_half_a_character_in_a_question_is_replaced(mode: str, tmp_path: Path) -> None:
    call = ToolCall("1", "book", '{"train": "the \\ud800 9:12"}')
    replies = (Response("", tool_calls=(call,)), "Have a good journey.")
    running, _ = runner(replies, plugins=[Books()], path=[library(tmp_path, plan=PLAN)])
    user = User({"answer": "yes"})
    result = called(running, mode, {"who": "Ann", "days": 3, "input": "Go!"}, user)
    assert result.content[0].text == "Have a good journey."
    assert user.forms[0].message.startswith("Book the \ufffd 9:12?")


@both
def test_arguments_and_then_a_question(mode: str, tmp_path: Path) -> None:
    running, upstream = booking(tmp_path)
    user = User({"who": "Ann", "days": 3}, {"answer": "maybe"}, {"answer": "yes"})
    result = called(running, mode, {"input": "Go!"}, user)
    assert result.content[0].text == "Have a good journey."
    assert results(upstream) == ["booked the 9:12"]
    assert len(user.forms) == 3


def _raw(running: Runner, use: Callable[[Any, Any], Any], **offer: Any) -> Any:
    async def work() -> Any:
        client = {"elicitation_callback": User()}
        async with connected(
            running, "2026-07-28", tools=("plan",), client=client, **offer
        ) as connection:
            given = {"who": "Ann", "days": 3, "input": "Go!"}
            first = await connection.session.call_tool("plan", given, allow_input_required=True)
            assert isinstance(first, InputRequiredResult)
            return await use(connection.session, first)

    return run(work)


def test_the_state_of_a_question_cannot_be_read_or_made_up(tmp_path: Path) -> None:
    async def use(session: Any, first: InputRequiredResult) -> None:
        state = first.request_state or ""
        (waiting,) = running.journals.ids()
        assert waiting not in state
        answers = {key: ElicitResult(action="accept", content={"answer": "yes"})
                   for key in first.input_requests or {}}  # fmt: skip
        given = {"who": "Ann", "days": 3, "input": "Go!"}
        other = {**given, "days": 4}
        for arguments, sent in ((given, f"{state[:-2]}AA"), (given, "{}"), (other, state)):
            with pytest.raises(MCPError, match="requestState"):
                await session.call_tool(
                    "plan", arguments, input_responses=answers, request_state=sent
                )
        result = await session.call_tool(
            "plan", given, input_responses=answers, request_state=state
        )
        assert result.content[0].text == "Have a good journey."

    running, upstream = booking(tmp_path)
    _raw(running, use)
    assert results(upstream) == ["booked the 9:12"]


def test_a_run_that_nobody_continues_leaves_no_journal(tmp_path: Path) -> None:
    async def use(session: Any, first: InputRequiredResult) -> None:
        del session, first
        assert len(list(running.journals.ids())) == 1

    running, _ = booking(tmp_path)
    _raw(running, use)
    assert list(running.journals.ids()) == []


@both
@pytest.mark.parametrize("answers", [({"answer": "yes"},), None], ids=["answered", "told"])
def test_a_run_that_fails_after_a_question_leaves_no_journal(
    mode: str, tmp_path: Path, answers: tuple[Any, ...] | None
) -> None:
    replies = (Response("", tool_calls=(CALL,)), personakit.BadRequest("the upstream failed"))
    running, upstream = runner(replies, plugins=[Books()], path=[library(tmp_path, plan=PLAN)])
    user = None if answers is None else User(*answers)
    result = called(running, mode, {"who": "Ann", "days": 3, "input": "Go!"}, user)
    assert (result.is_error, result.content[0].text) == (True, "the upstream failed")
    assert len(upstream.requests) == 2
    assert list(running.journals.ids()) == []
