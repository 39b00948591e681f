"""The backend: real requests to a server on loopback, and every way in which an answer is none."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
from helpers.backend import (
    DONE,
    EVENTS,
    STOP,
    WHO,
    chunk,
    fails,
    failure,
    in_modes,
    in_streams,
    says,
    serving,
    whole,
)

from personakit import (
    Config,
    Endpoint,
    IncompleteAnswer,
    InvalidAnswer,
    Provider,
    Runner,
    ToolCall,
    UpstreamUnavailable,
    Usage,
)
from personakit.testing import Received, Reply, Server, in_mode, persona


def headers(request: Received) -> dict[str, str]:
    return {name.lower(): value for name, value in request.headers.items()}


# --- what leaves -------------------------------------------------------------------------------


@in_modes
def test_the_run_that_the_project_comes_from(mode: str) -> None:
    chef = persona(
        "Act as a chef whose name is {{ cook }}.",
        variables={"cook": "Florent"},
        parameters={"temperature": 0.9, "max_tokens": 2084},
        model="openai/gpt-4o",
    )
    with serving("Bonjour!") as (running, server):
        assert in_mode(mode, running, chef).text == "Bonjour!"
    (request,) = server.requests
    wanted = {
        "messages": [{"role": "system", "content": "Act as a chef whose name is Florent."}],
        "model": "gpt-4o",
        "temperature": 0.9,
        "max_tokens": 2084,
    }
    if "stream" in mode:
        wanted |= {"stream": True, "stream_options": {"include_usage": True}}
    assert (request.method, request.path) == ("POST", "/v1/chat/completions")
    assert request.body == wanted
    assert headers(request)["authorization"] == "Bearer test-key"


@in_modes
def test_messages_and_parameters_leave_as_they_are(mode: str) -> None:
    schema = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"enum": ["a"]}}}
    who = persona(
        "You.",
        messages=[{"user": "Hi €\u2028"}, {"assistant": "Hello"}],
        parameters={"stop": ["a", "b"], "response_format": schema},
    )
    with serving() as (running, server):
        in_mode(mode, running, who, "And now?")
    body = server.requests[0].body
    assert [(m["role"], m["content"]) for m in body["messages"]] == [
        ("system", "You."),
        ("user", "Hi €\u2028"),
        ("assistant", "Hello"),
        ("user", "And now?"),
    ]
    assert (body["stop"], body["response_format"]) == (["a", "b"], schema)


def other(base_url: str, **keys: Any) -> Config:
    provider = Provider("mine", base_url, key_env="MINE_KEY", **keys)
    environ = {"MINE_KEY": "mine-key"}
    return Config(model="mine/x", path=(), providers={"mine": provider}, environ=environ)


@in_modes
def test_what_openai_s_environment_holds_is_for_openai_alone(
    mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("API_KEY", "ORG_ID", "PROJECT_ID", "ADMIN_KEY"):
        monkeypatch.setenv(f"OPENAI_{name}", f"only-for-openai-{name}")
    with Server() as server:
        for config in (other(server.base_url), server.config()):
            running = Runner(config)
            in_mode(mode, running, WHO)
            running.close()
    to_mine, to_openai = map(headers, server.requests)
    assert to_mine["authorization"] == "Bearer mine-key"
    assert "only-for-openai" not in str(to_mine)
    assert to_openai["authorization"] == "Bearer test-key"
    assert to_openai["openai-organization"] == "only-for-openai-ORG_ID"
    assert "ADMIN_KEY" not in str(to_openai)


@in_modes
def test_a_provider_s_headers_and_features(mode: str) -> None:
    with Server() as server:
        running = Runner(other(server.base_url, headers=(("X-Team", "a"),), stream_usage=False))
        assert in_mode(mode, running, WHO).text == "Hello!"
        running.close()
    assert headers(server.requests[0])["x-team"] == "a"
    assert "stream_options" not in server.requests[0].body


@in_modes
def test_a_provider_that_connects(mode: str) -> None:
    threads = []

    def connect(model: str) -> Endpoint:
        threads.append(threading.current_thread())
        return Endpoint(server.base_url, None, f"{model}-here")

    with Server() as server:
        provider = Provider("mine", connect=connect)
        running = Runner(Config(model="mine/x", path=(), providers={"mine": provider}))
        assert in_mode(mode, running, WHO).text == "Hello!"
        running.close()
    assert server.requests[0].body["model"] == "x-here"
    assert (threads[0] is threading.main_thread()) is (mode in ("run", "stream"))


@in_modes
def test_a_provider_that_cannot_connect(mode: str) -> None:
    def connect(model: str) -> Endpoint:
        raise OSError("no such program")

    provider = Provider("mine", connect=connect)
    running = Runner(Config(model="mine/x", path=(), providers={"mine": provider}))
    error, _ = failure(mode, running)
    assert isinstance(error, UpstreamUnavailable)
    assert "provider 'mine' cannot be reached: OSError: no such program" in str(error)
    assert isinstance(error.__cause__, OSError)


@in_modes
def test_a_response_is_complete(mode: str) -> None:
    with serving("Bonjour!") as (running, _):
        response = in_mode(mode, running, WHO, "Hi!")
    assert response.text == "Bonjour!"
    assert (response.id, response.model) == ("chatcmpl-test", "test-model")
    assert response.usage == Usage(5, 8, 13)
    assert response.finish_reason == "stop"
    assert response.raw["object"] == "chat.completion"
    assert response.raw["choices"][0]["message"]["content"] == "Bonjour!"
    assert response.raw["choices"][0]["finish_reason"] == "stop"
    assert response.request is not None
    assert response.request.model == "openai/test-model"


CALLS = [
    {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"a": 1}'}},
    {"id": "c2", "type": "function", "function": {"name": "time", "arguments": "{}"}},
]


def call(index: int, **given: Any) -> bytes:
    names = {key: given.pop(key) for key in ("name", "arguments") if key in given}
    return chunk({"tool_calls": [{"index": index, **given, "function": names}]})


STREAMED_CALLS = b"".join(
    [
        chunk({"role": "assistant", "content": None}),
        call(0, id="c1", name="weather", arguments=""),
        call(0, arguments='{"a"'),
        call(1, id="c2", name="time", arguments="{}"),
        call(0, arguments=": 1}"),
        chunk(reason="tool_calls") + DONE,
    ]
)


@in_modes
def test_tool_calls(mode: str) -> None:
    message = {"role": "assistant", "content": None, "tool_calls": CALLS}
    answer = (
        Reply(STREAMED_CALLS, headers=EVENTS) if "stream" in mode else whole(message, "tool_calls")
    )
    with serving(answer) as (running, _):
        response = in_mode(mode, running, WHO)
    assert response.tool_calls == (
        ToolCall("c1", "weather", '{"a": 1}'),
        ToolCall("c2", "time", "{}"),
    )
    assert (response.text, response.finish_reason, response.usage) == ("", "tool_calls", None)
    assert response.raw["choices"][0]["message"]["tool_calls"][0]["id"] == "c1"


@pytest.mark.parametrize("mode", ["stream", "astream"])
def test_arguments_of_a_tool_call_may_be_cut_anywhere(mode: str) -> None:
    said = json.dumps("😀")[1:-1]
    parts = [call(0, id="c", name="add")]
    # What json.dumps writes for a half is a half again.
    parts += [call(0, arguments=json.loads(f'"{half}"')) for half in (said[:6], said[6:])]
    answer = b"".join(parts) + chunk(reason="tool_calls") + DONE
    with serving(Reply(answer, headers=EVENTS)) as (running, _):
        response = in_mode(mode, running, WHO)
    assert response.tool_calls == (ToolCall("c", "add", "😀"),)


@in_modes
def test_arguments_of_a_tool_call_count_in_what_an_answer_may_have(mode: str) -> None:
    many = [call(n % 2, arguments="x" * 2**20) for n in range(17)]
    calls = [{"id": "c", "function": {"name": "a", "arguments": "x" * 2**20}}] * 17
    streamed = Reply(b"".join(many) + STOP, headers=EVENTS)
    answer = streamed if "stream" in mode else whole({"tool_calls": calls})
    fails(mode, InvalidAnswer, answer, match="answer is larger than 16 MiB")


@in_modes
def test_a_refusal_is_the_answer_s_text(mode: str) -> None:
    streamed = chunk({"refusal": "I can"}) + chunk({"refusal": "not."}) + STOP
    message = {"role": "assistant", "content": None, "refusal": "I cannot."}
    answer = Reply(streamed, headers=EVENTS) if "stream" in mode else whole(message)
    with serving(answer) as (running, _):
        assert in_mode(mode, running, WHO).text == "I cannot."


@in_modes
@pytest.mark.parametrize(
    "message",
    [{"content": "Hello!"}, {"content": [{"type": "text", "text": "Hel"}, {"text": "lo!"}]}],
)
def test_a_whole_answer_serves_a_stream_too(mode: str, message: Any) -> None:
    with serving(whole(message, "length")) as (running, _):
        response = in_mode(mode, running, WHO)
    assert (response.text, response.finish_reason) == ("Hello!", "length")


TEXT = "aé€😀\u2028\x85b"


@in_streams
@pytest.mark.parametrize("cut", [0, 1, 2, 3, 5, 17])
def test_a_stream_cut_anywhere_gives_the_same_text(mode: str, cut: int) -> None:
    with serving(TEXT, size=1, cut=cut) as (running, _):
        assert in_mode(mode, running, WHO).text == TEXT


@in_streams
@pytest.mark.parametrize(
    "body",
    [
        (says("Hel") + says("lo!") + STOP).replace(b"\n", b"\r\n"),
        (says("Hel") + says("lo!") + STOP).replace(b"data: ", b"data:"),
        b": ping\n\n" + says("Hel") + b": ping\nevent: x\n" + says("lo!") + STOP,
        says("Hello!") + chunk(reason="stop"),
        says("Hello!") + STOP.rstrip(),
        says("Hello!") + chunk(reason="stop").rstrip(),
        b'data: {"choices": []}\n\n'
        + says("Hello!")
        + chunk(reason="stop")
        + b'data: {"choices": null}\n\n',
        says("Hello!") + STOP + says(" ignored"),
        chunk({"content": "Hello!"}, "stop") + DONE,
        chunk({"content": None}) + says("Hello!") + STOP,
    ],
)
def test_streams_as_servers_write_them(mode: str, body: bytes) -> None:
    with serving(Reply(body, headers=EVENTS)) as (running, _):
        response = in_mode(mode, running, WHO)
    assert (response.text, response.finish_reason) == ("Hello!", "stop")


@in_modes
def test_a_provider_without_finish_reasons(mode: str) -> None:
    body = says("Hel") + says("lo!") + DONE
    answer = Reply(body, headers=EVENTS) if "stream" in mode else whole({"content": "Hello!"}, None)
    with Server([answer]) as server:
        running = Runner(other(server.base_url, finish_reason=False))
        response = in_mode(mode, running, WHO)
        running.close()
    assert (response.text, response.finish_reason) == ("Hello!", None)


@in_streams
def test_without_finish_reasons_a_cut_event_is_still_an_incomplete_answer(mode: str) -> None:
    with Server([Reply(says("Hel") + says("lo!")[:-9], headers=EVENTS)]) as server:
        running = Runner(other(server.base_url, finish_reason=False))
        error, text = failure(mode, running)
        running.close()
    assert isinstance(error, IncompleteAnswer)
    assert text == error.partial == "Hel"
