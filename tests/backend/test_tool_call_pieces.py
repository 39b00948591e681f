"""Tool calls in the spellings of different servers, whole and in pieces."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.backend import EVENTS, in_modes, serving
from hypothesis import given, settings
from hypothesis import strategies as st

from personakit import (
    BackendError,
    IncompleteAnswer,
    Message,
    Request,
    Response,
    Runner,
    ToolCall,
    Usage,
)
from personakit.codec import read_response, write_response
from personakit.conversation import transcript
from personakit.log import RunLog
from personakit.testing import Reply, Server, in_mode, persona

CALLS = st.lists(
    st.tuples(
        st.sampled_from(["add", "now", "add_all"]),
        st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=5), max_size=3),
    ),
    min_size=1,
    max_size=4,
)
# How a server spells the pieces of the call with a number: the index, whether the id and the name
# are repeated in each piece, and the id.
SPELLINGS: dict[str, tuple[Any, bool, Any]] = {
    "as OpenAI": (lambda number: number, False, lambda number: f"c{number}"),
    "index 0 for all": (lambda _: 0, False, lambda number: f"c{number}"),
    "index 0 and repeated ids and names": (lambda _: 0, True, lambda number: f"c{number}"),
    "no index": (lambda _: None, True, lambda number: f"c{number}"),
    "an index as text": (str, False, lambda number: f"c{number}"),
    "empty ids": (lambda number: number, False, lambda _: ""),
    "no ids, repeated names": (lambda number: number, True, lambda _: None),
    "one id for all": (lambda number: number, False, lambda _: "call"),
    "one id for all, in each piece": (lambda number: number, True, lambda _: "call"),
    "all arguments so far": (lambda number: number, False, lambda number: f"c{number}"),
    "all arguments so far, names": (lambda number: number, True, lambda number: f"c{number}"),
}


def pieces(
    calls: list[tuple[str, dict[str, Any]]], spelling: str, cuts: list[int]
) -> Iterator[dict[str, Any]]:
    """Yield the deltas of calls, their arguments cut at some places."""
    index_of, repeats, id_of = SPELLINGS[spelling]
    for number, (name, values) in enumerate(calls):
        text = json.dumps(values)
        places = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
        for at, (start, end) in enumerate(itertools.pairwise(places)):
            arguments = text[:end] if spelling.startswith("all arguments") else text[start:end]
            function: dict[str, Any] = {"arguments": arguments}
            piece: dict[str, Any] = {"function": function}
            if at == 0 or repeats:
                function["name"] = name
                piece |= {"id": id_of(number), "type": "function"}
            if index_of(number) is not None:
                piece["index"] = index_of(number)
            yield {"tool_calls": [piece]}
        if repeats and index_of(number) is not None:
            # Some servers end each call with an empty piece.
            yield {"tool_calls": [{**piece, "function": {"name": name, "arguments": ""}}]}


def streamed(deltas: Iterable[dict[str, Any]]) -> Reply:
    choices: list[dict[str, Any]] = [
        {"index": 0, "delta": delta, "finish_reason": None} for delta in deltas
    ]
    choices.append({"index": 0, "delta": {}, "finish_reason": "tool_calls"})
    events = (b"data: " + json.dumps({"choices": [one]}).encode() + b"\n\n" for one in choices)
    return Reply(b"".join(events) + b"data: [DONE]\n\n", headers=EVENTS)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_any_cut_gives_the_calls_of_the_whole_answer(spelling: str) -> None:
    with serving() as (running, server):

        @settings(max_examples=30, deadline=None)
        @given(CALLS, st.lists(st.integers(0, 80), max_size=4))
        def check(calls: list[tuple[str, dict[str, Any]]], cuts: list[int]) -> None:
            server.requests.clear()
            server.answers = [streamed(pieces(calls, spelling, cuts))]
            stream = running.stream(persona(), "Hi")
            list(stream)
            found = stream.response.tool_calls
            assert [(call.name, json.loads(call.arguments)) for call in found] == calls
            assert len({call.id for call in found}) == len(calls)
            assert all(call.id for call in found)

        check()


def add(a: int, b: int) -> int:
    """Add."""
    return a + b


def now() -> str:
    """Tell the time."""
    return "12:00"


def body(*calls: Any, reason: str = "tool_calls", **message: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": None, "tool_calls": list(calls), **message}
    return {"choices": [{"index": 0, "message": message, "finish_reason": reason}]}


def call(identity: Any, name: str, arguments: Any, **more: Any) -> dict[str, Any]:
    return {"id": identity, "function": {"name": name, "arguments": arguments}, **more}


@in_modes
def test_ids_are_unique_back_and_forth(mode: str) -> None:
    first = body(call("", "now", "{}"), call(None, "now", "{}"), call("x", "now", "{}"))
    again = body(call("x", "now", "{}"))
    with serving(first, again, "done") as (running, server):
        response = in_mode(mode, running, persona(), "Hi", tools=[now])
    sent = server.requests[-1].body["messages"]
    asked = [one["id"] for message in sent for one in message.get("tool_calls", ())]
    answered = [message["tool_call_id"] for message in sent if message["role"] == "tool"]
    assert asked == answered
    assert len(set(asked)) == 4
    assert response.text == "done"


@in_modes
@pytest.mark.parametrize(
    ("arguments", "sent"),
    [
        ({"a": 2, "b": 3}, {"a": 2, "b": 3}),
        ("", {}),
        (None, {}),
        (" ", {}),
        ('{"a": 2, "b"', {"arguments": '{"a": 2, "b"'}),
        ("[2, 3]", {"arguments": "[2, 3]"}),
        ('{"a": NaN}', {"arguments": '{"a": NaN}'}),
        ([2, 3], {"arguments": "[2, 3]"}),
    ],
)
def test_what_goes_back_is_a_json_object(mode: str, arguments: Any, sent: Any) -> None:
    with serving(body(call("c1", "add", arguments)), "done") as (running, server):
        in_mode(mode, running, persona(), "Hi", tools=[add])
    (one,) = server.requests[-1].body["messages"][-2]["tool_calls"]
    assert json.loads(one["function"]["arguments"]) == sent


@in_modes
def test_calls_of_an_answer_that_was_cut_are_never_run(mode: str) -> None:
    ran: list[str] = []

    def wipe(folder: str = "/") -> str:
        """Delete a folder."""
        ran.append(folder)
        return "done"

    for reason, says in (("length", "raise max_tokens"), ("content_filter", "held back")):
        usage = {"prompt_tokens": 5, "completion_tokens": 3}
        answer = body(call("c1", "wipe", ""), reason=reason, content="I will.") | {"usage": usage}
        with (
            serving(answer) as (running, _),
            pytest.raises(IncompleteAnswer, match=f"wipe.*not run.*{says}") as raised,
        ):
            in_mode(mode, running, persona(), "Hi", tools=[wipe])
        assert raised.value.partial == "I will."
        answered = raised.value.response
        assert isinstance(answered, Response)
        assert answered.tool_calls == (ToolCall("c1", "wipe", "{}"),)
        assert answered.usage == Usage(5, 3, 8)
    assert ran == []


@in_modes
def test_what_the_provider_sent_with_a_call_goes_back_to_it_alone(mode: str) -> None:
    signed = {"google": {"thought_signature": "c2ln"}}
    first = body(
        call("c1", "now", "{}", extra_content=signed), reasoning_content="I must look.",
        reasoning_details=[{"type": "reasoning.text", "text": "I must look.", "index": 0}],
    )  # fmt: skip
    with serving(first, "done") as (running, server):
        response = in_mode(mode, running, persona(), "Hi", tools=[now])
        back = server.requests[-1].body["messages"][-2]
        assert back["reasoning_content"] == "I must look."
        assert back["reasoning_details"][0]["text"] == "I must look."
        assert back["tool_calls"][0]["extra_content"] == signed
        assert response.reasoning == "I must look."
        (item,) = response.messages[0].items
        assert item["provider"] == "openai"
        # Another provider does not get it.
        foreign = tuple(
            message.replace(items=({**one, "provider": "other"} for one in message.items))
            for message in response.messages
        )
        running.run(persona(), Request("openai/m", (Message("user", "Hi"), *foreign)))
        assert "extra_content" not in json.dumps(server.requests[-1].body)
        assert "reasoning_content" not in json.dumps(server.requests[-1].body)


def test_a_stream_of_thoughts_gives_the_items_of_the_whole_answer() -> None:
    deltas: list[dict[str, Any]] = [
        {"role": "assistant", "reasoning": "I ", "reasoning_details": [
            {"type": "reasoning.text", "text": "I ", "index": 0}]},
        {"reasoning": "look.", "reasoning_details": [
            {"type": "reasoning.text", "text": "look.", "signature": "s", "index": 0}]},
        {"tool_calls": [{"index": 0, "id": "c1", "function": {"name": "now", "arguments": "{"}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": "}"}, "extra_content": {"a": 1}}]},
    ]  # fmt: skip
    details = [{"type": "reasoning.text", "text": "I look.", "signature": "s", "index": 0}]
    whole = body(
        call("c1", "now", "{}", extra_content={"a": 1}), reasoning="I look.",
        reasoning_details=details,
    )  # fmt: skip
    with serving(streamed(iter(deltas)), whole) as (running, _):
        stream = running.stream(persona(), "Hi")
        list(stream)
        answered = running.run(persona(), "Hi")
    assert stream.response.items == answered.items != ()
    assert stream.response.reasoning == answered.reasoning == "I look."


def test_items_survive_the_log_and_a_file(tmp_path: Path) -> None:
    first = body(call("c1", "now", "{}", extra_content={"a": [1, "x\ny"]}))
    log = RunLog(tmp_path / "runs.db")
    with Server([first, "done", "again"]) as server:
        running = Runner(server.config(), log=log)
        talk = running.conversation(persona())
        talk.run("Hi", tools=[now])
        talk.save(tmp_path / "talk.json")
        running.close()
    (row,) = log.find()
    assert row.messages == talk.messages[-3:]
    assert row.messages[0].items
    assert transcript.read(tmp_path / "talk.json").messages == talk.messages
    answer = Response("", tool_calls=talk.messages[-3].tool_calls, items=talk.messages[-3].items)
    assert read_response(write_response(answer)).message == answer.message


def piece(identity: Any, name: str | None, arguments: str | None, index: Any = 0) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {
        "index": index, "id": identity,
        "function": {key: value for key, value in function.items() if value is not None},
    }  # fmt: skip


ADDS = '{"a": 2, "b": 3}'
PIECES: dict[str, list[list[dict[str, Any]]]] = {
    "a new id in each piece": [[piece("A", "add", None)], [piece("B", None, ADDS)]],
    "a new id in the last piece": [[piece("A", "add", ADDS)], [piece("B", None, "")]],
    "a placeholder first": [[piece("A", "add", "{}")], [piece(None, None, ADDS)]],
    "the whole call again at the end": [
        [piece("A", "add", "")], [piece(None, None, ADDS)], [piece("A", "add", ADDS)],
    ],
    "all arguments so far": [
        [piece("A", "add", ADDS[:5])], [piece(None, None, ADDS[:9])], [piece(None, None, ADDS)],
    ],
    "a name in pieces": [[piece("A", "ad", "")], [piece("A", "d", "")], [piece("A", None, ADDS)]],
}  # fmt: skip


@pytest.mark.parametrize("spelling", PIECES)
def test_one_call_in_odd_pieces_is_one_call(spelling: str) -> None:
    deltas = ({"tool_calls": pieces} for pieces in PIECES[spelling])
    with serving(streamed(deltas), "done") as (running, server):
        response = running.stream(persona(), "Hi", tools=[add, now])
        assert "".join(response) == "done"
    (sent,) = server.requests[-1].body["messages"][-2]["tool_calls"]
    assert (sent["function"]["name"], json.loads(sent["function"]["arguments"])) == (
        "add", {"a": 2, "b": 3},
    )  # fmt: skip
    assert server.requests[-1].body["messages"][-1]["content"] == "5"


@pytest.mark.parametrize("in_one", [True, False])
def test_two_names_without_ids_are_two_calls(in_one: bool) -> None:
    both = [piece(None, "now", ""), piece(None, "add", ADDS)]
    deltas = [both] if in_one else [[one] for one in both]
    reply = streamed({"tool_calls": pieces} for pieces in deltas)
    with serving(reply, "done") as (running, server):
        list(running.stream(persona(), "Hi", tools=[add, now]))
    answers = [m["content"] for m in server.requests[-1].body["messages"] if m["role"] == "tool"]
    assert answers == ["12:00", "5"]


def test_a_signed_block_of_thoughts_goes_back_in_one_piece() -> None:
    blocks = [
        {"type": "thinking", "thinking": "th"}, {"type": "thinking", "thinking": "ink"},
        {"type": "thinking", "thinking": "", "signature": "S"},
        {"type": "thinking", "thinking": "more"},
    ]  # fmt: skip
    deltas: list[dict[str, Any]] = [{"thinking_blocks": [block]} for block in blocks]
    deltas.append({"tool_calls": [piece("A", "now", "{}")]})
    with serving(streamed(iter(deltas)), "done") as (running, server):
        list(running.stream(persona(), "Hi", tools=[now]))
    assert server.requests[-1].body["messages"][-2]["thinking_blocks"] == [
        {"type": "thinking", "thinking": "think", "signature": "S"},
        {"type": "thinking", "thinking": "more"},
    ]


@in_modes
def test_the_text_of_earlier_rounds_is_part_of_an_error(mode: str) -> None:
    first = body(call("c1", "now", "{}"), content="I look.")
    broken = {"choices": [{"index": 0, "message": {"role": "assistant"}, "finish_reason": "stop"}]}
    with (
        serving(first, broken) as (running, _),
        pytest.raises(BackendError) as raised,
    ):
        in_mode(mode, running, persona(), "Hi", tools=[now])
    assert raised.value.partial == "I look."
