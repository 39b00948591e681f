"""A wire of a plugin: what it raises, what it keeps, and the features of its provider."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

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
    Usage,
    Wire,
)
from personakit.backend.answers.finish_reasons import meaning
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
