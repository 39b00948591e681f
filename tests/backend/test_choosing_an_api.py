"""Which of OpenAI's APIs a request is sent to: by the persona, by the config, or by the model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from helpers.backend import in_modes
from helpers.responses import call, config, says, serving, thought

from personakit import (
    BackendError,
    BadRequest,
    Config,
    ConfigError,
    Endpoint,
    ModelNotFound,
    Persona,
    PersonaError,
    Provider,
    RateLimited,
    Request,
    Runner,
    hookimpl,
)
from personakit.backend import wires
from personakit.codec import diffable, read_request, write_request
from personakit.providers import BUILT_IN
from personakit.testing import Reply, Server, in_mode, persona, runner

WHO = persona()


def look_up(word: str) -> str:
    """Look a word up."""
    return f"{word}!"


def paths(server: Server) -> list[str]:
    return [request.path.removeprefix("/v1/") for request in server.requests]


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget what other tests found out about addresses, whose ports come again."""
    monkeypatch.setattr(wires, "_without", set())


# --- the persona ---------------------------------------------------------------------------------


@in_modes
@pytest.mark.parametrize(
    ("own", "of_provider", "path"),
    [
        (None, "auto", "chat/completions"),
        (None, "responses", "responses"),
        ("auto", "responses", "responses"),
        ("chat", "responses", "chat/completions"),
        ("responses", "auto", "responses"),
        ("responses", "chat", "responses"),
    ],
)
def test_the_persona_is_preferred_to_the_provider(
    mode: str, own: str | None, of_provider: str, path: str
) -> None:
    who = persona(**({"api": own} if own else {}))
    with serving(api=of_provider) as (running, server):
        assert in_mode(mode, running, who, "Hi").text == "Hello!"
    assert paths(server) == [path]


def test_an_api_is_inherited() -> None:
    parents = {
        "first": Persona.parse("system: x\napi: responses\n"),
        "second": Persona.parse("system: y\n"),
    }

    def api(source: str) -> str:
        return Persona.parse(source, parents=parents.__getitem__).api

    assert api("extends: first") == "responses"
    assert api("extends: [first, second]") == "responses"
    assert api("extends: first\napi: chat") == "chat"
    assert api("extends: first\napi: auto") == "auto"
    assert api("extends: second") == "auto"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            "respnses",
            "api: expected one of auto, chat, responses, found a string 'respnses'; did you mean ",
        ),
        ("[chat]", "api: expected one of auto, chat, responses, found a list"),
        ("true", "api: expected one of auto, chat, responses, found a boolean"),
    ],
)
def test_a_wrong_api_is_an_error_with_its_place(value: str, message: str) -> None:
    with pytest.raises(PersonaError) as caught:
        Persona.parse(f"system: x\napi: {value}\n", "p.yaml")
    (problem,) = caught.value.problems
    assert (problem.line, problem.column) == (2, 6)
    assert message in problem.message


def test_the_hash_of_a_persona_has_its_api() -> None:
    running, _ = runner()
    hashes = {api: running.hash(persona(api=api)) for api in ("auto", "chat", "responses")}
    assert len(set(hashes.values())) == 3
    assert running.hash(WHO) == hashes["auto"]


def test_a_request_is_stored_with_its_api() -> None:
    running, _ = runner()
    usual, chosen = running.render(WHO), running.render(persona(api="responses"))
    assert "api" not in write_request(usual)
    assert (write_request(chosen)["api"], diffable(chosen)["api"]) == ("responses", "responses")
    for request in (usual, chosen):
        again = read_request(json.dumps(write_request(request)), "test", {})
        assert again.api == request.api


@in_modes
def test_a_request_of_a_plugin_has_an_api_that_exists(mode: str) -> None:
    class Sets:
        @hookimpl
        def chat(self, request: Request) -> Request:
            return request.replace(api="respones")

    with (
        serving(plugins=[Sets()]) as (running, server),
        pytest.raises(ConfigError, match="unknown api 'respones' of a request; did you mean 'resp"),
    ):
        in_mode(mode, running, WHO, "Hi")
    assert server.requests == []


# --- the config ----------------------------------------------------------------------------------


