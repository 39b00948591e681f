"""A wire of a plugin: what it raises, what it keeps, and the features of its provider."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personakit import (
    Answer,
    BadRequest,
    Config,
    Endpoint,
    InvalidAnswer,
    Message,
    Provider,
    Request,
    Timeout,
    ToolCall,
    Usage,
    Wire,
)
from personakit.backend.answers.finish_reasons import meaning
from personakit.backend.answers.order import ordered
from personakit.backend.answers.usage_parser import read_usage
from personakit.backend.api_errors import reported
from personakit.backend.endpoint import Router
from personakit.backend.requests.model_parameters import adapted


class Plain(Answer):
    """The parser of `{"say": {"text": …}}`."""

    def read(self, data: dict[str, Any]) -> None:
        self.add_text(data["say"]["text"].strip())
        self.finish_reason = "stop"

    def read_event(self, data: dict[str, Any], name: str) -> None:
        self.read(data)
        self.done = True


class Speech(Wire):
    name = "speech"
    title = "the speech API"
    features = {"json_schema": False, "default_model": "best"}  # noqa: RUF012

    def path(self, endpoint: Endpoint, *, stream: bool) -> str:
        return "say"

    def body(
        self, request: Request, endpoint: Endpoint, provider: Provider, *, stream: bool
    ) -> dict[str, Any]:
        return {"text": request.messages[-1].text}

    def answer(self, request: Request, provider: Provider) -> Plain:
        return Plain(request, provider, self.name)


def contributed(kind: str, name: str, alone: bool = False) -> Any:
    return Speech() if (kind, name) == ("wire", "speech") else None


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"said": 1}, "KeyError: 'say'"),
        ({"say": 1}, "TypeError"),
        ({"say": {"text": None}}, "AttributeError"),
    ],
)
def test_json_of_another_form_is_an_invalid_answer(body: Any, reason: str) -> None:
    data = json.dumps(body).encode()
    for read in (Plain.whole, Plain.event):
        answer = Plain(Request("speech/x"), Provider("speech"), "speech")
        with pytest.raises(InvalidAnswer, match=f"not of the expected form .{reason}"):
            read(answer, data)


@pytest.mark.parametrize(
    ("name", "api", "takes", "model"),
    [
        ("speech", "auto", False, "best"),
        ("speech", "chat", True, ""),
        ("speech", "responses", True, ""),
        ("other", "speech", False, "best"),
        ("other", "auto", True, ""),
    ],
)
def test_a_provider_has_the_features_of_the_wire_that_it_uses(
    name: str, api: str, takes: bool, model: str
) -> None:
    config = Config(path=(), providers={name: Provider(name, "http://127.0.0.1", api=api)})
    provider = Router(config, contributed).provider(name)
    assert (provider.json_schema, provider.default_model) == (takes, model)


def test_only_objects_are_kept() -> None:
    origin = {"provider": "p", "wire": "speech", "model": "p/m"}
    items: Any = ({**origin, "items": (1, {"a": 2}, "b", None)},)
    kept = Speech().kept(Message("assistant", "x", items=items), Request("p/m"), Provider("p"))
    assert kept == ({"a": 2},)


class Signing(Plain):
    """Keeps a signature between a text and the calls, if there is one."""

    def read(self, data: dict[str, Any]) -> None:
        super().read(data)
        self.place_text(len(data["say"]["text"]))
        if "signature" in data:
            self.keep({"signature": data["signature"]})
        for call in data.get("calls", ()):
            self.add_call(call["id"], **call)
            self.place_call()


def test_the_parts_of_an_answer_go_back_in_their_order() -> None:
    request, provider = Request("speech/x"), Provider("speech")
    calls = [{"id": "a", "name": "f"}, {"id": "b", "name": "g"}]
    answer = Signing(request, provider, "speech")
    answer.whole(json.dumps({"say": {"text": "One."}, "signature": "s", "calls": calls}).encode())
    message = answer.response().message
    first, second = message.tool_calls
    signed = {"signature": "s"}

    def parts(message: Message, model: str = "speech/x") -> list[Any]:
        return list(Speech().parts(message, Request(model), provider))

    assert parts(message) == ["One.", signed, first, second]
    assert parts(message, "speech/other") == ["One.", first, second]
    # A plugin changed the text, removed a call, or added one.
    assert parts(message.replace(content="Two parts.")) == ["Two parts.", signed, first, second]
    assert parts(message.replace(content=None, tool_calls=(second,))) == [signed, second]
    added = first.replace(id="c")
    assert parts(message.replace(tool_calls=(added, second))) == ["One.", signed, second, added]


def test_an_answer_of_texts_and_calls_keeps_nothing() -> None:
    answer = Signing(Request("speech/x"), Provider("speech"), "speech")
    calls = [{"id": "a", "name": "f"}]
    answer.whole(json.dumps({"say": {"text": "One."}, "calls": calls}).encode())
    assert answer.response().items == ()


PLACES = st.one_of(
    st.builds(lambda size: {"place": "text", "size": size}, st.integers(-1, 5) | st.text()),
    st.builds(lambda key: {"place": "call", "id": key}, st.sampled_from("abx") | st.none()),
    st.builds(lambda key: {"kept": key}, st.integers()),
)


@given(st.text(max_size=9), st.lists(PLACES, max_size=6), st.sampled_from(["", "-"]))
def test_nothing_is_lost_or_twice_in_the_order_of_an_answer(
    text: str, entries: list[Any], between: str
) -> None:
    calls = [ToolCall("a", "f"), ToolCall("b", "g")]
    parts = [part for _, part in ordered(text, calls, entries, between) if part]
    assert between.join(part for part in parts if isinstance(part, str)) == text
    assert sorted(part.id for part in parts if isinstance(part, ToolCall)) == ["a", "b"]
    kept = [part for part in parts if isinstance(part, dict)]
    assert kept == [entry for entry in entries if "kept" in entry]


def test_words_of_anthropic() -> None:
    assert meaning("pause_turn") == "length"
    assert isinstance(reported({"type": "timeout_error", "message": "late"}), Timeout)
    assert not isinstance(reported({"type": "timeout_error", "message": "late"}), BadRequest)
    counts = {
        "input_tokens": 5,
        "cache_creation_input_tokens": 20,
        "cache_read_input_tokens": 0,
        "output_tokens": 9,
        "output_tokens_details": {"thinking_tokens": 7},
    }
    assert read_usage(counts) == Usage(25, 9, 34, 0, 7, 20)


@pytest.mark.parametrize(
    ("model", "effort", "left"),
    [
        ("claude-opus-5-5", None, False),
        ("claude-opus-4-7", None, False),
        ("claude-saga-9", None, False),
        ("claude-opus-4-6", None, True),
        ("claude-sonnet-4-5-20250929", "none", True),
        ("claude-sonnet-4-5-20250929", "low", False),
        ("claude-3-opus-20240229", None, True),
    ],
)
def test_sampling_of_claude(model: str, effort: str | None, left: bool) -> None:
    notices: list[str] = []
    parameters = {"temperature": 0.5, **({"reasoning_effort": effort} if effort else {})}
    defaults = frozenset({"temperature"})
    request = Request(f"anthropic/{model}", (), parameters, defaults=defaults)
    endpoint = Endpoint("http://127.0.0.1", None, model)
    append: Callable[[str], None] = notices.append
    sent = adapted(request, Provider("anthropic"), endpoint, append)
    assert ("temperature" in sent.parameters) is left
    assert bool(notices) is not left


def test_the_wish_of_a_persona_is_not_about_the_api_of_a_plugin() -> None:
    router = Router(Config(providers={"speech": Provider("speech", "http://x")}), contributed)
    for api in ("auto", "chat", "responses"):
        assert router.adapted(Request("speech/x", api=api)).api == "auto"
