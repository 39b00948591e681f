"""Wires that plugins bring: JSON lines, small answers as events, and mistakes in a wire."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
from helpers.backend import WHO, in_modes, in_streams
from hypothesis import given
from hypothesis import strategies as st

from personakit import (
    Answer,
    BackendError,
    Config,
    ConfigError,
    IncompleteAnswer,
    InvalidAnswer,
    PluginError,
    Provider,
    Registry,
    Request,
    Runner,
    UpstreamUnavailable,
    Usage,
    Wire,
    hookimpl,
)
from personakit.backend.answers.usage_parser import read_usage
from personakit.backend.sse import Decoder
from personakit.testing import Reply, Server, in_mode, persona, pieces

LINES = {"content-type": "application/x-ndjson"}


class LinesAnswer(Answer):
    """An answer of Ollama's own API: https://docs.ollama.com/api/chat."""

    def read(self, data: dict[str, Any]) -> None:
        self.add_text(data["message"]["content"])
        if data["done"]:
            counts = {"prompt_tokens": data["prompt_eval_count"]}
            self.raw = {**data, "usage": {**counts, "completion_tokens": data["eval_count"]}}
            self.finish_reason = data["done_reason"]


class LinesWire(Wire):
    name, title, answers = "lines", "an API of JSON lines", LinesAnswer
    features: ClassVar[Any] = {"tools": False, "json_schema": False}

    def path(self, endpoint: Any, *, stream: bool) -> str:
        return "api/chat"

    def body(self, request: Any, endpoint: Any, provider: Any, *, stream: bool) -> dict[str, Any]:
        texts = [message.text for message in request.messages]
        if texts[-1] == "wrong":
            return {"x": texts[7]}
        return {"model": endpoint.model, "messages": texts, "stream": stream}


class Plugin:
    wire: Wire = LinesWire()

    @classmethod
    @hookimpl
    def setup(cls, registry: Registry) -> None:
        registry.provider("lines", base_url="http://127.0.0.1:1", base_url_env="LINES_URL")
        registry.wire("lines", cls.wire)


def said(text: str, **end: Any) -> dict[str, Any]:
    return {"model": "m", "message": {"content": text}, "done": bool(end), **end}


END = said("", done_reason="stop", prompt_eval_count=5, eval_count=2)


def lines(*events: Any) -> bytes:
    return b"".join(json.dumps(event).encode() + b"\n" for event in events)


def play(mode: str, answer: Any, prompt: str = "Hi!", plugin: Any = Plugin, **options: Any) -> Any:
    with Server([answer]) as server:
        settings = Config(model="lines/m", path=(), environ={"LINES_URL": server.base_url})
        with Runner(settings, plugins=[plugin], log=False) as running:
            return in_mode(mode, running, WHO, prompt, **options)


@in_streams
@pytest.mark.parametrize("kind", ["application/x-ndjson", "application/jsonl; charset=utf-8"])
def test_a_stream_of_json_lines(mode: str, kind: str) -> None:
    body = lines(said("Hé"), said("llo 😀"), END)
    response = play(mode, Reply(body, headers={"content-type": kind}))
    assert (response.text, response.finish_reason) == ("Héllo 😀", "stop")
    assert response.usage == Usage(5, 2, 7)


@in_modes
def test_an_answer_that_sets_no_raw_has_the_members_of_all_events(mode: str) -> None:
    class Small(LinesAnswer):
        def read(self, data: dict[str, Any]) -> None:
            self.add_text(data.get("text", ""))
            self.finish_reason = data.get("reason")

    class SmallWire(LinesWire):
        answers = Small

    class SmallPlugin(Plugin):
        wire = SmallWire()

    usage = {"input_tokens": 1, "output_tokens": 2}
    events = [{"id": "7", "text": "He"}, {"text": "llo"}, {"reason": "stop", "usage": usage}]
    whole = {"id": "7", "text": "Hello", "reason": "stop", "usage": usage}
    answer = Reply(lines(*events), headers=LINES) if "stream" in mode else whole
    response = play(mode, answer, plugin=SmallPlugin)
    assert (response.text, response.id, response.usage) == ("Hello", "7", Usage(1, 2, 3))


