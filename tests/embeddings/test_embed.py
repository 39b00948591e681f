"""`send.embed`: vectors through the providers, keys, retries and the deadline of a run."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personakit import (
    AuthenticationFailed,
    ConfigError,
    Embeddings,
    InvalidAnswer,
    ModelNotFound,
    PluginError,
    Provider,
    RateLimited,
    Response,
    RunError,
    Runner,
    Timeout,
    Tool,
    ToolCall,
    UpstreamUnavailable,
    Usage,
    hookimpl,
)
from personakit.config import Config
from personakit.embeddings.asking import MOST_BYTES, batches
from personakit.testing import MODES, Reply, Server, in_mode, persona, runner

SMALL = "openai/text-embedding-3-small"
TEXTS = ("hello world", "the hello", "cat")
in_modes = pytest.mark.parametrize("mode", MODES)


class Embeds:
    """Asks for embeddings in its chat hook, and keeps them."""

    def __init__(self, texts: Any = TEXTS, model: Any = SMALL, **options: Any) -> None:
        self.arguments = texts, model, options
        self.result: Embeddings = Embeddings()

    @hookimpl
    async def chat(self, request: Any, send: Any) -> None:
        texts, model, options = self.arguments
        self.result = await send.embed(texts, model=model, **options)


def ask(*answers: Any, plugin: Embeds | None = None, **options: Any) -> tuple[Embeddings, Server]:
    """Return the embeddings that a server answers with, and the server."""
    plugin = plugin or Embeds()
    with (
        Server(embeddings=answers or (None,)) as server,
        Runner(server.config(), plugins=[plugin]) as running,
    ):
        running.run(persona(), "Hi!", **options)
    return plugin.result, server


def sent(server: Server) -> list[dict[str, Any]]:
    return [one.body for one in server.requests if one.path == "/v1/embeddings"]


def failure(status: int, message: str, **headers: str) -> Reply:
    return Reply(json.dumps({"error": {"message": message}}).encode(), status, headers)


def listed(*vectors: Any) -> dict[str, Any]:
    return {"data": [{"index": n, "embedding": one} for n, one in enumerate(vectors)]}


@in_modes
def test_the_same_over_http_and_with_the_fake(mode: str) -> None:
    plugin = Embeds()
    with Server() as server, Runner(server.config(), plugins=[plugin]) as running:
        assert in_mode(mode, running, persona(), "Hi!").text == "Hello!"
    over_http = plugin.result
    body = {"encoding_format": "base64", "input": [*TEXTS], "model": "text-embedding-3-small"}
    assert sent(server) == [body]
    headers = {name.lower(): value for name, value in server.requests[0].headers.items()}
    assert headers["authorization"] == "Bearer test-key"
    fake, upstream = runner(plugins=[plugin])
    in_mode(mode, fake, persona(), "Hi!")
    assert [message.text for message in upstream.embedded[0].messages] == [*TEXTS]
    for one, other in zip(over_http.vectors, plugin.result.vectors, strict=True):
        assert one == pytest.approx(other, abs=1e-6)
    assert over_http.usage == plugin.result.usage == Usage(5, 0, 5)
    assert over_http.cost == plugin.result.cost == pytest.approx(5 * 0.02 / 1e6)


def test_a_tool_hook_and_an_alias() -> None:
    class InTool:
        @hookimpl
        async def tool(self, call: Any, send: Any) -> None:
            self.result = await send.embed(["a"], model="small")

    plugin = InTool()
    asked = Response("", tool_calls=(ToolCall("1", "none"),), finish_reason="tool_calls")
    running, upstream = runner(
        [asked, "Hi."], plugins=[plugin], aliases={"small": SMALL}, timeout=7
    )
    running.run(persona(), "Hi!", tools=[Tool("none", lambda: "x", "Does nothing.")])
    assert plugin.result.model == upstream.embedded[0].model == SMALL
    assert upstream.embedded[0].timeout == 7
    # A tool call outside of a run has no model, but it has the runner's providers.
    running.call_tool(persona(plugins=[]), ToolCall("1", "none"))
    assert len(upstream.embedded) == 2


def test_vectors_are_sorted_by_index_and_may_be_numbers() -> None:
    entries = [{"index": index, "embedding": [index, 0.5]} for index in (2, 0, 1)]
    result, _ = ask({"data": entries})
    assert result.vectors == ((0.0, 0.5), (1.0, 0.5), (2.0, 0.5))
    assert result.usage is None
    assert result.cost is None
    assert (result.dimensions, result.model) == (2, "")


def test_a_server_that_rejects_base64_is_asked_without_it() -> None:
    reply = failure(400, "Unknown parameter: encoding_format")
    result, server = ask(reply, None)
    assert ["encoding_format" in body for body in sent(server)] == [True, False]
    assert result.dimensions == 256


def test_many_texts_are_sent_in_batches_in_their_order() -> None:
    texts = [f"text {number}" for number in range(450)]
    result, server = ask(plugin=Embeds(texts, dimensions=3))
    assert [len(body["input"]) for body in sent(server)] == [200, 200, 50]
    assert [text for body in sent(server) for text in body["input"]] == texts
    assert len(result.vectors) == 450
    assert result.usage == Usage(900, 0, 900)
    assert {body["dimensions"] for body in sent(server)} == {result.dimensions} == {3}


def test_usage_that_is_unknown_in_one_batch_is_incomplete() -> None:
    result, _ = ask(
        None, listed(*[[0.0] * 256] * 50), plugin=Embeds([f"t {n}" for n in range(250)])
    )
    assert result.usage == Usage(400, 0, 400, incomplete=True)
    assert result.cost is None


@given(st.lists(st.text("aé\ud800", min_size=1)), st.integers(1, 5))
def test_batches_have_all_texts(texts: list[str], most: int) -> None:
    parts = list(batches(texts, most))
    assert [text for part in parts for text in part] == texts
    assert all(0 < len(part) <= most for part in parts)


def test_batches_are_limited_in_bytes() -> None:
    large = "é" * (MOST_BYTES // 2)
    assert [len(part) for part in batches(["a", large, "a", "b", large + "x"], 9)] == [1, 1, 2, 1]


def test_no_texts_ask_for_nothing() -> None:
    result, server = ask(plugin=Embeds([]))
    assert not sent(server)
    assert (result.vectors, result.usage, result.cost) == ((), Usage(), 0.0)


@pytest.mark.parametrize(
    ("plugin", "message"),
    [
        (Embeds("abc"), r"plugin 'Embeds' failed .* list of texts, found a string 'abc'; write"),
        (Embeds({"a": 1}), "list of texts, found a mapping"),
        (Embeds(["a", 1]), "number 1 is an integer 1"),
        (Embeds(["a", " "]), "text number 1 is empty; leave it out"),
        (Embeds(model=""), "model is empty; write provider/model"),
        (Embeds(model=None), "model must be a string"),
    ],
)
def test_wrong_arguments_are_errors_of_the_plugin(plugin: Embeds, message: str) -> None:
    with pytest.raises(PluginError, match=message):
        ask(plugin=plugin)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("anthropic/claude-opus-4", "provider 'anthropic' has no embeddings; choose a model of a"),
        ("nowhere/m", "unknown provider 'nowhere'"),
        ("mistral/mistral-embed", "no key for provider 'mistral': set MISTRAL_API_KEY"),
    ],
)
def test_a_provider_that_cannot_be_asked(model: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ask(plugin=Embeds(model=model))


@pytest.mark.parametrize(
    ("answer", "kind", "message"),
    [
        (Reply(b"<html>", 404), ModelNotFound, "is not there; check that the server has embed"),
        (failure(404, "no model x"), ModelNotFound, "no model x; check the model's name"),
        (failure(401, "bad key test-key"), AuthenticationFailed, r"bad key \*\*\*; check the prov"),
        (failure(500, "oops"), UpstreamUnavailable, "status 500: oops"),
        ({"data": []}, InvalidAnswer, "has 0 vectors for 3 texts; check that the address"),
        ({"x": 1}, InvalidAnswer, "without `data`"),
        (listed([1], [1]), InvalidAnswer, "has 2 vectors for 3 texts"),
        (listed([1], [1], [1, 2]), InvalidAnswer, "different lengths: 1 and 2"),
        (listed([1], [1], []), InvalidAnswer, "where a vector is expected"),
        (listed([1], [1], ["x"]), InvalidAnswer, "where a vector is expected"),
        (listed([1], [1], [1e999]), InvalidAnswer, "where a vector is expected"),
        (listed("@@", "@@", "@@"), InvalidAnswer, "'@@' where a vector is expected"),
        ({"data": [{"index": 0, "embedding": [1]}] * 3}, InvalidAnswer, "text number 0"),
        ({"data": [{"index": 7, "embedding": [1]}] * 3}, InvalidAnswer, "text number 7"),
        (b"{", InvalidAnswer, "not valid JSON"),
    ],
)
def test_failures_name_the_place_and_what_to_do(answer: Any, kind: Any, message: str) -> None:
    if isinstance(answer, Reply) and answer.status == 500:
        answer = Reply(answer.body, 500, {"x-should-retry": "false"})
    with pytest.raises(kind, match=message) as caught:
        ask(answer)
    assert "text-embedding-3-small at http://127.0.0.1" in str(caught.value)
    assert "test-key" not in str(caught.value)


def test_retries_and_the_deadline_are_those_of_the_run() -> None:
    result, server = ask(failure(429, "slow", **{"retry-after": "0"}), None)
    assert (len(sent(server)), result.dimensions) == (2, 256)
    with pytest.raises(RateLimited, match="wait 100 s"):
        ask(failure(429, "slow", **{"retry-after": "100"}), deadline=5)

    def slow() -> Any:
        import time

        for _ in range(300):
            time.sleep(0.1)
            yield b" "

    with pytest.raises(Timeout, match="no answer within"):
        ask(Reply(slow()), deadline=0.5)


def test_a_server_that_is_down() -> None:
    with Server() as server:
        config = server.config()
    refused = pytest.raises(UpstreamUnavailable, match="connection was refused")
    with Runner(config, plugins=[Embeds()]) as running, refused:
        running.run(persona(), "Hi!", deadline=0.6)


def test_a_dry_run_shows_the_request_and_asks_for_nothing() -> None:
    running, upstream = runner(plugins=[Embeds()])
    assert running.prepare(persona(), "Hi!").messages[-1].text == "Hi!"
    assert not upstream.embedded


def test_the_fake_fails_and_answers_as_it_is_told() -> None:
    own = Embeddings([[1, 2], [3, 4], [5, 6]])
    plugin = Embeds()
    answers: list[Any] = [RateLimited("wait"), own, lambda request: Embeddings([[1], [2], [3, 4]])]
    running, _ = runner(plugins=[plugin], embeddings=answers)
    with pytest.raises(RateLimited):
        running.run(persona(), "Hi!")
    running.run(persona(), "Hi!")
    assert plugin.result.vectors == ((1.0, 2.0), (3.0, 4.0), (5.0, 6.0))
    with pytest.raises(InvalidAnswer, match=r"different lengths \(1 and 2\); check that it is"):
        running.run(persona(), "Hi!")


class Backend:
    def __init__(self, endpoint: Any = None) -> None: ...

    async def send(self, request: Any, emit: Any = None) -> Any:
        return Response("Hello!", finish_reason="stop")


class Fewer(Backend):
    async def embed(self, texts: Any, request: Any) -> Embeddings:
        return Embeddings([(1.0,)] * (len(texts) - 1))


class Wrong(Backend):
    async def embed(self, texts: Any, request: Any) -> Any:
        return [(1.0,)] * len(texts)


class Breaks(Backend):
    async def embed(self, texts: Any, request: Any) -> Any:
        raise ConnectionError("gone")


@pytest.mark.parametrize(
    ("backend", "kind", "message"),
    [
        (Backend, ConfigError, "provider 'own' has no embeddings"),
        (Fewer, PluginError, "returned 2 vectors for 3 texts"),
        (Wrong, PluginError, "must return a personakit.Embeddings"),
        (Breaks, RunError, "own/m: ConnectionError: gone"),
    ],
)
@in_modes
def test_backends_of_plugins(mode: str, backend: Any, kind: Any, message: str) -> None:
    config = Config(model="own/m", path=(), providers={"own": Provider("own", backend=backend)})
    failing = pytest.raises(kind, match=message)
    with Runner(config, plugins=[Embeds(model="own/m")]) as running, failing:
        in_mode(mode, running, persona(), "Hi!")


def test_a_backend_of_a_runner_needs_embed() -> None:
    config = Config(model="a/b", path=())
    for backend, message in (
        (Backend(), "Backend has no embeddings; give it"),
        (Wrong(), "return"),
    ):
        with pytest.raises(ConfigError, match=message):
            Runner(config, plugins=[Embeds()], backend=backend).run(persona(), "Hi!")


def test_the_value() -> None:
    value = Embeddings([[1, 2], (3, 4)], "m", Usage(1, 0, 1), 0.5)
    assert repr(value) == (
        "Embeddings(vectors='2 of 2 numbers', model='m', "
        "usage=Usage(prompt_tokens=1, total_tokens=1))"
    )
    assert pickle.loads(pickle.dumps(value)) == value
    assert (value.cost, Embeddings().cost, Embeddings().dimensions) == (0.5, None, 0)
    with pytest.raises(AttributeError):
        value.model = "x"  # type: ignore[misc]
    with pytest.raises(AttributeError, match="no attribute 'vector'"):
        _ = value.vector
