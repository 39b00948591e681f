"""The Responses API: what is sent, and how an answer is read."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from helpers.backend import in_modes
from helpers.responses import call, says, serving, thought

from personakit import (
    BackendError,
    BadRequest,
    Config,
    ConfigError,
    IncompleteAnswer,
    InvalidAnswer,
    Provider,
    RateLimited,
    Request,
    Response,
    Runner,
    UpstreamUnavailable,
    Usage,
    hookimpl,
)
from personakit.testing import Reply, Server, in_mode, persona
from personakit.testing.responses import message, response

WHO = persona("You are {{ name }}.", variables={"name": "Ann"})


@in_modes
def test_a_text(mode: str) -> None:
    with serving("Hello, né 😀!") as (running, server):
        answer = in_mode(mode, running, WHO, "Hi")
    (request,) = server.requests
    assert (request.path, request.body.pop("stream", None)) == (
        "/v1/responses",
        True if "stream" in mode else None,
    )
    assert request.body == {
        "model": "gpt-5.4",
        "input": [
            {"type": "message", "role": "system", "content": "You are Ann."},
            {"type": "message", "role": "user", "content": "Hi"},
        ],
        "store": False,
        "include": ["reasoning.encrypted_content"],
    }
    assert (answer.text, answer.finish_reason, answer.model) == (
        "Hello, né 😀!",
        "stop",
        "test-model",
    )
    assert (answer.id, answer.attempts, answer.items) == ("resp_test", 1, ())
    assert answer.raw["output"][0]["content"][0]["text"] == answer.text
    assert answer.usage == Usage(5, 12, 17)


@in_modes
def test_tokens_of_the_cache_and_of_thoughts_are_counted(mode: str) -> None:
    usage = {
        "input_tokens": 100, "output_tokens": 50, "total_tokens": 150,
        "input_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 10},
        "output_tokens_details": {"reasoning_tokens": 30},
    }  # fmt: skip
    with serving(says("Hello", usage=usage), says("Hello", usage=None)) as (running, _):
        answers = [in_mode(mode, running, WHO, "Hi") for _ in range(2)]
    counted = Usage(100, 50, 150, cached_tokens=60, reasoning_tokens=30, cache_write_tokens=10)
    assert [answer.usage for answer in answers] == [counted, None]


def sent(who: Any = WHO, model: str = "gpt-5.4", **options: Any) -> dict[str, Any]:
    """Return the body that a run sends, without the messages."""
    with serving('{"dish": "Soup"}', model=model) as (running, server):
        running.run(who, "Hi", **options)
    body: dict[str, Any] = server.requests[0].body
    return {name: body[name] for name in body if name not in ("input", "model", "store")}


ENCRYPTED = {"include": ["reasoning.encrypted_content"]}


def test_parameters_have_their_names_there() -> None:
    parameters = {
        "max_tokens": 99, "reasoning_effort": "low", "verbosity": "high", "temperature": 1,
        "logprobs": True, "top_logprobs": 2,
    }  # fmt: skip
    assert sent(parameters=parameters) == {
        "max_output_tokens": 99,
        "reasoning": {"effort": "low"},
        "text": {"verbosity": "high"},
        "temperature": 1,
        "top_logprobs": 2,
        "include": ["reasoning.encrypted_content", "message.output_text.logprobs"],
    }
    assert sent(parameters={"max_completion_tokens": 98})["max_output_tokens"] == 98
    # A model that has no thoughts cannot be asked for them.
    assert sent(model="gpt-4o", parameters={"max_tokens": 97}) == {"max_output_tokens": 97}


def test_the_format_of_an_answer() -> None:
    schema = {"type": "object", "properties": {"dish": {"type": "string"}}}
    form = sent(persona("x", output=schema))["text"]["format"]
    assert (form["type"], form["schema"]) == ("json_schema", schema)
    assert form["name"]
    assert sent(output=schema)["text"]["format"] == form
    free = persona("x", parameters={"response_format": {"type": "json_object"}})
    assert sent(free)["text"] == {"format": {"type": "json_object"}}


@in_modes
def test_a_structured_answer_is_parsed(mode: str) -> None:
    schema = {"type": "object", "properties": {"dish": {"type": "string"}}}
    with serving('{"dish": "Soup"}') as (running, _):
        assert in_mode(mode, running, WHO, "Hi", output=schema).parsed == {"dish": "Soup"}


def look_up(word: str) -> str:
    """Look a word up."""
    return f"{word}!"


def setting(**parameters: Any) -> Any:
    """Return a plugin that sets parameters."""

    class Sets:
        @hookimpl
        def chat(self, request: Request) -> Request:
            return request.replace(parameters={**request.parameters, **parameters})

    return Sets()


def test_tools_are_strict_only_if_they_say_so() -> None:
    body = sent(tools=[look_up])
    (tool,) = body["tools"]
    assert (tool["type"], tool["name"], tool["strict"]) == ("function", "look_up", False)
    assert (tool["description"], tool["parameters"]["required"]) == ("Look a word up.", ["word"])


FUNCTION = {"type": "function", "function": {"name": "look_up"}}
ALLOWED = {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [FUNCTION]}}


@pytest.mark.parametrize(
    ("choice", "there"),
    [
        ("required", "required"),
        (FUNCTION, {"type": "function", "name": "look_up"}),
        (
            ALLOWED,
            {
                "type": "allowed_tools",
                "mode": "auto",
                "tools": [{"type": "function", "name": "look_up"}],
            },
        ),
    ],
)
def test_the_choice_of_a_tool(choice: Any, there: Any) -> None:
    with serving(plugins=[setting(tool_choice=choice)]) as (running, server):
        running.run(WHO, "Hi", tools=[look_up])
    assert server.requests[0].body["tool_choice"] == there


def test_a_plugin_may_set_what_only_this_api_has() -> None:
    reasoning = {"summary": "auto", "effort": "low"}
    plugin = setting(
        reasoning=reasoning, text={"verbosity": "low"}, store=True, max_tool_calls=3, user="u",
        include=["message.output_text.logprobs"], parallel_tool_calls=False,
    )  # fmt: skip
    with serving(plugins=[plugin]) as (running, server):
        running.run(WHO, "Hi", parameters={"reasoning_effort": "high"})
    body = server.requests[0].body
    assert body["reasoning"] == {"summary": "auto", "effort": "high"}
    assert (body["text"], body["store"], body["max_tool_calls"]) == ({"verbosity": "low"}, True, 3)
    assert (body["user"], body["parallel_tool_calls"]) == ("u", False)
    assert body["include"] == ["message.output_text.logprobs", "reasoning.encrypted_content"]


@in_modes
def test_what_a_persona_wishes_and_the_api_cannot_say_is_left_out_with_a_notice(
    mode: str, capsys: pytest.CaptureFixture[str]
) -> None:
    wishes = {"seed": 1, "logit_bias": {"5": 1}, "max_tokens": 20}
    who = persona("x", parameters=wishes)
    with serving(model=f"gpt-5.4-{mode}") as (running, server):
        for _ in range(2):
            in_mode(mode, running, who, "Hi")
        with pytest.raises(ConfigError, match=r"the Responses API has no parameter 'seed'; .*chat"):
            in_mode(mode, running, who, "Hi", parameters={"seed": 2})
    for request in server.requests:
        assert request.body["max_output_tokens"] == 20
        assert not {"seed", "logit_bias"} & request.body.keys()
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        f"personakit: {name} is left out: the Responses API has no such parameter"
        for name in ("logit_bias", "seed")
    ]


@in_modes
@pytest.mark.parametrize("plugin", [setting(stop=["x"]), setting(n=2), setting(odd=1)])
def test_what_else_the_api_cannot_say_is_an_error(mode: str, plugin: Any) -> None:
    with (
        serving(plugins=[plugin]) as (running, server),
        pytest.raises(ConfigError, match=r"no parameter '(stop|n|odd)'.*`api: chat`"),
    ):
        in_mode(mode, running, WHO, "Hi")
    assert server.requests == []


def test_a_stop_of_the_persona_is_an_error_too() -> None:
    with serving() as (running, _), pytest.raises(ConfigError, match="no parameter 'stop'"):
        running.run(persona("x", parameters={"stop": "END"}), "Hi")


def test_images_and_files(tmp_path: Path) -> None:
    image = b"\x89PNG\r\n\x1a\n" + bytes(20)
    pdf = tmp_path / "menu.pdf"
    pdf.write_bytes(b"%PDF-1.7\n%" + bytes(20))
    linked = "https://example.com/cat.jpg"
    with serving() as (running, server):
        running.run(WHO, "What is it?", attachments=[image, pdf, linked])
    (_, asked) = server.requests[0].body["input"]
    kinds = [part["type"] for part in asked["content"]]
    assert sorted(kinds) == ["input_file", "input_image", "input_image", "input_text"]
    parts = {part["type"]: part for part in asked["content"]}
    assert parts["input_text"]["text"] == "What is it?"
    assert parts["input_file"]["filename"] == "menu.pdf"
    assert parts["input_file"]["file_data"].startswith("data:application/pdf;base64,")
    images = [part for part in asked["content"] if part["type"] == "input_image"]
    assert [image["image_url"][:22] for image in images] == [
        "data:image/png;base64,",
        "https://example.com/ca",
    ]


def test_audio_is_an_error() -> None:
    sound = b"RIFF\x24\0\0\0WAVEfmt " + bytes(20)
    with serving() as (running, server), pytest.raises(ConfigError, match=r"'input_audio'.*chat"):
        running.run(WHO, "What is it?", attachments=[sound])
    assert server.requests == []


# --- answers -------------------------------------------------------------------------------------

REFUSAL = {"type": "refusal", "refusal": "I cannot."}


def refusing(*parts: Any) -> dict[str, Any]:
    return {**message(""), "content": list(parts)}


@in_modes
def test_a_refusal_is_the_text_only_if_there_is_no_other(mode: str) -> None:
    text = message("Hello")["content"][0]
    answers = [says(refusing(REFUSAL)), says(refusing(REFUSAL, text))]
    with serving(*answers) as (running, _):
        given = [in_mode(mode, running, WHO, "Hi") for _ in answers]
    assert [(one.text, one.finish_reason) for one in given] == [
        ("I cannot.", "stop"),
        ("Hello", "stop"),
    ]


@in_modes
@pytest.mark.parametrize(
    ("reason", "meaning"), [("max_output_tokens", "length"), ("content_filter", "content_filter")]
)
def test_an_incomplete_answer_has_its_reason(mode: str, reason: str, meaning: str) -> None:
    details = {"status": "incomplete", "incomplete_details": {"reason": reason}}
    with serving(says("Half", **details), says(thought(1, "Hm."), **details)) as (running, _):
        half = in_mode(mode, running, WHO, "Hi")
        with pytest.raises(IncompleteAnswer) as caught:
            in_mode(mode, running, WHO, "Hi", parameters={"max_tokens": 99})
    assert (half.text, half.finish_reason) == ("Half", meaning)
    failed = caught.value.response
    assert isinstance(failed, Response)
    assert (failed.reasoning, failed.usage) == ("Hm.", Usage(5, 7, 12))
    if meaning == "length":
        assert "reasoning used up the token limit" in str(caught.value)
        assert "raise max_completion_tokens (now 99)" in str(caught.value)


@in_modes
def test_an_answer_as_long_as_it_may_be_is_cut_off_wherever_that_is_not_said(mode: str) -> None:
    with serving("123456789") as (running, server):
        mine = Provider("mine", server.base_url, key_required=False, api="responses")
        other = dataclasses.replace(running.config, providers={"mine": mine}, model="mine/m")
        with Runner(other) as elsewhere:
            reasons = [
                in_mode(mode, who, WHO, "Hi", parameters={"max_tokens": limit}).finish_reason
                for limit in (9, 10)
                for who in (running, elsewhere)
            ]
    assert reasons == ["stop", "length", "stop", "stop"]


@in_modes
@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("server_error", UpstreamUnavailable),
        ("rate_limit_exceeded", RateLimited),
        ("invalid_prompt", BadRequest),
        ("image_too_large", BadRequest),
    ],
)
def test_a_failed_response_is_its_error(mode: str, code: str, kind: type[BackendError]) -> None:
    error = {"code": code, "message": "It went wrong."}
    with (
        serving(says("Half", status="failed", error=error)) as (running, _),
        pytest.raises(kind, match="It went wrong; ") as caught,
    ):
        in_mode(mode, running, WHO, "Hi")
    assert type(caught.value) is kind
    assert caught.value.partial == ("Half" if "stream" in mode else "")


@in_modes
@pytest.mark.parametrize("status", ["queued", "in_progress", "cancelled"])
def test_a_response_that_has_not_ended_is_incomplete(mode: str, status: str) -> None:
    with (
        serving(Reply(b'{"object": "response", "status": "%s", "output": []}' % status.encode()))
        as (running, _),
        pytest.raises(IncompleteAnswer, match=status),
    ):  # fmt: skip
        in_mode(mode, running, WHO, "Hi")


@in_modes
def test_an_answer_of_the_other_api_is_none(mode: str) -> None:
    chat = {"object": "chat.completion", "choices": [{"message": {"content": "Hi"}}]}
    with serving(chat) as (running, _), pytest.raises(InvalidAnswer, match="keys are object, cho"):
        in_mode(mode, running, WHO, "Hi")


@in_modes
def test_citations_are_annotations(mode: str) -> None:
    cited = {
        "type": "url_citation", "url": "https://example.com", "title": "Example",
        "start_index": 0, "end_index": 5,
    }  # fmt: skip
    item = message("Hello")
    item["content"][0]["annotations"] = [cited]
    with serving(says(item)) as (running, _):
        assert in_mode(mode, running, WHO, "Hi").annotations == (cited,)


@in_modes
def test_calls_with_the_same_id_or_none_have_their_own(mode: str) -> None:
    output = (
        thought(1), call("a", "{", ""), thought(2), call("a", "{}", ""), call("b", {"x": 1}, "c"),
        call("b", {"x": 2}, "c"),
    )  # fmt: skip
    with serving(says(*output)) as (running, _):
        answer = in_mode(mode, running, WHO, "Hi")
    assert answer.finish_reason == "tool_calls"
    assert [(made.name, made.arguments) for made in answer.tool_calls] == [
        ("a", "{"), ("a", "{}"), ("b", '{"x": 1}'), ("b", '{"x": 2}'),
    ]  # fmt: skip
    ids = [made.id for made in answer.tool_calls]
    assert len(set(ids)) == 4
    (kept,) = answer.items
    assert [item["id"] for item in kept["items"] if item.get("place") == "call"] == ids


def test_the_type_of_openai_reads_the_answers() -> None:
    from openai.types.responses import Response as Typed

    for answer in (says("Hi"), says(thought(1, "Hm."), call("a", {})), response()):
        assert Typed.model_validate(answer).status == "completed"


def test_the_error_of_a_tool_is_its_output() -> None:
    def fail(word: str) -> str:
        """Fail."""
        raise ValueError("no such word")

    with serving(says(call("fail", {"word": "x"})), "Sorry.") as (running, server):
        assert running.run(WHO, "Hi", tools=[fail]).text == "Sorry."
    output = server.requests[1].body["input"][-1]
    assert (output["type"], output["call_id"]) == ("function_call_output", "call_1")
    assert "no such word" in output["output"]


@in_modes
@pytest.mark.parametrize(
    "output",
    [
        (call("look_up", '{"word": "a'),),
        ("Let me see.", {**call("look_up", {"word": "a"}), "status": "incomplete"}),
    ],
)
def test_a_call_that_is_cut_is_not_run_although_the_response_is_completed(
    mode: str, output: Any
) -> None:
    def look_up(word: str) -> str:
        """Look a word up."""
        raise AssertionError(word)

    usage = {"input_tokens": 5, "output_tokens": 9, "total_tokens": 14}
    with Server([says(*output, usage=usage)]) as server:
        provider = Provider("mine", server.base_url, api="responses")
        config = Config(model="mine/m", path=(), environ={}, providers={"mine": provider})
        with (
            Runner(config) as running,
            pytest.raises(IncompleteAnswer, match="which were not run"),
        ):
            in_mode(mode, running, WHO, "Hi", tools=[look_up], parameters={"max_tokens": 9})