@given(
    texts=st.lists(st.text(max_size=6), max_size=4),
    size=st.integers(1, 60),
)
def test_streamed_is_whole_for_every_text_and_cut(texts: list[str], size: int) -> None:
    answer = LinesAnswer(Request("lines/m"), Provider("lines"), "lines")
    events = [said(text) for text in texts]
    decoder, streamed = Decoder(), ""
    for part in pieces(lines(*events, END), size):
        streamed += "".join(answer.event(data, decoder.name) for data in decoder.feed(part))
    streamed += answer.ended()
    whole = LinesAnswer(Request("lines/m"), Provider("lines"), "lines")
    whole.whole(json.dumps({**END, "message": {"content": "".join(texts)}}).encode())
    assert streamed == whole.text == answer.text


@in_streams
@pytest.mark.parametrize(
    ("events", "kind", "words"),
    [
        ([said("Hel")], IncompleteAnswer, "before the answer did"),
        ([said("Hel"), {"error": "out of memory"}], BackendError, "out of memory"),
        ([said("Hel"), {"done": True}], InvalidAnswer, "KeyError: 'message'"),
        ([said("Hel"), {"message": None, "done": True}], InvalidAnswer, "NoneType"),
    ],
)
def test_a_stream_that_fails_keeps_its_beginning(
    mode: str, events: list[Any], kind: type[BackendError], words: str
) -> None:
    with pytest.raises(kind, match=words) as raised:
        play(mode, Reply(lines(*events), headers=LINES))
    assert raised.value.partial == "Hel"


@pytest.mark.parametrize("mode", ["run", "arun"])
def test_json_that_a_wire_cannot_read_is_an_invalid_answer(mode: str) -> None:
    with pytest.raises(InvalidAnswer, match=r"is {'x': 1}, not of .* \(KeyError: 'message'\)"):
        play(mode, {"x": 1})


@in_modes
def test_an_invalid_answer_names_the_api_of_the_wire(mode: str) -> None:
    answer = Reply(lines({"x": 1}), headers=LINES) if "stream" in mode else {"x": 1}
    with pytest.raises(
        InvalidAnswer, match="the address belongs to an API of JSON lines"
    ) as raised:
        play(mode, answer)
    assert "OpenAI" not in str(raised.value)


class Failing(LinesAnswer):
    def read(self, data: dict[str, Any]) -> None:
        super().read(data)
        if self.finish_reason == "failed":
            raise UpstreamUnavailable("the model has crashed")


class FailingWire(LinesWire):
    answers = Failing


class FailingPlugin(Plugin):
    wire = FailingWire()


@in_modes
def test_a_failure_in_an_answer_is_no_fault_of_the_address(mode: str) -> None:
    end = {"done_reason": "failed", "prompt_eval_count": 5, "eval_count": 2}
    answer = Reply(lines(said("Hi", **end)), headers=LINES)
    with pytest.raises(UpstreamUnavailable, match="crashed; try again later") as raised:
        play(mode, answer, plugin=FailingPlugin)
    assert "address" not in str(raised.value)


class FewWire(LinesWire):
    parameters = frozenset({"temperature"})


class FewPlugin(Plugin):
    wire = FewWire()


def test_a_provider_with_a_wire_of_its_own_is_not_said_to_have_chat_completions() -> None:
    with pytest.raises(ConfigError, match=r"JSON lines has no parameter 'top_p'; remove it$"):
        play("run", END, plugin=FewPlugin, parameters={"top_p": 0.5})


@in_modes
def test_a_mistake_in_the_body_names_the_wire(mode: str) -> None:
    with pytest.raises(PluginError, match="wire 'lines' cannot write the request: IndexError"):
        play(mode, said("x"), "wrong")


class Faulty(LinesAnswer):
    def __init__(self, request: Request, provider: Provider, wire: str = "") -> None:
        super().__init__(request, provider, wire)
        self.mistake = request.messages[-1].text

    def read(self, data: dict[str, Any]) -> None:
        if self.mistake == "read":
            raise ZeroDivisionError("by zero")
        super().read(data)
        if self.mistake == "raw":
            self.raw = None  # type: ignore[assignment]


