"""What real servers answer: finish reasons, thoughts, usage, errors and parameters."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from helpers.backend import DONE, EVENTS, STOP, chunk, fails, failure, in_modes, in_streams, serving
from hypothesis import given, settings
from hypothesis import strategies as st

from personakit import (
    AuthenticationFailed,
    BackendError,
    BadRequest,
    IncompleteAnswer,
    InvalidAnswer,
    ModelNotFound,
    RateLimited,
    Runner,
    UpstreamUnavailable,
    Usage,
)
from personakit.testing import MODES, Reply, Server, in_mode, persona


def answers(
    mode: str, text: str | None, reason: str = "stop", usage: Any = None, **message: Any
) -> Any:
    """Return an answer, whole or as a stream whose text is in one event."""
    beside = {"usage": usage} if usage is not None else {}
    if mode in ("run", "arun"):
        said = {"role": "assistant", "content": text, **message}
        return {"choices": [{"index": 0, "message": said, "finish_reason": reason}], **beside}
    last = b"data: " + json.dumps({"choices": [], **beside}).encode() + b"\n\n"
    return Reply(
        chunk({"content": text, **message}) + chunk({}, reason) + last + DONE, headers=EVENTS
    )


@in_modes
@pytest.mark.parametrize(
    ("reason", "meaning"),
    [
        ("stop", "stop"), ("eos", "stop"), ("end_turn", "stop"), ("STOP", "stop"),
        ("eos_token", "stop"), ("stop_sequence", "stop"), ("max_tokens", "length"),
        ("MAX_TOKENS", "length"), ("model_length", "length"), ("SAFETY", "content_filter"),
        ("content_filter", "content_filter"),
    ],
)  # fmt: skip
def test_a_finish_reason_has_its_meaning(mode: str, reason: str, meaning: str) -> None:
    with serving(answers(mode, "Hello", reason)) as (running, _):
        response = in_mode(mode, running, persona(), "Hi")
    assert (response.text, response.finish_reason) == ("Hello", meaning)


@in_modes
@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("error", UpstreamUnavailable), ("insufficient_system_resource", UpstreamUnavailable),
        ("abort", UpstreamUnavailable), ("tired", IncompleteAnswer),
        ("function_call_filter: MALFORMED_FUNCTION_CALL", IncompleteAnswer),
    ],
)  # fmt: skip
def test_any_other_reason_is_an_error_with_the_text(
    mode: str, reason: str, kind: type[BackendError]
) -> None:
    usage = {"prompt_tokens": 5, "completion_tokens": 3}
    error, _ = fails(mode, kind, answers(mode, "Half", reason, usage), match=reason)
    assert error.partial == "Half"
    assert error.response.usage == Usage(5, 3, 8)


@in_modes
def test_an_error_in_a_choice_is_the_error(mode: str) -> None:
    fault = {"code": 429, "message": "Slow down."}
    choice = {"index": 0, "finish_reason": "error", "error": fault}
    whole = {"choices": [{**choice, "message": {"role": "assistant", "content": "Half"}}]}
    event = json.dumps({"choices": [{**choice, "delta": {"content": ""}}]}).encode()
    streamed = Reply(
        chunk({"content": "Half"}) + b"data: " + event + b"\n\n" + DONE, headers=EVENTS
    )
    answer = whole if mode in ("run", "arun") else streamed
    error, _ = fails(mode, RateLimited, answer, match="Slow down; ")
    assert (error.partial, error.status) == ("Half", 429)


@in_modes
@pytest.mark.parametrize("content", [None, ""])
def test_an_answer_without_text_says_why(mode: str, content: str | None) -> None:
    answer = answers(mode, content, "length", reasoning_content="Hm, so many ways.")
    error, _ = fails(mode, IncompleteAnswer, answer, match="reasoning used up the token limit")
    assert "raise max_tokens (not set" in str(error)
    assert error.response.reasoning == "Hm, so many ways."
    with (
        serving(answers(mode, content, "length")) as (running, _),
        pytest.raises(IncompleteAnswer, match=r"raise max_tokens \(now 7\)"),
    ):
        in_mode(mode, running, persona(), "Hi", parameters={"max_tokens": 7})
    filtered = answers(mode, content, "content_filter")
    error, _ = fails(mode, IncompleteAnswer, filtered, match="the provider held the answer back")
    assert "address" not in str(error)
    with serving({"choices": [{"index": 0, "finish_reason": "content_filter"}]}) as (running, _):
        error, _ = failure("run", running)
    assert "the provider held the answer back" in str(error)


FINAL = "<|end|><|start|>assistant<|channel|>final<|message|>"
THOUGHTS = [
    ("<think>\nHm.\n</think>\n\nHello", "Hm.", "Hello"),
    ("  <think>Hm.</think>Hello", "Hm.", "Hello"),
    ("<think></think>Hello", "", "Hello"),
    ("<think>a</think>\n<think>b</think> Hello", "a\n\nb", "Hello"),
    ("<Thought>Hm, <think> is a tag.</thought>\nHello", "Hm, <think> is a tag.", "Hello"),
    ("Hello <think>no</think>", "", "Hello <think>no</think>"),
    ("<thinker> Hello", "", "<thinker> Hello"),
    ("<th", "", "<th"),
    (" Hello", "", " Hello"),
    ("<think>never closed", "", "<think>never closed"),
    ("<think>a < b </thin </think>1 < 2", "a < b </thin", "1 < 2"),
    ("[THINK]Hm [1].[/THINK]Hello", "Hm [1].", "Hello"),
    ("<seed:think>Hm.</seed:think>Hello", "Hm.", "Hello"),
    (f"<|channel|>analysis<|message|>Hm. <{FINAL}Hello", "Hm. <", "Hello"),
    ("[1] Hello", "", "[1] Hello"),
]


@in_modes
@pytest.mark.parametrize(("text", "reasoning", "answer"), THOUGHTS)
def test_thoughts_at_the_beginning_are_not_text(
    mode: str, text: str, reasoning: str, answer: str
) -> None:
    with serving(answers(mode, text)) as (running, _):
        response = in_mode(mode, running, persona(), "Hi")
    assert (response.text, response.reasoning) == (answer, reasoning)


def test_thoughts_cut_anywhere_are_those_of_the_whole_answer() -> None:
    with serving() as (running, server):

        @settings(max_examples=60, deadline=None)
        @given(
            st.sampled_from([text for text, _, _ in THOUGHTS]),
            st.lists(st.integers(0, 60), max_size=6),
        )
        def check(text: str, cuts: list[int]) -> None:
            places = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
            parts = [text[a:b] for a, b in itertools.pairwise(places)]
            body = b"".join(chunk({"content": part}) for part in parts)
            server.requests.clear()
            server.answers = [
                Reply(body + STOP + DONE, headers=EVENTS),
                answers("run", text),
            ]
            stream = running.stream(persona(), "Hi")
            assert "".join(stream) == stream.response.text
            whole = running.run(persona(), "Hi")
            assert (whole.text, whole.reasoning) == (
                stream.response.text,
                stream.response.reasoning,
            )

        check()


@in_modes
def test_thoughts_that_the_limit_cut_off_are_not_an_answer(mode: str) -> None:
    answer = answers(mode, "<think>So many", "length")
    error, text = fails(mode, IncompleteAnswer, answer, match="reasoning used up the token limit")
    assert (text, error.partial, error.response.reasoning) == ("", "", "So many")


@in_modes
@pytest.mark.parametrize(
    ("content", "text", "reasoning"),
    [
        ([{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}], "Hello", ""),
        (["Hel", {"type": "text", "text": "lo"}], "Hello", ""),
        ([{"type": "image_url", "image_url": {"url": "x"}}, {"type": "text", "text": "Hi"}],
         "Hi", ""),
        ([{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]},
          {"type": "text", "text": "Hi"}], "Hi", "Hm."),
        ([{"type": "reference", "text": "[1]"}, {"type": "text", "text": "Hi"}], "Hi", ""),
    ],
)  # fmt: skip
def test_of_content_in_parts_only_text_is_text(
    mode: str, content: Any, text: str, reasoning: str
) -> None:
    with serving(answers(mode, content)) as (running, _):
        response = in_mode(mode, running, persona(), "Hi")
    assert (response.text, response.reasoning) == (text, reasoning)


@in_modes
def test_a_refusal_is_the_text_only_if_there_is_no_other(mode: str) -> None:
    for content, text in ((None, "I cannot."), ("", "I cannot."), ("Hello", "Hello")):
        with serving(answers(mode, content, refusal="I cannot.")) as (running, _):
            assert in_mode(mode, running, persona(), "Hi").text == text


@in_streams
def test_a_second_choice_is_never_mixed_into_the_first(mode: str) -> None:
    def of(index: int, text: str) -> bytes:
        choice = {"index": index, "delta": {"content": text}, "finish_reason": None}
        return b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"

    both = b'data: {"choices": [{"index": 1, "delta": {"content": "x"}}, {"index": 0, "delta": {"content": "!"}}]}\n\n'  # noqa: E501
    body = of(0, "Hel") + of(1, "Bon") + of(0, "lo") + both + STOP + DONE
    with serving(Reply(body, headers=EVENTS)) as (running, _):
        assert in_mode(mode, running, persona(), "Hi").text == "Hello!"


USAGES = [
    ({"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}, Usage(5, 3, 8)),
    ({"prompt_tokens": 5.0, "completion_tokens": "3"}, Usage(5, 3, 8)),
    ({"input_tokens": 5, "output_tokens": 3}, Usage(5, 3, 8)),
    ({"prompt_tokens": 5, "total_tokens": 8}, Usage(5, 3, 8)),
    ({}, None), ([], None), ("many", None), ({"prompt_tokens": 5}, None),
    ({"prompt_tokens": -5, "completion_tokens": 3}, None),
    ({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}, None),
    ({"prompt_tokens": True, "completion_tokens": 1}, None),
    ({"prompt_tokens": 1.5, "completion_tokens": 1}, None),
    ({"prompt_tokens": 1e999, "completion_tokens": 1}, None),
    ({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 1015,
      "completion_tokens_details": {"reasoning_tokens": 1000}},
     Usage(10, 1005, 1015, reasoning_tokens=1000)),
    ({"prompt_tokens": 10, "completion_tokens": 1005, "total_tokens": 1015,
      "completion_tokens_details": {"reasoning_tokens": 1000}},
     Usage(10, 1005, 1015, reasoning_tokens=1000)),
    ({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 40}, Usage(10, 30, 40)),
    ({"prompt_tokens": 10, "completion_tokens": 5,
      "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 3}},
     Usage(10, 5, 15, cached_tokens=4, cache_write_tokens=3)),
    ({"input_tokens": 10, "output_tokens": 5, "cache_read_input_tokens": 4,
      "cache_creation_input_tokens": 3},
     Usage(17, 5, 22, cached_tokens=4, cache_write_tokens=3)),
    ({"prompt_tokens": 10, "completion_tokens": 5, "prompt_cache_hit_tokens": 4},
     Usage(10, 5, 15, cached_tokens=4)),
    ({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 1015,
      "cache_read_input_tokens": 1000}, Usage(1010, 5, 1015, cached_tokens=1000)),
    ({"input_tokens": 1010, "output_tokens": 5, "total_tokens": 1015,
      "input_tokens_details": {"cached_tokens": 1000}, "cache_read_input_tokens": 1000},
     Usage(1010, 5, 1015, cached_tokens=1000)),
    ({"prompt_tokens": 10, "completion_tokens": -1, "total_tokens": 9}, None),
    ({"prompt_tokens": 20, "total_tokens": 9}, None),
]  # fmt: skip


@in_modes
@pytest.mark.parametrize(("usage", "counted"), USAGES)
def test_tokens_are_read_or_unknown(mode: str, usage: Any, counted: Usage | None) -> None:
    with serving(answers(mode, "Hello", usage=usage)) as (running, _):
        response = in_mode(mode, running, persona(), "Hi")
    assert response.usage == counted
    assert (response.cost is None) == (counted is None or response.cost is None)


@in_modes
def test_tokens_are_found_where_servers_put_them(mode: str) -> None:
    usage = {"prompt_tokens": 5, "completion_tokens": 3}
    message = {"role": "assistant", "content": "Hello"}
    for beside, inside in (({"x_groq": {"usage": usage}}, {}), ({}, {"usage": usage})):
        choice = {"index": 0, "finish_reason": "stop", **inside}
        whole: Any = {"choices": [{**choice, "message": message}], **beside}
        event = json.dumps({"choices": [{**choice, "delta": message}], **beside}).encode()
        streamed = Reply(b"data: " + event + b"\n\n" + DONE, headers=EVENTS)
        with serving(whole if mode in ("run", "arun") else streamed) as (running, _):
            assert in_mode(mode, running, persona(), "Hi").usage == Usage(5, 3, 8)


ERRORS: list[tuple[Any, type[BackendError]]] = [
    ({"object": "error", "message": "no", "code": 404}, ModelNotFound),
    ([{"error": {"code": 429, "message": "no", "status": "RESOURCE_EXHAUSTED"}}], RateLimited),
    ({"error": {"message": "no", "code": "429"}}, RateLimited),
    ({"error": {"message": "no", "status": "RESOURCE_EXHAUSTED"}}, RateLimited),
    ({"error": {"message": "no", "code": "Rate_Limit_Exceeded"}}, RateLimited),
    ({"error": {"message": "no", "status": "UNAUTHENTICATED"}}, AuthenticationFailed),
    ({"type": "error", "error": {"type": "overloaded_error", "message": "no"}},
     UpstreamUnavailable),
    ({"error": {"error": {"message": "no", "code": 400}}}, BadRequest),
]  # fmt: skip


@in_modes
@pytest.mark.parametrize(("fault", "kind"), ERRORS)
def test_an_error_is_recognized_in_all_its_forms(
    mode: str, fault: Any, kind: type[BackendError]
) -> None:
    fails(mode, kind, json.dumps(fault).encode(), match="the upstream reports an error: no;")


@in_streams
@pytest.mark.parametrize(
    "line",
    [
        b'data: [{"error": {"message": "no", "code": 429}}]\n\n',
        b'{"error": {"message": "no", "code": 429}}\n',
        b'{\n "error": {\n  "message": "no",\n  "code": 429\n }\n}\n',
        b'error: {"message": "no", "code": 429}\n\n',
        b'error: {"error": {"message": "no", "code": 429}}\n\n',
        b'event: error\ndata: {"message": "no", "code": 429}\n\n',
        b'data: {"message": "no", "code": 429}\n\n',
        b'data: {"errors": [{"message": "no"}], "code": "rate_limit"}\n\n',
        b'data: {"error": true, "message": "no", "code": 429}\n\n',
        b'data: {"object": "error", "message": "no", "code": 429}\n\n',
    ],
)
def test_an_error_within_a_stream_is_recognized(mode: str, line: bytes) -> None:
    body = chunk({"content": "Half"}) + line
    error, text = fails(mode, RateLimited, Reply(body, headers=EVENTS), match="error: no;")
    assert text == error.partial == "Half"


@in_streams
@pytest.mark.parametrize(
    "end",
    [
        b"data: [DONE] \n\n", b"data:[DONE]\t\r\n\r\n", b"data: [DONE]", b"data:  [DONE]\n\n",
        b'data: "[DONE]"\n\n', b"data: [done]\n\n", b"data: data: [DONE]\n\n", b"data: DONE\n\n",
        b"event: close\ndata: close\n\n",
    ],
)  # fmt: skip
def test_the_end_of_a_stream_may_have_white_space(mode: str, end: bytes) -> None:
    with serving(Reply(chunk({"content": "Hi"}) + STOP + end, headers=EVENTS)) as (running, _):
        assert in_mode(mode, running, persona(), "Hi").text == "Hi"


def test_a_google_list_with_a_status_is_quoted() -> None:
    fault = json.dumps([{"error": {"code": 400, "message": "API key not valid."}}]).encode()
    error, _ = fails("run", BadRequest, Reply(fault, 400), match="API key not valid; ")
    assert "[{" not in str(error)


class Choosy(Server):
    """A server that rejects parameters, as OpenAI does."""

    rejected: tuple[str, ...] = ()
    param = True
    words = "Unsupported parameter: '{}' is not supported with this model."

    def reply(self, answer: Any, body: Any) -> Reply:
        for name in self.rejected:
            if name in body:
                fault = {"message": self.words.format(name)}
                fault |= {"param": name} if self.param else {}
                return Reply(json.dumps({"error": fault}).encode(), 400)
        return super().reply(answer, body)


@contextmanager
def choosy(*rejected: str) -> Iterator[tuple[Choosy, Runner, list[str]]]:
    """Yield a server, its runner, and the notices about parameters that are left out."""
    with Choosy(["Hello!"]) as server, Runner(server.config()) as running:
        server.rejected = rejected
        lines: list[str] = []
        running.router.notify = lines.append
        yield server, running, lines


WISHES = persona(parameters={"temperature": 0.5, "max_tokens": 9, "seed": 1})


@pytest.mark.parametrize("mode", MODES)
def test_a_parameter_of_the_persona_that_is_rejected_is_left_out(mode: str) -> None:
    with choosy("temperature", "seed") as (server, running, lines):
        response = in_mode(mode, running, WISHES, "Hi")
        again = in_mode(mode, running, WISHES, "Hi")
    assert response.text == again.text == "Hello!"
    assert [sorted(one.body.keys() & {"temperature", "seed", "max_tokens"}) for one in
            server.requests] == [["max_tokens", "seed", "temperature"], ["max_tokens", "seed"],
                                 ["max_tokens"], ["max_tokens"]]  # fmt: skip
    assert [line.split(" is left out")[0] for line in lines] == [
        "personakit: temperature", "personakit: seed"
    ]  # fmt: skip
    assert response.request is not None
    assert dict(response.request.parameters) == {"max_tokens": 9}
    assert response.attempts == 3


def test_a_parameter_of_the_caller_is_an_order() -> None:
    with choosy("temperature") as (server, running, lines):
        with pytest.raises(BadRequest, match="Unsupported parameter: 'temperature'"):
            running.run(WISHES, "Hi", parameters={"temperature": 0.7})
        assert running.run(WISHES, "Hi", parameters={"temperature": None}).text == "Hello!"
    assert "temperature" not in server.requests[-1].body
    assert lines == []
    assert len(server.requests) == 2


def test_models_of_openai_that_reason_get_what_they_accept() -> None:
    with choosy() as (server, running, lines):
        for model in ("gpt-5-mini", "o3", "o4-mini-2025-04-16"):
            running.run(WISHES, "Hi", model=f"openai/{model}")
            body = server.requests[-1].body
            assert body["max_completion_tokens"] == 9
            assert body.keys() & {"temperature", "max_tokens"} == set()
        for model in ("gpt-4o", "gpt-5-chat-latest"):
            running.run(WISHES, "Hi", model=f"openai/{model}")
            body = server.requests[-1].body
            assert (body["max_tokens"], body["temperature"]) == (9, 0.5)
        effort = {"reasoning_effort": "high"}
        running.run(WISHES, "Hi", model="openai/gpt-5.2", parameters=effort)
        assert "temperature" not in server.requests[-1].body
        running.run(WISHES, "Hi", model="openai/gpt-5.2")
        assert server.requests[-1].body["temperature"] == 0.5
        running.run(WISHES, "Hi", model="openai/o3", parameters={"temperature": 0.1})
        assert server.requests[-1].body["temperature"] == 0.1
    assert len(lines) == 4


def test_the_error_about_tools_names_the_api_to_choose() -> None:
    words = (
        "Function tools with reasoning_effort are not supported for gpt-5.4 in "
        "/v1/chat/completions. Please use /v1/responses instead."
    )
    reply = Reply(json.dumps({"error": {"message": words}}).encode(), 400)
    fails("run", BadRequest, reply, match="write `api: responses` in the persona")


@in_modes
def test_what_is_not_json_at_all_stays_an_invalid_answer(mode: str) -> None:
    fails(mode, InvalidAnswer, b"[1, 2]", match="not a JSON object")


@in_streams
def test_a_text_as_an_error_and_a_ping_are_understood(mode: str) -> None:
    ping = b"event: ping\ndata: ping\n\n"
    with serving(Reply(ping + chunk({"content": "Hi"}) + STOP + DONE, headers=EVENTS)) as (run, _):
        assert in_mode(mode, run, persona(), "Hi").text == "Hi"
    for line in (b"event: error\ndata: It broke.\n\n", b"error: It broke.\n\n"):
        body = chunk({"content": "Half"}) + line
        error, _ = fails(mode, UpstreamUnavailable, Reply(body, headers=EVENTS), match="It broke; ")
        assert "try again later" in str(error)


@in_streams
def test_the_last_event_may_lack_a_blank_line_before_the_end(mode: str) -> None:
    last = chunk({"content": "lo"}, "stop").rstrip(b"\n")
    body = chunk({"content": "Hel"}) + last + b"\n" + DONE
    with serving(Reply(body, headers=EVENTS)) as (running, _):
        assert in_mode(mode, running, persona(), "Hi").text == "Hello"


@in_streams
def test_a_later_zero_does_not_replace_a_count(mode: str) -> None:
    def used(**counts: int) -> bytes:
        return b"data: " + json.dumps({"choices": [], "usage": counts}).encode() + b"\n\n"

    for events in (
        used(prompt_tokens=10, completion_tokens=5) + used(prompt_tokens=0, completion_tokens=0),
        used(prompt_tokens=10, completion_tokens=1) + used(prompt_tokens=0, completion_tokens=5),
        used(prompt_tokens=10) + used(completion_tokens=5),
    ):
        body = chunk({"content": "Hi"}, "stop") + events + DONE
        with serving(Reply(body, headers=EVENTS)) as (running, _):
            assert in_mode(mode, running, persona(), "Hi").usage == Usage(10, 5, 15)


def test_names_of_parameters_are_recognized_as_apis_spell_them() -> None:
    for words, name in (
        ("Argument not supported on this model: presencePenalty", "presence_penalty"),
        ("Unsupported value: 'reasoning.effort'", "reasoning_effort"),
    ):
        wish = persona(parameters={name: 0.2 if name == "presence_penalty" else "low"})
        with choosy(name) as (server, running, lines):
            server.words = words
            assert running.run(wish, "Hi").text == "Hello!"
            assert len(lines) == 1


def test_an_error_about_one_prompt_is_not_remembered() -> None:
    with choosy("max_tokens", "max_completion_tokens") as (server, running, _):
        server.words = "'{}' is too large: 9. This model's maximum context length is 8"
        assert running.run(WISHES, "Hi").text == "Hello!"
        server.rejected = ()
        running.run(WISHES, "Hi")
        assert server.requests[-1].body["max_tokens"] == 9


def test_a_plain_word_in_an_error_is_not_a_parameter() -> None:
    with choosy("seed") as (server, running, _):
        server.words = "Please stop, or seed the thing."
        server.param = False
        with pytest.raises(BadRequest):
            running.run(persona(parameters={"stop": "END", "seed": 1}), "Hi")
        assert len(server.requests) == 1


def test_a_dry_run_shows_what_would_be_sent() -> None:
    with choosy() as (server, running, lines):
        request = running.prepare(WISHES, "Hi", model="openai/gpt-5-mini")
        assert request.parameters == {"max_completion_tokens": 9, "seed": 1}
        assert len(lines) == 1
        assert server.requests == []
