"""Requests as bodies of the Messages API, which Anthropic's published types accept."""

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from personakit_anthropic.wire import Messages

from personakit import (
    Attachment,
    ConfigError,
    Endpoint,
    Message,
    Persona,
    Provider,
    Request,
    Secret,
    Tool,
    ToolCall,
)
from personakit.testing import persona

WIRE = Messages()
PROVIDER = Provider("anthropic", "https://api.anthropic.com/v1/")
EPHEMERAL = {"cache_control": {"type": "ephemeral"}}
PNG = b"\x89PNG\r\n\x1a\n" + bytes(16)


def text(words: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": words, **more}


def body(
    *messages: Message, model: str = "claude-opus-5-5", tools: Any = (), **parameters: Any
) -> dict[str, Any]:
    request = Request(f"anthropic/{model}", messages, parameters, tools=tools)
    endpoint = Endpoint(PROVIDER.base_url, None, model)
    return WIRE.body(request, endpoint, PROVIDER, stream=False)


def user(words: str = "Hi!") -> Message:
    return Message("user", words)


def test_system_messages_are_blocks_wherever_they_are(checked: Any) -> None:
    sent = body(
        Message("system", "One.", cache=True),
        Message("developer", "Two."),
        user(),
        Message("assistant", "Yes?"),
        Message("system", "Three."),
        user("So"),
    )
    checked(sent)
    assert sent["system"] == [text("One.", **EPHEMERAL), text("Two."), text("Three.")]
    assert [turn["role"] for turn in sent["messages"]] == ["user", "assistant", "user"]


def test_messages_in_a_row_are_one_turn_and_blank_ones_none(checked: Any) -> None:
    calls = (ToolCall("a", "t", "{}"), ToolCall("b", "t", '{"n": NaN}'))
    sent = body(
        user("One"),
        user("Two"),
        user(" \n"),
        Message("assistant", None, calls),
        Message("tool", "1", tool_call_id="a"),
        Message("tool", "", tool_call_id="b"),
        user("Go on"),
        Message("assistant", ""),
    )
    checked(sent)
    assert sent["messages"] == [
        {"role": "user", "content": [text("One"), text("Two")]},
        {
            "role": "assistant",
            "content": [
                {"type": "tool_use", "id": "a", "name": "t", "input": {}},
                {"type": "tool_use", "id": "b", "name": "t", "input": {"arguments": '{"n": NaN}'}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "a", "content": [text("1")]},
                {"type": "tool_result", "tool_use_id": "b"},
                text("Go on"),
            ],
        },
    ]


def test_images_and_pdfs(serving: Any, answer: Any) -> None:
    pdf, coded = b"%PDF-1.7 ...", base64.b64encode(PNG).decode()
    attached: list[Any] = [PNG, Attachment.of(pdf), "https://example.com/a.jpg"]
    with serving([answer(text("Seen"))]) as (runner, fake):
        runner.run(persona(), "What?", attachments=attached)
    blocks = fake.bodies[0]["messages"][0]["content"]
    assert blocks[:2] == [
        text("What?"),
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": coded}},
    ]
    source = blocks[2]["source"]
    assert (blocks[2]["type"], source["media_type"]) == ("document", "application/pdf")
    assert base64.b64decode(source["data"]) == pdf
    url = {"type": "url", "url": "https://example.com/a.jpg"}
    assert blocks[3] == {"type": "image", "source": url}


def test_a_pdf_by_its_address(checked: Any) -> None:
    file = {"type": "file", "file": {"file_data": "https://example.com/a.pdf", "filename": "A"}}
    sent = body(Message("user", (file,)))  # type: ignore[arg-type]
    checked(sent)
    source = {"type": "url", "url": "https://example.com/a.pdf"}
    assert sent["messages"][0]["content"] == [{"type": "document", "source": source, "title": "A"}]


def test_audio_is_an_error() -> None:
    part = {"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}
    with pytest.raises(ConfigError, match=r"does not accept 'input_audio'.*choose another model"):
        body(Message("user", (part,)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("choice", "more", "expected"),
    [
        (None, {}, {"type": "auto"}),
        ("required", {}, {"type": "any"}),
        ("none", {"parallel_tool_calls": False}, {"type": "none"}),
        ({"type": "function", "function": {"name": "f"}}, {}, {"type": "tool", "name": "f"}),
        (
            "auto",
            {"parallel_tool_calls": False},
            {"type": "auto", "disable_parallel_tool_use": True},
        ),
    ],
)
def test_tools_and_their_choice(choice: Any, more: Any, expected: Any, checked: Any) -> None:
    def f(n: int = 1) -> None:
        """Do it."""

    tool = Tool.of(f)
    sent = body(user(), tools=(tool,), tool_choice=choice, **more)
    checked(sent)
    assert sent["tool_choice"] == expected
    (described,) = sent["tools"]
    assert (described["name"], described["description"]) == ("f", "Do it.")
    assert described["input_schema"]["properties"]["n"]["type"] == "integer"
    assert "tool_choice" not in body(user(), tool_choice=choice)


def test_parameters(checked: Any) -> None:
    sent = body(user(), model="claude-sonnet-4-5", stop="END", temperature=0.5, top_p=None)
    checked(sent)
    assert (sent["stop_sequences"], sent["temperature"]) == (["END"], 0.5)
    assert "top_p" not in sent
    assert body(user(), stop=["a", "b"])["stop_sequences"] == ("a", "b")
    assert body(user(), max_tokens=7)["max_tokens"] == 7
    assert body(user(), max_completion_tokens=8)["max_tokens"] == 8


@pytest.mark.parametrize(
    ("model", "tokens"),
    [
        ("claude-3-opus-20240229", 4_096),
        ("claude-opus-4-1-20250805", 4_096),
        ("claude-sonnet-4-20250514", 4_096),
        ("claude-haiku-4-5-20251001", 64_000),
        ("us.anthropic.claude-sonnet-4-5-v1:0", 64_000),
        ("claude-sonnet-4-6", 128_000),
        ("claude-opus-5", 128_000),
        ("claude-haiku-5-5", 128_000),
        ("claude-fable-5-1", 128_000),
        ("claude-saga-7", 64_000),
        ("deepseek-chat", 8_192),
    ],
)
def test_the_limit_of_the_model_is_the_default(model: str, tokens: int) -> None:
    assert body(user(), model=model)["max_tokens"] == tokens


ADAPTIVE = {"type": "adaptive", "display": "summarized"}
OFF = {"type": "disabled"}


@pytest.mark.parametrize(
    ("model", "effort", "thinking", "said"),
    [
        ("claude-opus-5-5", "high", ADAPTIVE, "high"),
        ("claude-opus-5-5", "none", ADAPTIVE, "low"),
        ("claude-opus-5", "none", OFF, None),
        ("claude-sonnet-5-20260601", "none", OFF, None),
        ("claude-sonnet-5-5", "none", {"type": "between_tools"}, None),
        ("claude-opus-4-6", "xhigh", ADAPTIVE, "max"),
        ("claude-opus-4-7", "xhigh", ADAPTIVE, "xhigh"),
        ("claude-saga-7", "minimal", ADAPTIVE, "low"),
        ("claude-haiku-4-5", "low", {"type": "enabled", "budget_tokens": 12_800}, None),
        ("claude-haiku-4-5", "xhigh", {"type": "enabled", "budget_tokens": 32_000}, None),
        ("claude-haiku-4-5", "none", OFF, None),
    ],
)
def test_how_much_a_model_thinks(
    model: str, effort: str, thinking: Any, said: str | None, checked: Any
) -> None:
    sent = body(user(), model=model, reasoning_effort=effort)
    checked(sent)
    assert sent["thinking"] == thinking
    assert sent.get("output_config") == ({"effort": said} if said else None)
    assert "thinking" not in body(user(), model=model)


@given(st.integers(1, 200_000), st.sampled_from("minimal low medium high xhigh".split()))
def test_a_budget_is_within_the_limits_of_the_api(limit: int, effort: str) -> None:
    sent = body(user(), model="claude-haiku-4-5", reasoning_effort=effort, max_tokens=limit)
    if "thinking" in sent:
        assert 1_024 <= sent["thinking"]["budget_tokens"] < limit
    else:
        assert limit <= 1_024


@pytest.fixture
def formed(serving: Any, answer: Any) -> Any:
    """Return a function that returns the body of a run with a response format."""

    def send(form: Any) -> Any:
        with serving([answer(text("{}"))]) as (runner, fake):
            runner.run(
                persona(), "Hi!", parameters={"response_format": form, "reasoning_effort": "low"}
            )
        return fake.bodies[0]

    return send


def of_schema(schema: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}


def test_a_schema_without_what_the_api_does_not_know(formed: Any) -> None:
    schema = {
        "type": "object",
        "properties": {
            "n": {"type": "integer", "minimum": 1, "description": "A count."},
            "when": {"type": ["string", "null"], "format": "date"},
            "mail": {"type": "string", "format": "idn-email"},
            "tags": {"type": "array", "items": {"$ref": "#/$defs/tag"}, "minItems": 2},
            "kind": {"oneOf": [{"const": "a"}, {"enum": ["b", None]}]},
        },
        "required": ["n"],
        "$defs": {"tag": {"type": "string", "maxLength": 9}},
    }
    sent = formed(of_schema(schema))
    assert sent["output_config"]["effort"] == "low"
    said = sent["output_config"]["format"]["schema"]
    assert said["additionalProperties"] is False
    assert said["properties"] == {
        "n": {"type": "integer", "description": 'A count. {"minimum": 1}'},
        "when": {"type": ["string", "null"], "format": "date"},
        "mail": {"type": "string", "description": '{"format": "idn-email"}'},
        "tags": {
            "type": "array",
            "items": {"$ref": "#/$defs/tag"},
            "description": '{"minItems": 2}',
        },
        "kind": {"anyOf": [{"const": "a"}, {"enum": ["b", None]}]},
    }
    assert said["$defs"] == {"tag": {"type": "string", "description": '{"maxLength": 9}'}}


@pytest.mark.parametrize(
    "form",
    [
        of_schema({"type": "object", "additionalProperties": {"type": "integer"}}),
        of_schema({"type": "object", "properties": {"a": {}}}),
        of_schema({"type": "object", "properties": {"a": True}}),
        of_schema({"type": "array", "items": {"type": "object"}}),
        {"type": "json_object"},
    ],
)
def test_a_schema_that_the_api_cannot_express_is_an_instruction(form: Any, formed: Any) -> None:
    sent = formed(form)
    assert sent["output_config"] == {"effort": "low"}
    text = sent["system"][-1]["text"]
    assert "Answer with JSON alone" in text
    assert '{"type": "' in text


def test_an_output_is_asked_for_and_read(serving: Any, answer: Any) -> None:
    who = Persona.parse("system: x\noutput: {type: object, properties: {n: {type: integer}}}")
    with serving([answer(text('{"n": 3}'))]) as (runner, fake):
        assert runner.run(who, "Hi!").parsed == {"n": 3}
    schema = fake.bodies[0]["output_config"]["format"]["schema"]
    assert schema["properties"]["n"] == {"type": "integer"}


def test_wishes_that_the_model_does_not_accept_are_left_out(
    serving: Any, answer: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    who = Persona.parse("system: x\nparameters: {temperature: 0.2, seed: 1, max_tokens: 9}\n")
    with serving([answer(text("Hi"))]) as (runner, fake):
        runner.run(who, "Hi!")
        runner.run(who, "Hi!", model="anthropic/claude-haiku-4-5")
        with pytest.raises(ConfigError, match=r"has no parameter 'seed'.*under `providers:`"):
            runner.run(who, "Hi!", parameters={"seed": 2})
    new, old = fake.bodies
    assert "temperature" not in new
    assert (old["temperature"], old["max_tokens"], new["max_tokens"]) == (0.2, 9, 9)
    notices = capsys.readouterr().err
    assert "temperature is left out: anthropic/claude-opus-5-5 does not accept it" in notices
    assert "seed is left out" in notices


def test_the_marks_of_a_persona_are_cache_points(serving: Any, answer: Any) -> None:
    who = Persona.parse(
        "system: {text: Rules, cache: true}\n"
        "messages: [user: Q, {assistant: A, cache: true}]\n"
        "prompt: 'Now: {{ input }}'\n"
    )
    with serving([answer(text("Hi"))]) as (runner, fake):
        runner.run(who, "go")
    (sent,) = fake.bodies
    assert sent["system"] == [text("Rules", **EPHEMERAL)]
    assert [turn["content"] for turn in sent["messages"]] == [
        [text("Q")],
        [text("A", **EPHEMERAL)],
        [text("Now: go")],
    ]


def test_a_text_that_a_plugin_changed_stays_with_its_thoughts() -> None:
    thought = {"type": "thinking", "thinking": "Hm", "signature": "s"}
    origin = {"provider": "anthropic", "wire": "anthropic", "model": "anthropic/claude-opus-5-5"}
    items = [
        {
            **origin,
            "items": [
                thought,
                {"place": "text", "size": 5},
                thought,
                {"place": "text", "size": 3},
                {"place": "call", "id": "gone"},
            ],
        }
    ]

    def turn(words: str) -> Any:
        return body(user(), Message("assistant", words, items=items), user())["messages"]  # type: ignore[arg-type]

    assert turn("Hello you"[:8])[1]["content"] == [thought, text("Hello"), thought, text(" yo")]
    assert turn("Changed text")[1]["content"] == [thought, text("Changed text"), thought]
    assert [message["role"] for message in turn("")] == ["user"]


def test_the_key_is_in_its_own_header() -> None:
    assert WIRE.headers(Secret("k")) == {
        "anthropic-version": "2023-06-01",
        "Authorization": None,
        "x-api-key": "k",
    }
    assert "x-api-key" not in WIRE.headers(None)
