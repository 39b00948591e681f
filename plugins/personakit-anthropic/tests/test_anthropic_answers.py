"""Answers of the Messages API in four modes: text, thoughts, tools, citations, usage, errors."""

import itertools
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from personakit import (
    BackendError,
    BadRequest,
    IncompleteAnswer,
    InvalidAnswer,
    Message,
    QuotaExhausted,
    RateLimited,
    Request,
    ToolCall,
    UpstreamUnavailable,
)
from personakit.testing import MODES, Reply, in_mode, persona

WHOLE, STREAMED = MODES[:2], MODES[2:]
THOUGHT = {"type": "thinking", "thinking": "Let me look it up.", "signature": "c2lnbmVk"}
HIDDEN = {"type": "redacted_thinking", "data": "b3BhcXVl"}


def call(number: int, **arguments: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": f"toolu_{number}", "name": "rain", "input": arguments}


def text(words: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": words, **more}


def rain(town: str) -> str:
    """Return the rain of a town."""
    return f"{len(town)} mm"


@pytest.mark.parametrize("mode", MODES)
def test_text_usage_and_headers(mode: str, serving: Any, answer: Any) -> None:
    used = {"cache_read_input_tokens": 100, "cache_creation_input_tokens": 30}
    with serving([answer(text("Grüße 🌧️!"), **used)]) as (runner, fake):
        response = in_mode(mode, runner, persona(), "Hi!")
    assert (response.text, response.finish_reason, response.id) == ("Grüße 🌧️!", "stop", "msg_1")
    usage = response.usage
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (140, 5, 145)
    assert (usage.cached_tokens, usage.cache_write_tokens) == (100, 30)
    (sent,) = fake.requests
    headers = {name.lower(): value for name, value in sent.headers.items()}
    assert (sent.path, headers["x-api-key"]) == ("/v1/messages", "sk-ant-test")
    assert headers["anthropic-version"] == "2023-06-01"
    assert "authorization" not in headers


@pytest.mark.parametrize("mode", MODES)
def test_a_tool_loop_of_three_rounds_sends_back_the_signed_thoughts(
    mode: str, serving: Any, answer: Any
) -> None:
    first = [THOUGHT, text("I look."), call(1, town="Ulm"), call(2, town="Bonn")]
    second = [HIDDEN, {**THOUGHT, "signature": "c2Vjb25k"}, call(3)]
    last = [{**THOUGHT, "signature": "bGFzdA=="}, text("Rain everywhere.")]
    answers = [
        answer(*first, stop="tool_use"),
        answer(*second, stop="tool_use"),
        answer(*last),
    ]
    with serving(answers) as (runner, fake):
        response = in_mode(mode, runner, persona(), "Rain?", tools=[rain])
    assert response.text == "I look.\n\nRain everywhere."
    assert response.reasoning == "\n\n".join(["Let me look it up."] * 3)
    question = {"role": "user", "content": [text("Rain?")]}
    results = [
        {"type": "tool_result", "tool_use_id": "toolu_1", "content": [text("3 mm")]},
        {"type": "tool_result", "tool_use_id": "toolu_2", "content": [text("4 mm")]},
    ]
    turns = fake.bodies[2]["messages"]
    assert turns[:4] == [
        question,
        {"role": "assistant", "content": first},
        {"role": "user", "content": results},
        {"role": "assistant", "content": second},
    ]
    assert turns[4]["content"][0]["content"][0]["text"].startswith("error: ")
    assert len(turns) == 5
    assert turns[:3] == fake.bodies[1]["messages"]
    assert fake.bodies[0]["tools"][0]["input_schema"]["required"] == ["town"]
    # The thoughts of the last answer go back, too, if the conversation goes on.
    assert response.messages[-1].items[0]["items"] == (last[0], {"place": "text", "size": 16})


def test_items_of_another_model_are_not_sent(serving: Any, answer: Any) -> None:
    answers = [answer(THOUGHT, text("One")), answer(text("Two")), answer(text("Three"))]
    with serving(answers) as (runner, fake):
        talk = runner.conversation(persona())
        talk.run("1")
        talk.run("2", model="anthropic/claude-sonnet-5")
        talk.run("3")
    kinds = [
        [block["type"] for block in body["messages"][1]["content"]] for body in fake.bodies[1:]
    ]
    assert kinds == [["text"], ["thinking", "text"]]


def test_a_history_of_another_api_goes_in(serving: Any, answer: Any) -> None:
    request = Request(
        "anthropic/claude-opus-5-5",
        (
            Message("user", "Rain?"),
            Message(
                "assistant",
                None,
                (ToolCall("functions.rain:0", "rain", "broken"),),
                items=({"provider": "openai", "wire": "responses", "items": ({"id": "rs_1"},)},),
            ),
            Message("tool", "", tool_call_id="functions.rain:0"),
            Message("assistant", "None.", items=({"provider": "anthropic", "message": {}},)),
            Message("user", "Sure?"),
        ),
    )
    with serving([answer(text("Yes"))]) as (runner, fake):
        assert runner.run(persona(), request).text == "Yes"
    use = {"type": "tool_use", "id": "functions_rain_0", "name": "rain"}
    assert fake.bodies[0]["messages"][1:3] == [
        {"role": "assistant", "content": [{**use, "input": {"arguments": "broken"}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "functions_rain_0"}]},
    ]


@pytest.mark.parametrize("mode", MODES)
def test_citations_are_annotations(mode: str, serving: Any, answer: Any) -> None:
    citation = {
        "type": "char_location",
        "cited_text": "It rains.",
        "document_index": 0,
        "document_title": None,
        "start_char_index": 0,
        "end_char_index": 9,
        "file_id": None,
    }
    cited = [text("It "), text("rains", citations=[citation]), text(".")]
    with serving([answer(*cited)]) as (runner, _):
        response = in_mode(mode, runner, persona(), "Rain?")
    assert response.text == "It rains."
    assert response.annotations == (citation,)


@pytest.mark.parametrize("mode", MODES)
def test_blocks_that_are_not_known_are_kept_in_their_places(
    mode: str, serving: Any, answer: Any
) -> None:
    search = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search"}
    found = {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []}
    blocks = [text("I search. "), {**search, "input": {"query": "rain"}}, found, text("Rain.")]
    answers = [answer(*blocks), answer(text("Bye"))]
    with serving(answers) as (runner, fake):
        response = in_mode(mode, runner, persona(), "Rain?")
        assert response.text == "I search. Rain."
        assert not response.tool_calls
        assert response.request is not None
        runner.run(persona(), response.request.with_messages(response.message))
    assert fake.bodies[1]["messages"][1]["content"] == blocks


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("stop", "reason"),
    [
        ("max_tokens", "length"),
        ("stop_sequence", "stop"),
        ("refusal", "content_filter"),
        ("pause_turn", "length"),
        ("model_context_window_exceeded", "length"),
    ],
)
def test_stop_reasons(mode: str, stop: str, reason: str, serving: Any, answer: Any) -> None:
    with serving([answer(text("Half an"), stop=stop)]) as (runner, _):
        assert in_mode(mode, runner, persona(), "Hi!").finish_reason == reason


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("status", "kind", "raised"),
    [
        (400, "invalid_request_error", BadRequest),
        (402, "billing_error", QuotaExhausted),
        (429, "rate_limit_error", RateLimited),
        (529, "overloaded_error", UpstreamUnavailable),
    ],
)
def test_error_replies(mode: str, status: int, kind: str, raised: type, serving: Any) -> None:
    error = {"type": "error", "error": {"type": kind, "message": "It says why."}, "request_id": "r"}
    reply = Reply(json.dumps(error).encode(), status, {"request-id": "req_1"})
    request = Request("anthropic/claude-opus-5-5", (Message("user", "Hi!"),), max_retries=0)
    with serving([reply]) as (runner, _), pytest.raises(raised, match="It says why") as caught:
        in_mode(mode, runner, persona(), request)
    assert isinstance(caught.value, BackendError)
    assert (caught.value.status, caught.value.request_id) == (status, "req_1")


