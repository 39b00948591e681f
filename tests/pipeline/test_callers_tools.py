"""Tools without a function, which the caller of a run runs."""

from __future__ import annotations

import copy
import itertools
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from personakit import (
    Config,
    Conversation,
    Message,
    Request,
    Response,
    RunLog,
    Runner,
    Tool,
    ToolCall,
    ToolResult,
    UpstreamUnavailable,
    UsageError,
    hookimpl,
)
from personakit.codec import read_request, write_request
from personakit.testing import MODES, Upstream, check_plugin, in_mode, persona, runner

in_modes = pytest.mark.parametrize("mode", MODES)
SCHEMA = {"type": "object", "properties": {"question": {"type": "string"}}}
ASK = Tool("ask", None, "Ask the user.", SCHEMA)
MINE = ToolCall("c1", "weather", '{"city": "Lyon"}')
THEIRS = ToolCall("c2", "ask", '{"question": "When?"}')
BOTH = Response("I look.", tool_calls=(MINE, THEIRS), finish_reason="stop", reasoning="Hm.")
DONE = Response("Take a hat.", finish_reason="stop")


def weather(city: str) -> str:
    """Return the forecast for a city."""
    return f"{city}: sun"


@in_modes
def test_a_round_with_both_kinds_of_calls(mode: str) -> None:
    running, upstream = runner([BOTH, DONE])
    response = in_mode(mode, running, persona(), "Hi!", tools=[weather, ASK])
    assert response.tool_calls == (THEIRS,)
    assert response.tool_results == (ToolResult("c1", "Lyon: sun"),)
    assert (response.finish_reason, response.text) == ("tool_calls", "I look.")
    both = Message("assistant", "I look.", (MINE, THEIRS))
    own = Message("tool", "Lyon: sun", tool_call_id="c1")
    assert response.messages == (both, own)
    assert len(upstream.requests) == 1
    request = response.continue_with([ToolResult("c2", "Today.")])
    assert request.tools == upstream.requests[0].tools
    response = in_mode(mode, running, persona(), request)
    theirs = Message("tool", "Today.", tool_call_id="c2")
    assert upstream.requests[1].messages[2:] == (both, own, theirs)
    assert (response.text, response.tool_calls) == ("Take a hat.", ())
    assert response.messages == (Message("assistant", "Take a hat."),)


def answers(rounds: list[list[bool]]) -> tuple[list[Response], int]:
    """Return an answer for each round, with a call for each bool: True for the caller's."""
    ids = itertools.count(1)
    made = [
        Response(
            f"Round {number}.",
            tool_calls=tuple(
                ToolCall(f"c{next(ids)}", "ask" if theirs else "weather", '{"city": "Lyon"}')
                for theirs in calls
            ),
        )
        for number, calls in enumerate(rounds)
    ]
    return [*made, DONE], next(ids) - 1


@settings(max_examples=40)
@given(
    st.lists(st.lists(st.booleans(), min_size=1, max_size=3), max_size=4), st.sampled_from(MODES)
)
def test_any_rounds(rounds: list[list[bool]], mode: str) -> None:
    """Every call gets one result, whoever runs it."""
    made, calls = answers(rounds)
    running, upstream = runner(made)
    response = in_mode(mode, running, persona(), "Hi!", tools=[weather, ASK])
    turns = 0
    while response.tool_calls:
        turns += 1
        results = {call.id: f"result of {call.id}" for call in response.tool_calls}
        request = response.continue_with(results)
        response = in_mode(mode, running, persona(), request)
    assert response.text.endswith("Take a hat.")
    assert turns == sum(map(any, rounds))
    messages = upstream.requests[-1].messages
    assert [call.id for message in messages for call in message.tool_calls] == [
        f"c{number}" for number in range(1, calls + 1)
    ]
    results_of = [message.tool_call_id for message in messages if message.role == "tool"]
    assert sorted(map(str, results_of)) == sorted(f"c{number}" for number in range(1, calls + 1))


@pytest.mark.parametrize(
    ("results", "message"),
    [
        ({}, r"'c2' \(ask\) has no result; give one for each call of `response.tool_calls`"),
        ({"c2": "a", "c1": "b"}, "no call has the id 'c1'"),
        ([ToolResult("c2", "a"), ToolResult("c2", "b")], "'c2' has two results"),
        ({"c9": "a"}, r"no call has the id 'c9'; 'c2' \(ask\) has no result"),
        ("c2", "expected a list of ToolResult, found 'c2'"),
        (None, "expected a list of ToolResult, found None"),
        (["c2"], "expected ToolResult.*, found 'c2'"),
        ({"c2": 5}, "expected ToolResult.*, found {'c2': 5}"),
        ([ToolResult("c2", None)], "expected ToolResult"),  # type: ignore[arg-type]
    ],
)
def test_results_that_do_not_fit(results: Any, message: str) -> None:
    running, _ = runner([BOTH])
    response = running.run(persona(), "Hi!", tools=[weather, ASK])
    with pytest.raises(UsageError, match=message):
        response.continue_with(results)


def test_nothing_to_continue() -> None:
    running, _ = runner([DONE])
    for response in (BOTH, running.run(persona(), "Hi!", tools=[ASK])):
        with pytest.raises(UsageError, match="the run did not end with tool calls"):
            response.continue_with([])


