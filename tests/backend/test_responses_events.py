"""The event streams of the Responses API: cut anywhere, wrong, unknown, and without an end."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Iterable
from typing import Any

import pytest
from helpers.backend import EVENTS, in_modes, in_streams
from helpers.responses import call, says, serving, thought
from hypothesis import given, settings
from hypothesis import strategies as st

from personakit import (
    BackendError,
    IncompleteAnswer,
    InvalidAnswer,
    RateLimited,
    Response,
    UpstreamUnavailable,
)
from personakit.testing import Reply, in_mode, persona
from personakit.testing.responses import events, message, write

WHO = persona()
HELLO = says("Hello there.")


def streamed(*parts: bytes, **reply: Any) -> Reply:
    return Reply(b"".join(parts), headers=EVENTS, **reply)


def delta(text: Any, **more: Any) -> bytes:
    return write({"type": "response.output_text.delta", "output_index": 0, "delta": text, **more})


def ended(whole: dict[str, Any] = HELLO) -> bytes:
    return write({"type": f"response.{whole['status']}", "response": whole})


def test_the_server_for_tests_sends_the_events_of_openai() -> None:
    from openai.types.responses import ResponseStreamEvent
    from pydantic import TypeAdapter

    typed: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
    open_thoughts = {"type": "reasoning_text", "text": "Hm, well."}
    refusal = {**message(""), "content": [{"type": "refusal", "refusal": "I cannot."}]}
    whole = says(thought(1, "Hm.", content=[open_thoughts]), "Hello", call("a", {"b": 1}), refusal)
    data = [json.loads(event.partition(b"data: ")[2]) for event in events(whole)]
    for number, event in enumerate(data):
        typed.validate_python(event)
        assert event["sequence_number"] == number
    short = [event["type"].removeprefix("response.") for event in data]
    assert [kind for kind, _ in itertools.groupby(short)] == [
        "created", "in_progress",
        "output_item.added",
        "reasoning_summary_part.added", "reasoning_summary_text.delta",
        "reasoning_summary_text.done", "reasoning_summary_part.done",
        "content_part.added", "reasoning_text.delta", "reasoning_text.done", "content_part.done",
        "output_item.done",
        "output_item.added", "content_part.added", "output_text.delta", "output_text.done",
        "content_part.done", "output_item.done",
        "output_item.added", "function_call_arguments.delta", "function_call_arguments.done",
        "output_item.done",
        "output_item.added", "content_part.added", "refusal.delta", "refusal.done",
        "content_part.done", "output_item.done",
        "completed",
    ]  # fmt: skip


CITED = message("Bé \u2028😀 said")
CITED["content"][0]["annotations"] = [{"type": "file_path", "file_id": "f", "index": 3}]
ANSWERS = [
    HELLO,
    says(thought(1, "Hm.", "Well."), thought(2, "So."), CITED),
    says(message("One.", phase="commentary"), message("Two.", phase="final_answer")),
    says(message("Let me see."), call("a", {"b": "é"}), call("c", {}, "call_2")),
    says({**message(""), "content": [{"type": "refusal", "refusal": "I cannot."}]}),
    says("<think>Hm.</think>Hello"),
    says("a\ud83d\ude00b"),
    says({"type": "reasoning", "id": "rs", "summary": [], "content": [
        {"type": "reasoning_text", "text": "Hm."}, {"type": "reasoning_text", "text": "So."}]},
        "Hello"),
    says("Half", status="incomplete", incomplete_details={"reason": "max_output_tokens"}),
]  # fmt: skip
KEPT = ("text", "reasoning", "tool_calls", "finish_reason", "usage", "items", "annotations", "id")


def parts_of(answer: Response) -> dict[str, Any]:
    return {name: getattr(answer, name) for name in KEPT}


def test_a_stream_cut_anywhere_is_the_whole_answer() -> None:
    with serving() as (running, server):

        @settings(max_examples=80, deadline=None)
        @given(
            st.sampled_from(range(len(ANSWERS))),
            st.integers(0, 5),
            st.lists(st.integers(0, 10_000), max_size=8),
        )
        def check(number: int, size: int, cuts: list[int]) -> None:
            body = b"".join(events(ANSWERS[number], size))
            places = sorted({0, len(body), *(cut % len(body) for cut in cuts)})
            parts = (body[a:b] for a, b in itertools.pairwise(places))
            server.requests.clear()
            server.answers = [Reply(parts, headers=EVENTS), ANSWERS[number]]
            stream = running.stream(WHO, "Hi")
            assert "".join(stream) == stream.response.text
            whole = running.run(WHO, "Hi")
            assert parts_of(stream.response) == parts_of(whole)
            assert stream.response.raw == whole.raw

        check()


@in_streams
def test_every_cut_of_a_stream_without_its_end_is_incomplete(mode: str) -> None:
    body = b"".join(events(HELLO, 6))
    end = body.rindex(b"event: response.completed")
    with serving() as (running, server):
        for cut in range(0, end + 80, 173):
            server.answers = [streamed(body[:cut])]
            with pytest.raises((IncompleteAnswer, InvalidAnswer)) as caught:
                in_mode(mode, running, WHO, "Hi")
            assert HELLO["output"][0]["content"][0]["text"].startswith(caught.value.partial)
            if cut:
                assert type(caught.value) is IncompleteAnswer, cut


@in_streams
def test_a_stream_ends_only_with_its_last_event(mode: str) -> None:
    start = b"".join(events(HELLO)).partition(b"event: response.completed")[0]
    for end in (b"", b"data: [DONE]\n\n"):
        with (
            serving(streamed(start, end)) as (running, _),
            pytest.raises(IncompleteAnswer) as caught,
        ):
            in_mode(mode, running, WHO, "Hi")
        assert caught.value.partial == "Hello there."


@in_streams
def test_unknown_events_are_ignored(mode: str) -> None:
    odd: list[dict[str, Any]] = [
        {"type": "response.odd.delta", "delta": "no"},
        {"type": "keepalive"},
        {"type": 7},
        {"type": ["response.completed"]},
        {"type": "response.output_text.done", "text": "no"},
        {"type": "response.audio.delta", "delta": "no"},
        {},
    ]
    ours = list(events(HELLO))
    body = [ours[0], *(write({"type": "x", **event}) for event in odd), *ours[1:]]
    with serving(streamed(*body, b"data: [DONE]\n\n")) as (running, _):
        assert in_mode(mode, running, WHO, "Hi").text == "Hello there."


@in_streams
@pytest.mark.parametrize(
    "last",
    [
        # Servers that leave out what was streamed, their status, or the type of an event.
        ended({**HELLO, "output": []}),
        ended({**HELLO, "output": None}),
        write({"type": "response.completed", "response": {"model": "m"}}),
        b"event: response.completed\ndata: " + json.dumps({"response": HELLO}).encode() + b"\n\n",
        b"data: " + json.dumps({"type": "response.completed", "response": HELLO}).encode(),
    ],
)
def test_the_items_that_ended_count_if_the_last_event_has_none(mode: str, last: bytes) -> None:
    start = b"".join(events(says("Hello there.", call("a", {"b": 1}))))
    start = start.partition(b"event: response.completed")[0]
    with serving(streamed(start, last)) as (running, _):
        answer = in_mode(mode, running, WHO, "Hi")
    assert answer.text == "Hello there."
    assert len(answer.tool_calls) == (0 if b'"output": [{' in last else 1)


@in_streams
def test_a_text_that_only_the_last_event_has_is_the_text(mode: str) -> None:
    with serving(streamed(ended(says(thought(1, "Hm."), "Hello")))) as (running, _):
        answer = in_mode(mode, running, WHO, "Hi")
    assert (answer.text, answer.reasoning) == ("Hello", "Hm.")


@in_streams
@pytest.mark.parametrize(
    ("event", "kind"),
    [
        ({"type": "error", "code": "rate_limit_exceeded", "message": "Slow down."}, RateLimited),
        ({"type": "error", "error": {"code": 429, "message": "Slow down."}}, RateLimited),
        ({"type": "error", "message": "Slow down."}, UpstreamUnavailable),
        ({"type": "x", "error": {"message": "Slow down."}}, UpstreamUnavailable),
        ({"type": "", "message": "Slow down."}, UpstreamUnavailable),
        (
            {"type": "response.failed", "response": {
                **HELLO, "status": "failed",
                "error": {"code": "rate_limit_exceeded", "message": "Slow down."}}},
            RateLimited,
        ),
        (
            {"type": "response.failed", "response": {**HELLO, "error": None, "status": "failed"}},
            UpstreamUnavailable,
        ),
    ],
)  # fmt: skip
def test_an_error_event_is_the_error_with_the_text(
    mode: str, event: Any, kind: type[BackendError]
) -> None:
    for bare in (True, False):
        sent = write(event)
        sent = b"data:" + sent.partition(b"data:")[2] if bare else sent
        with (
            serving(streamed(delta("Hel"), sent, delta("lo"), ended())) as (running, _),
            pytest.raises(BackendError, match=r"Slow down; |response failed; ") as caught,
        ):
            in_mode(mode, running, WHO, "Hi")
        assert (type(caught.value), caught.value.partial) == (kind, "Hel")


ODD: Iterable[Any] = (7, None, [1], {"a": 1}, True)


@in_streams
@pytest.mark.parametrize("value", ODD)
def test_odd_values_in_an_event_are_no_python_error(mode: str, value: Any) -> None:
    message_with = {**message("Hello"), "content": value}
    bodies = [
        delta(value) + ended(),
        write({"type": "response.completed", "response": value}),
        write({"type": "response.output_item.done", "item": value}) + ended({**HELLO, "output": 0}),
        ended({**HELLO, "output": value}),
        ended({**HELLO, "output": [value]}),
        ended({**HELLO, "output": [message_with]}),
        ended({**HELLO, "status": value or "incomplete", "incomplete_details": value}),
        ended(says(call("a", {}) | {"name": value})),
        ended(says(call("a", {}) | {"arguments": value, "call_id": value})),
        ended(says({"type": value}, {"type": "reasoning", "summary": value}, "Hello")),
        write({"type": "response.reasoning_text.delta", "delta": value, "output_index": value})
        + ended(),
        write({"type": "error", "message": value, "code": value}),
    ]
    with serving(*map(streamed, bodies)) as (running, server):
        while len(server.requests) < len(bodies):
            with contextlib.suppress(BackendError):
                in_mode(mode, running, WHO, "Hi")


@in_modes
def test_thoughts_of_open_models_and_of_other_names(mode: str) -> None:
    open_thoughts = [{"type": "reasoning_text", "text": "Hm."}]
    with serving(says(thought(1, content=open_thoughts), "Hello")) as (running, _):
        assert in_mode(mode, running, WHO, "Hi").reasoning == "Hm."
    named = {"type": "response.reasoning.delta", "output_index": 0, "delta": "Well."}
    if "stream" in mode:
        with serving(streamed(write(named), delta("Hello"), ended(says("Hello")))) as (running, _):
            assert in_mode(mode, running, WHO, "Hi").reasoning == "Well."


@in_streams
def test_a_surrogate_pair_over_two_events(mode: str) -> None:
    body = streamed(delta("a\ud83d"), delta("\ude00b"), delta("\ud83d"), ended())
    with serving(body) as (running, _):
        answer = in_mode(mode, running, WHO, "Hi")
    assert answer.text == "a😀b\N{REPLACEMENT CHARACTER}"


ENDED = {"type": "response.completed", "response": {**says(), "output": []}}


def added(name: str, identity: str = "call_1", index: Any = 0) -> bytes:
    item = call(name, "", identity)
    return write({"type": "response.output_item.added", "output_index": index, "item": item})


def arguments(text: str, kind: str = "delta", index: Any = 0, **more: Any) -> bytes:
    key = "delta" if kind == "delta" else "arguments"
    event = {"type": f"response.function_call_arguments.{kind}", "output_index": index, key: text}
    return write({**event, **more})


by_events = pytest.mark.parametrize("mode", ["stream", "astream", "pieces"])


@by_events
@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (added("a") + arguments('{"b":') + arguments("1}"), [("a", '{"b":1}')]),
        (added("a") + arguments('{"b":1}', "done"), [("a", '{"b":1}')]),
        (added("a") + arguments('{"b":1}') + arguments('{"b":1}', "done"), [("a", '{"b":1}')]),
        (added("a") + added("c", "call_2", 1), [("a", "{}"), ("c", "{}")]),
        (arguments('{"b":1}', "done", name="a"), [("a", '{"b":1}')]),
    ],
)
def test_calls_that_no_item_repeats_are_not_lost(mode: str, body: bytes, expected: Any) -> None:
    with serving(streamed(delta("Let me."), body, write(ENDED))) as (running, _):
        answer = in_mode(mode, running, WHO, "Hi")
    assert [(made.name, made.arguments) for made in answer.tool_calls] == expected
    assert (answer.text, answer.finish_reason) == ("Let me.", "tool_calls")


@by_events
def test_a_call_without_a_name_is_no_answer(mode: str) -> None:
    body = streamed(delta("Let me."), arguments('{"b":1}', "done"), write(ENDED))
    with serving(body) as (running, _), pytest.raises(InvalidAnswer, match="without a name"):
        in_mode(mode, running, WHO, "Hi")


@by_events
@pytest.mark.parametrize("last", [call("a", '{"b":1}'), call("a", '{"b": 1}', "call_9")])
def test_a_call_that_is_written_in_another_way_at_its_end(mode: str, last: Any) -> None:
    both = [last, call("c", "{}", "call_2")]
    body = added("a") + arguments('{"b": 1}') + added("c", "call_2", 1) + ended(says(*both))
    with serving(streamed(body)) as (running, _):
        answer = in_mode(mode, running, WHO, "Hi")
    assert [made.name for made in answer.tool_calls] == ["a", "c"]
    assert json.loads(answer.tool_calls[0].arguments) == {"b": 1}


@by_events
@pytest.mark.parametrize(
    ("body", "output"),
    [
        (delta("Hel"), ["Hello"]),
        (delta("One"), ["One", "Two"]),
        (delta("O\ud83d") + delta("\ude00"), ["O\U0001f600ne"]),
        (
            b"".join(
                write({"type": "response.output_text.delta", "item_id": text, "delta": text})
                for text in ("One", "Two")
            ),
            ["One", "Two"],
        ),
        (b"", [{**message(""), "content": [{"type": "text", "text": "Hello"}]}]),
    ],
)
def test_a_text_of_which_events_are_missing_is_whole(mode: str, body: bytes, output: Any) -> None:
    last = {"type": "response.done", "response": says(*output)}
    with serving(streamed(body, write(last)), says(*output)) as (running, _):
        answer = in_mode(mode, running, WHO, "Hi")
        assert answer.text == running.run(WHO, "Hi").text != ""


@by_events
def test_a_chat_completion_is_no_response_and_the_error_names_the_api(mode: str) -> None:
    choice = {"delta": {"content": "Hello"}, "finish_reason": "stop"}
    sent = b"data: " + json.dumps({"object": "x", "choices": [choice]}).encode() + b"\n\n"
    whole = {"choices": [{"message": {"content": "Hello"}, "finish_reason": "stop"}]}
    for reply in (streamed(sent, b"data: [DONE]\n\n"), whole):
        with serving(reply) as (running, _), pytest.raises(InvalidAnswer, match="`api: chat`"):
            in_mode(mode, running, WHO, "Hi")