@pytest.mark.parametrize("mode", STREAMED)
def test_an_error_within_a_stream(mode: str, serving: Any, answer: Any, pieces: Any) -> None:
    whole = pieces(answer(text("Half an answer")))
    begun = whole[: whole.index(b"event: content_block_stop")]
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    end = f"event: error\ndata: {json.dumps(error)}\n\n".encode()
    reply = Reply(begun + end, headers={"content-type": "text/event-stream"})
    with serving([reply]) as (runner, _), pytest.raises(UpstreamUnavailable) as caught:
        in_mode(mode, runner, persona(), "Hi!")
    assert caught.value.partial == "Half an answer"


@pytest.mark.parametrize("mode", STREAMED)
def test_a_stream_without_its_end_is_incomplete(
    mode: str, serving: Any, answer: Any, pieces: Any
) -> None:
    whole = pieces(answer(THOUGHT, text("All of it")))
    for end in (b"event: message_stop", b"event: message_delta", b"event: content_block_stop"):
        reply = Reply(whole[: whole.rindex(end)], headers={"content-type": "text/event-stream"})
        with serving([reply]) as (runner, _), pytest.raises(IncompleteAnswer) as caught:
            in_mode(mode, runner, persona(), "Hi!")
        assert caught.value.partial == "All of it"