def test_the_last_round_may_be_the_callers() -> None:
    running, _ = runner([BOTH])
    assert running.run(persona(), "Hi!", tools=[weather, ASK], max_rounds=1).tool_calls == (THEIRS,)


def test_the_plugins_are_applied_once() -> None:
    class Adds:
        @hookimpl
        def chat(self, request: Request) -> Request:
            return request.with_system("Be brief.").with_tools(ASK)

    asks = Response("", tool_calls=(THEIRS,))
    running, upstream = runner([asks, DONE], plugins=[Adds()])
    response = running.run(persona(), "Hi!")
    running.run(persona(), response.continue_with({"c2": "Today."}))
    assert [request.system for request in upstream.requests] == ["You are a test.\n\nBe brief."] * 2
    assert check_plugin(Adds(), answers=[asks]).tool_calls == (THEIRS,)


def test_a_structured_answer_is_read_at_its_end() -> None:
    schema = {"type": "object", "properties": {"hat": {"type": "boolean"}}}
    running, _ = runner([Response("Hm.", tool_calls=(THEIRS,)), '{"hat": true}'])
    response = running.run(persona(), "Hi!", tools=[ASK], output=schema)
    assert (response.text, response.parsed) == ("Hm.", None)
    request = response.continue_with({"c2": "Today."})
    assert running.run(persona(), request, output=schema).parsed == {"hat": True}


def test_a_tool_without_a_function_is_one_elsewhere_too() -> None:
    assert (
        pickle.loads(pickle.dumps(ASK))
        == copy.deepcopy(ASK)
        == ASK
        == Tool("ask", description="Ask the user.", parameters=SCHEMA)
    )
    written = write_request(Request("a/b", tools=(ASK, Tool.of(weather))))
    read = read_request(json.dumps(written), "", {})
    assert [tool.function is None for tool in read.tools] == [True, False]


# --- conversations ------------------------------------------------------------------------------


def talk(*said: Any, keep: int | None = None) -> tuple[Conversation, Upstream]:
    running, upstream = runner(said)
    keys: dict[str, Any] = {} if keep is None else {"history": {"keep": keep}}
    return running.conversation(persona(**keys)), upstream


def said_in(mode: str, conversation: Conversation, prompt: Any) -> Response:
    return in_mode(mode, InMode(conversation), None, prompt, tools=[weather, ASK])  # type: ignore[arg-type]


class InMode:
    """A conversation with the methods of a runner."""

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation

    def __getattr__(self, name: str) -> Any:
        return lambda _, prompt, **options: getattr(self._conversation, name)(prompt, **options)


@in_modes
@pytest.mark.parametrize("keep", [None, 1])
def test_a_conversation_goes_on_with_the_results(mode: str, keep: int | None) -> None:
    conversation, upstream = talk("Hello!", BOTH, DONE, keep=keep)
    said_in(mode, conversation, "Hi!")
    response = said_in(mode, conversation, "What do I wear?")
    response = said_in(mode, conversation, response.continue_with({"c2": "Today."}))
    assert response.text == "Take a hat."
    turn = upstream.requests[-1].messages[-4:]
    assert [message.role for message in turn] == ["user", "assistant", "tool", "tool"]
    assert turn[1].tool_calls == (MINE, THEIRS)
    assert conversation.messages[-5:-1] == turn
    assert conversation.messages[-1] == Message("assistant", "Take a hat.")


def test_a_turn_is_read_by_pieces() -> None:
    conversation, _ = talk(BOTH, DONE)
    stream = conversation.stream("What do I wear?", tools=[weather, ASK])
    kinds = [piece.kind for piece in stream.pieces()]
    assert (kinds.count("tool_call"), kinds.count("reasoning")) == (2, 1)
    stream = conversation.stream(stream.response.continue_with({"c2": "Today."}))
    assert "".join(stream) == "Take a hat."


def test_a_conversation_goes_on_without_the_results() -> None:
    conversation, upstream = talk(BOTH, DONE)
    response = conversation.run("What do I wear?", tools=[weather, ASK])
    assert conversation.run("Never mind.").text == "Take a hat."
    (call,) = (call for message in upstream.requests[1].messages for call in message.tool_calls)
    assert call == MINE
    with pytest.raises(UsageError, match="does not continue the last turn of this conversation"):
        conversation.run(response.continue_with({"c2": "Today."}))
    assert conversation.undo() == Message("user", "Never mind.")


def test_a_turn_that_fails_can_be_continued_again() -> None:
    conversation, _ = talk(BOTH, UpstreamUnavailable("down"), DONE)
    response = conversation.run("What do I wear?", tools=[weather, ASK])
    request = response.continue_with({"c2": "Today."})
    before = conversation.messages
    with pytest.raises(UpstreamUnavailable):
        conversation.run(request)
    assert conversation.messages == before
    assert conversation.prepare(request).messages == request.messages
    assert conversation.run(request).text == "Take a hat."


def test_the_log_has_the_calls_and_continues(tmp_path: Path) -> None:
    log = RunLog(tmp_path / "log.db")
    config, upstream = Config(model="test/m", path=()), Upstream([BOTH, DONE, "Bye."])
    with Runner(config, backend=upstream, log=log) as running:
        conversation = running.conversation(persona())
        response = conversation.run("What do I wear?", tools=[weather, ASK])
        (row,) = log.find()
        assert row.sent is None
        assert row.messages == response.messages
        assert row.finish_reason == "tool_calls"
        assert [tool.function is None for tool in row.rendered.tools] == [False, True]