def test_the_config_file_names_the_api_of_a_provider(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    with Server(["Hello!"]) as server:
        file.write_text(
            f"model: mine/m\nproviders:\n  mine: {{base_url: '{server.base_url}', "
            f"key_required: false, api: responses}}\n"
        )
        with Runner(Config.read({"PERSONAKIT_CONFIG": str(file)})) as running:
            assert running.run(WHO, "Hi").text == "Hello!"
    assert paths(server) == ["responses"]
    # Only models of OpenAI are asked for encrypted thoughts.
    assert "include" not in server.requests[0].body


@in_modes
def test_an_unknown_api_of_a_provider_is_an_error(mode: str) -> None:
    for api, hint in (("respones", "did you mean 'responses'"), ("x", "known: auto, chat, resp")):
        with (
            serving(api=api) as (running, server),
            pytest.raises(ConfigError, match=f"provider 'openai': unknown api '{api}'.*{hint}"),
        ):
            in_mode(mode, running, WHO, "Hi")
        assert server.requests == []
    with serving(api="respones") as (running, _), pytest.raises(ConfigError, match="unknown api"):
        running.prepare(WHO, "Hi")


# --- auto ----------------------------------------------------------------------------------------

OPENAI, AZURE, HERE = (
    "https://api.openai.com/v1",
    "https://mine.openai.azure.com/openai/v1/",
    "http://127.0.0.1:1/v1",
)


@pytest.mark.parametrize(
    ("provider", "url", "model", "prefers", "encrypts"),
    [
        ("openai", OPENAI, "gpt-5.4", True, True),
        ("openai", OPENAI, "gpt-5-mini", True, True),
        ("openai", OPENAI, "o3", True, True),
        ("openai", OPENAI, "ft:gpt-5-mini:me::1", True, True),
        ("openai", OPENAI, "a-new-name", True, True),
        ("openai", "https://eu.api.openai.com/v1", "a-new-name", True, True),
        ("openai", OPENAI, "gpt-4o", False, False),
        ("openai", OPENAI, "ft:gpt-4o-mini:me::1", False, False),
        ("openai", OPENAI, "chatgpt-4o-latest", False, False),
        ("openai", OPENAI, "gpt-5-chat-latest", False, False),
        ("openai", OPENAI, "gpt-5-search-api", False, False),
        ("openai", HERE, "gpt-5.4", True, True),
        ("openai", HERE, "gpt-6-mini", True, True),
        ("openai", HERE, "gpt-5.10", True, True),
        # Chat completions serve these, and a server that stands in for OpenAI seldom more.
        ("openai", HERE, "gpt-5-mini", False, True),
        ("openai", HERE, "gpt-5.2", False, True),
        ("openai", HERE, "o3", False, True),
        ("openai", HERE, "llama3", False, False),
        ("openai", "https://api.openai.com.example.org/v1", "llama3", False, False),
        ("azure", AZURE, "gpt-5.4", True, True),
        ("azure", AZURE, "team-o4-mini", True, True),
        ("azure", AZURE, "team-gpt-4o", False, False),
        ("azure", AZURE, "gpt-35-turbo", False, False),
        # The name of a deployment is the user's, and a model without thoughts has none to give.
        ("azure", AZURE, "production", True, False),
        ("mine", OPENAI, "gpt-5.4", True, True),
        ("mine", HERE, "gpt-5.4", False, False),
        ("openrouter", "https://openrouter.ai/api/v1", "openai/gpt-5.4", False, False),
    ],
)
def test_a_model_that_reasons(
    provider: str, url: str, model: str, prefers: bool, encrypts: bool
) -> None:
    known = BUILT_IN.get(provider) or Provider(provider, url)
    endpoint = Endpoint(url, None, model)
    name = f"{provider}/{model}"
    assert wires.prefers_responses(name, known, endpoint) is prefers
    assert wires.encrypts(name, known, endpoint) is encrypts


@in_modes
def test_auto_is_responses_for_tools_and_thoughts_together(mode: str) -> None:
    tools = {"tools": [look_up]}
    with serving(api="auto") as (running, server):
        in_mode(mode, running, WHO, "Hi", **tools)
        in_mode(mode, running, WHO, "Hi")
        in_mode(mode, running, WHO, "Hi", **tools, parameters={"reasoning_effort": "none"})
        in_mode(mode, running, WHO, "Hi", **tools, model="openai/gpt-4o")
        in_mode(mode, running, persona(api="chat"), "Hi", **tools)
    assert paths(server) == ["responses", *["chat/completions"] * 4]


@in_modes
def test_auto_runs_a_tool_loop(mode: str) -> None:
    answers = says(thought(1), call("look_up", {"word": "a"})), "a!"
    with serving(*answers, api="auto") as (running, server):
        assert in_mode(mode, running, WHO, "Hi", tools=[look_up]).text == "a!"
    assert paths(server) == ["responses", "responses"]


def missing(body: Any = b'{"detail": "Not Found"}', status: int = 404) -> Reply:
    return Reply(body if isinstance(body, bytes) else json.dumps(body).encode(), status)


NO_PATH = [
    missing(),
    missing(status=405),
    missing(b"<html>404 Not Found</html>"),
    missing(b""),
    missing({"error": {"message": "Invalid URL (POST /v1/responses)", "code": None}}),
    missing({"error": {"code": "404", "message": "Resource not found"}}),
    missing({"error": {"code": 404, "message": "File Not Found", "type": "not_found_error"}}),
]


@in_modes
@pytest.mark.parametrize("reply", NO_PATH)
def test_without_a_responses_api_auto_is_chat_from_then_on(
    mode: str, reply: Reply, capsys: pytest.CaptureFixture[str]
) -> None:
    seeded = persona(parameters={"seed": 7})
    with serving(reply, "Hello!", "Bye!", api="auto", model="gpt-5.9") as (running, server):
        assert in_mode(mode, running, seeded, "Hi", tools=[look_up]).text == "Hello!"
        assert in_mode(mode, running, WHO, "Hi", tools=[look_up]).text == "Bye!"
        assert running.prepare(WHO, "Hi", tools=[look_up]).api == "auto"
    assert paths(server) == ["responses", "chat/completions", "chat/completions"]
    # What only the other API lacks is not left out here.
    assert server.requests[1].body["seed"] == 7
    lines = [line for line in capsys.readouterr().err.splitlines() if "has no Responses" in line]
    assert lines == [
        f"personakit: {server.base_url} has no Responses API, so chat completions are used; "
        f"`api: chat` saves the attempt"
    ]


ABOUT = [
    {"error": {"message": "The model `gpt-5.4` does not exist", "code": "model_not_found"}},
    {"error": {"code": "DeploymentNotFound", "message": "The API deployment does not exist."}},
    {"error": {"message": "Item with id 'rs_1' not found."}},
]


@in_modes
@pytest.mark.parametrize("body", ABOUT)
def test_an_error_about_the_model_is_that_error(mode: str, body: Any) -> None:
    with serving(missing(body), api="auto") as (running, server), pytest.raises(ModelNotFound):
        in_mode(mode, running, WHO, "Hi", tools=[look_up])
    assert paths(server) == ["responses"]


@in_modes
@pytest.mark.parametrize(
    ("second", "kind", "match"),
    [
        # A server without either path has another fault: the first error stays.
        (missing(), ModelNotFound, "check that the server has the Responses API"),
        (missing(b'{"error": "No tools."}', 400), BadRequest, "No tools"),
        (missing(b"{}", 429), RateLimited, "429"),
    ],
)
def test_a_fallback_that_fails_is_not_remembered(
    mode: str, second: Reply, kind: type[BackendError], match: str
) -> None:
    class Once:
        @hookimpl
        def chat(self, request: Request) -> Request:
            return request.replace(max_retries=0)

    answers = missing(), second, "Hello!"
    with serving(*answers, api="auto", plugins=[Once()]) as (running, server):
        with pytest.raises(kind, match=match) as caught:
            in_mode(mode, running, WHO, "Hi", tools=[look_up])
        assert in_mode(mode, running, WHO, "Hi", tools=[look_up]).text == "Hello!"
    assert type(caught.value) is kind
    assert paths(server) == ["responses", "chat/completions", "responses"]


@in_modes
@pytest.mark.parametrize(("api", "own"), [("responses", "auto"), ("auto", "responses")])
def test_a_chosen_api_is_the_only_one(mode: str, api: str, own: str) -> None:
    with (
        serving(missing(), "Hello!", api=api) as (running, server),
        pytest.raises(ModelNotFound, match=r"has the Responses API, or write `api: chat`"),
    ):
        in_mode(mode, running, persona(api=own), "Hi", tools=[look_up])
    assert paths(server) == ["responses"]


# --- what is shown -------------------------------------------------------------------------------


def test_a_prepared_request_has_the_api_that_would_be_used(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with serving(api="auto", model="gpt-5.8") as (running, server):
        assert running.prepare(WHO, "Hi").api == "auto"
        seeded = persona(parameters={"seed": 7, "max_tokens": 20})
        prepared = running.prepare(seeded, "Hi", tools=[look_up])
        assert prepared.api == "responses"
        assert dict(prepared.parameters) == {"max_completion_tokens": 20}
        with pytest.raises(ConfigError, match="no parameter 'stop'"):
            running.prepare(persona(api="responses"), "Hi", parameters={"stop": "x"})
    assert server.requests == []
    assert "seed is left out" in capsys.readouterr().err


@pytest.mark.parametrize("api", ["auto", "responses"])
def test_a_prepared_request_can_be_run(api: str) -> None:
    with serving(api=api) as (running, server):
        prepared = running.prepare(persona(api="responses"), "Hi")
        assert running.run(WHO, prepared).text == "Hello!"
    assert paths(server) == ["responses"]


def test_the_config_of_the_server_is_for_both() -> None:
    with Server(["Hello!"]) as server, Runner(config(server, "auto")) as running:
        for api in ("chat", "responses"):
            answer = running.run(persona(api=api), "Hi")
            assert (answer.text, answer.usage and answer.usage.total_tokens) == ("Hello!", 11)