UNKNOWN = b'event: weather\ndata: {"type": "weather", "rain": [1]}\n\n'
ODD = b'data: {"type": "content_block_delta", "index": 0, "delta": {"type": "new_delta"}}\n\n'


@pytest.mark.parametrize("mode", STREAMED)
def test_events_that_are_not_known_are_ignored(
    mode: str, serving: Any, answer: Any, pieces: Any
) -> None:
    whole = pieces(answer(text("All of it")))
    at = whole.index(b"event: content_block_delta")
    reply = Reply(whole[:at] + UNKNOWN + ODD + whole[at:])
    with serving([reply]) as (runner, _):
        assert in_mode(mode, runner, persona(), "Hi!").text == "All of it"


@pytest.mark.parametrize(
    "body",
    [
        {"type": "message", "content": None, "stop_reason": "end_turn"},
        {"type": "message", "content": [{"type": "text", "text": 5}], "stop_reason": "end_turn"},
        {"type": "message", "content": ["text"], "stop_reason": "end_turn"},
        {"type": "message", "content": [{"type": "tool_use"}], "stop_reason": "tool_use"},
        {"choices": [{"message": {"content": "chat"}}]},
    ],
)
@pytest.mark.parametrize("mode", WHOLE)
def test_an_answer_of_another_form_is_invalid(mode: str, body: Any, serving: Any) -> None:
    reply = Reply(json.dumps(body).encode())
    with serving([reply]) as (runner, _), pytest.raises(InvalidAnswer, match="expected"):
        in_mode(mode, runner, persona(), "Hi!")


ERROR = b'{"type": "error", "error": {"type": "api_error", "message": "It broke"}}'
BEGUN = (
    b'data: {"type": "message_start", "message": {"content": []}}\n\n'
    b'data: {"type": "content_block_start", "index": 0, "content_block": '
    b'{"type": "text", "text": ""}}\n\n'
)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("body", "raised"),
    [
        (b"", InvalidAnswer),
        (b"<html>Bad gateway</html>", InvalidAnswer),
        (b"null", InvalidAnswer),
        (b"[]", InvalidAnswer),
        (b'{"type": "message"}', InvalidAnswer),
        (b'{"type": "message", "content": [], "stop_reason": "end_turn"}', InvalidAnswer),
        (b'{"content": [{"type": "text", "text": "x"}], "stop_reason": 5}', IncompleteAnswer),
        (b'{"content": [{"type": "text", "text": "x"}]}', IncompleteAnswer),
        (ERROR, UpstreamUnavailable),
    ],
)
def test_a_reply_that_is_no_answer(mode: str, body: bytes, raised: type, serving: Any) -> None:
    with serving([Reply(body)]) as (runner, _), pytest.raises(raised):
        in_mode(mode, runner, persona(), "Hi!")


@pytest.mark.parametrize("mode", STREAMED)
@pytest.mark.parametrize(
    ("event", "raised"),
    [
        (b'{"type": "content_block_start", "index": 1}', InvalidAnswer),
        (b'{"type": "content_block_delta", "index": 7, "delta": {"type": "x"}}', InvalidAnswer),
        (b'{"type": "content_block_delta", "index": [], "delta": {"type": "x"}}', InvalidAnswer),
        (b'{"type": "content_block_delta", "index": 0, "delta": null}', InvalidAnswer),
        (b'{"type": "message_delta", "delta": {}, "usage": 5}', InvalidAnswer),
        (b'{"type": "content_block_delta", "ind', InvalidAnswer),
        (b"null", InvalidAnswer),
        (ERROR, UpstreamUnavailable),
        (b'{"type": "message_stop"}', IncompleteAnswer),
        (b'{"choices": [{"delta": {"content": "chat"}}]}', IncompleteAnswer),
    ],
)
def test_an_event_that_is_none(mode: str, event: bytes, raised: type, serving: Any) -> None:
    body = BEGUN + b"data: " + event + b"\n\n"
    reply = Reply(body, headers={"content-type": "text/event-stream"})
    with serving([reply]) as (runner, _), pytest.raises(raised):
        in_mode(mode, runner, persona(), "Hi!")