class FaultyWire(LinesWire):
    """A wire with the mistake that the prompt names."""

    answers = Faulty

    def path(self, endpoint: Any, *, stream: bool) -> str:
        return str(endpoint.nothing if endpoint.model == "path" else "api/chat")

    def body(self, request: Any, endpoint: Any, provider: Any, *, stream: bool) -> Any:
        bodies = {"none": None, "message": {"message": request.messages[0]}}
        if (mistake := request.messages[-1].text) == "missing":
            return Wire.body(self, request, endpoint, provider, stream=stream)
        return bodies.get(mistake, {"stream": stream})


class FaultyPlugin(Plugin):
    wire = FaultyWire()


@in_modes
@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        ("none", "cannot write the request: TypeError: 'NoneType' object is not a mapping"),
        ("message", "cannot write the request: TypeError: .*Message is not JSON serializable"),
        ("missing", "cannot write the request: NotImplementedError$"),
        ("read", "cannot read the answer: ZeroDivisionError: by zero"),
        ("raw", "`raw` must be a dict, found None"),
    ],
)
def test_a_mistake_in_a_wire_is_no_failure_of_the_upstream(
    mode: str, mistake: str, words: str
) -> None:
    answer = Reply(lines({**END, "message": {"content": "Hi"}}), headers=LINES)
    with pytest.raises(PluginError, match=f"wire 'lines'.* ?{words}"):
        play(mode, answer, mistake, plugin=FaultyPlugin)


def test_a_mistake_in_the_path_names_the_wire() -> None:
    with pytest.raises(PluginError, match="wire 'lines' cannot write the request: AttributeError"):
        play("run", END, plugin=FaultyPlugin, model="lines/path")


@pytest.mark.parametrize(
    ("wire", "words"),
    [
        (LinesWire, "pass an instance"),
        (type("Typo", (LinesWire,), {"features": {"tolls": False}})(), "'tolls'.*mean 'tools'"),
    ],
)
def test_a_wire_is_checked_when_it_is_contributed(wire: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Registry("lines").wire("lines", wire)


def test_a_typo_in_the_name_of_a_wire_is_an_error_with_that_name(
    install: Callable[..., None],
) -> None:
    install(lines=Plugin)
    for api, hint in (("line", "; did you mean 'lines'"), ("x", "known: .*, responses,.* lines")):
        mine = Provider("mine", "http://127.0.0.1:1", key_required=False, api=api)
        config = Config(model="mine/m", path=(), environ={}, providers={"mine": mine})
        with (
            Runner(config, log=False) as running,
            pytest.raises(ConfigError, match=f"provider 'mine': unknown api '{api}'.*{hint}"),
        ):
            running.run(WHO, "Hi!")


class MistralWire(LinesWire):
    name = "mistral"


class Other:
    """Brings a wire with the name of a provider that is not its own, and a filter."""

    @staticmethod
    @hookimpl
    def setup(registry: Registry) -> None:
        registry.wire("mistral", MistralWire())
        registry.template_filter("same", str)


@pytest.mark.parametrize("system", ["You greet.", "{{ 'You greet.' | same }}"])
def test_the_wire_of_another_plugin_is_not_used_because_that_is_loaded(
    system: str, install: Callable[..., None]
) -> None:
    install(other=Other)
    with Server(["Hello!"]) as server:
        mine = Provider("mistral", server.base_url, given=frozenset({"base_url"}))
        config = Config(model="mistral/m", path=(), environ={}, providers={"mistral": mine})
        with Runner(config, log=False) as running:
            assert running.run(persona(system), "Hi!").text == "Hello!"
    assert server.requests[0].path == "/v1/chat/completions"


def test_the_config_file_overrides_single_settings(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("providers: {lines: {json_schema: true, base_url: 'http://[::1]:2'}}", "utf-8")
    settings = Config.read({"PERSONAKIT_CONFIG": str(file), "HOME": str(tmp_path)})
    found = Runner(settings, plugins=[Plugin]).router.provider("lines")
    expected = Provider("lines", "http://[::1]:2", base_url_env="LINES_URL", tools=False)
    assert dataclasses.replace(found, given=frozenset()) == expected


def test_the_names_of_googles_token_counts() -> None:
    counts = {
        "promptTokenCount": 10,
        "candidatesTokenCount": 2,
        "thoughtsTokenCount": 3,
        "cachedContentTokenCount": 4,
        "totalTokenCount": 15,
    }
    assert read_usage(counts) == Usage(10, 5, 15, 4, 3)