def test_a_call_that_is_cut_off_is_not_run(serving: Any, answer: Any, pieces: Any) -> None:
    whole = pieces(answer(call(1, town="Bonn"), stop="max_tokens"))
    events = whole.split(b"event: ")
    cut = b"event: ".join(event for event in events if b'"partial_json": "}"' not in event)
    assert cut != whole
    reply = Reply(cut, headers={"content-type": "text/event-stream"})
    with serving([reply]) as (runner, _), pytest.raises(IncompleteAnswer, match="not run"):
        in_mode("stream", runner, persona(), "Rain?", tools=[rain])


LONG = [THOUGHT, text("Grüße 🌧️ "), HIDDEN, text("aus Köln."), call(1, town="Köln 🌧️", mm=[1.5])]


@settings(max_examples=40, deadline=None)
@given(size=st.integers(1, 12), cuts=st.lists(st.integers(0, 5000), max_size=20))
def test_a_stream_cut_anywhere_is_the_whole_answer(
    size: int, cuts: list[int], serving: Any, answer: Any, pieces: Any
) -> None:
    message = answer(*LONG, stop="tool_use", cache_read_input_tokens=4)
    sent = pieces(message, size)
    at = sorted({0, len(sent), *(cut for cut in cuts if cut < len(sent))})
    parts = (sent[start:end] for start, end in itertools.pairwise(at))
    reply = Reply((part for part in parts), headers={"content-type": "text/event-stream"})
    request = Request("anthropic/claude-opus-5-5", (Message("user", "Hi!"),))
    with serving([message, reply]) as (runner, _):
        whole = runner.run(persona(), request)
        cut = in_mode("stream", runner, persona(), request)
    for name in ("text", "tool_calls", "items", "reasoning", "usage", "finish_reason", "raw"):
        assert getattr(cut, name) == getattr(whole, name), name


@pytest.mark.parametrize("mode", MODES)
def test_nulls_of_gateways_are_empty(mode: str, serving: Any, answer: Any, pieces: Any) -> None:
    blocks = [THOUGHT, text("Hello"), call(1, town="Ulm")]
    events = [json.loads(line[6:]) for line in pieces(answer(*blocks)).decode().splitlines()[1::3]]
    blocks[2] = {**blocks[2], "id": None}
    for event in events:
        block = event.get("content_block", {})
        for key in block.keys() & {"signature", "text", "id"}:
            block[key] = None
        block.pop("thinking", None)
    events += [{"type": "message_delta", "usage": {"output_tokens": 5}}, events.pop()]
    sent = "".join(f"data: {json.dumps(event)}\n\n" for event in events).encode()
    whole = {**answer(), "content": blocks}
    headers = {"content-type": "text/event-stream"}
    reply = Reply(sent, headers=headers) if mode in STREAMED else Reply(json.dumps(whole).encode())
    last = Reply(json.dumps({**answer(), "content": [{"type": "text", "text": None}]}).encode())
    with serving([reply, last]) as (runner, fake):
        response = in_mode(mode, runner, persona(), "Hi!", tools=[rain])
    assert (response.text, response.reasoning) == ("Hello", "Let me look it up.")
    sent_back = fake.bodies[1]["messages"][1]["content"]
    assert sent_back == [THOUGHT, text("Hello"), {**call(1, town="Ulm"), "id": "call00001"}]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("used", "expected"),
    [
        ({"input_tokens": 10}, None),
        ({"input_tokens": 10, "output_tokens": None}, None),
        ({"input_tokens": 500, "output_tokens": 5, "cache_creation_input_tokens": 90}, (590, 5)),
    ],
)
def test_counts_that_are_missing_are_unknown(
    mode: str, used: Any, expected: Any, serving: Any, answer: Any, pieces: Any
) -> None:
    whole = {**answer(text("Hello")), "usage": used}
    sent = pieces({**whole, "usage": {**used, "output_tokens": used.get("output_tokens")}})
    reply = Reply(sent, headers={"content-type": "text/event-stream"})
    with serving([reply if mode in STREAMED else Reply(json.dumps(whole).encode())]) as (runner, _):
        usage = in_mode(mode, runner, persona(), "Hi!").usage
    counts = None if usage is None else (usage.prompt_tokens, usage.completion_tokens)
    assert counts == expected


@pytest.mark.parametrize("mode", MODES)
def test_a_turn_without_content_is_an_error_that_is_no_fault_of_the_address(
    mode: str, serving: Any, answer: Any
) -> None:
    with (
        serving([answer()]) as (runner, _),
        pytest.raises(InvalidAnswer, match="neither content nor tool calls; run it again, or"),
    ):
        in_mode(mode, runner, persona(), "Hi!")
