"""The runner: what goes into a request, what a run gives, and the runs that send nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import personakit
from personakit import (
    Blocked,
    Config,
    ConfigError,
    Endpoint,
    Message,
    PersonaNotFound,
    Registry,
    Request,
    Response,
    Runner,
    Send,
    ToolCall,
    UsageError,
    VariableError,
    hookimpl,
)
from personakit.testing import MODES, Server, Upstream, in_mode, persona, runner

in_modes = pytest.mark.parametrize("mode", MODES)
CHEF = persona(
    "You cook for {{ guests }}.",
    variables={"guests": 2},
    parameters={"temperature": 0.9},
    messages=[{"user": "Hi"}, {"assistant": "Hello"}],
)


def plugin(chat: Callable[..., Any], name: str = "it") -> Any:
    return SimpleNamespace(__name__=name, chat=hookimpl(chat))


# --- the request -------------------------------------------------------------------------------


def test_a_request_is_the_rendered_persona_and_the_prompt() -> None:
    request = runner()[0].render(CHEF, "Soup?", variables={"guests": 3})
    assert request == Request(
        "test/model",
        (
            Message("system", "You cook for 3."),
            Message("user", "Hi"),
            Message("assistant", "Hello"),
            Message("user", "Soup?"),
        ),
        {"temperature": 0.9},
        "test",
        {"guests": 3},
        defaults=frozenset({"temperature"}),
    )
    assert runner()[0].render(CHEF, parameters={"temperature": 1}).defaults == frozenset()
    assert len(runner()[0].render(CHEF).messages) == 3


def test_call_over_persona_over_config() -> None:
    config = Config(
        model="test/config",
        path=(),
        parameters={"temperature": 0.1, "top_p": 0.2, "max_tokens": 3},
    )
    running = Runner(config, backend=Upstream())
    who = persona(model="test/persona", parameters={"temperature": 0.4, "top_p": 0.5})
    assert running.render(persona()).model == "test/config"
    assert running.render(who).model == "test/persona"
    request = running.render(who, model="test/call", parameters={"temperature": 0.7})
    assert request.model == "test/call"
    assert request.parameters == {"temperature": 0.7, "top_p": 0.5, "max_tokens": 3}


@in_modes
def test_every_way_of_running_takes_the_same_options(mode: str) -> None:
    running, upstream = runner()
    options: Any = {"variables": {"guests": 7}, "model": "test/other", "parameters": {"top_p": 0.5}}
    if mode == "run":
        running.run(CHEF, "Soup?", **options)
    elif mode == "arun":
        asyncio.run(running.arun(CHEF, "Soup?", **options))
    elif mode == "stream":
        list(running.stream(CHEF, "Soup?", **options))
    else:
        asyncio.run(read(running.astream(CHEF, "Soup?", **options)))
    assert upstream.requests == [running.render(CHEF, "Soup?", **options)]
    assert upstream.requests == [running.prepare(CHEF, "Soup?", **options)]


async def read(stream: Any) -> list[str]:
    return [piece async for piece in stream]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"variables": {"guest": 1}}, VariableError),
        ({"variables": {"guests": "many"}}, VariableError),
        ({"parameters": {"temprature": 1}}, UsageError),
        ({"parameters": {"stream": True}}, UsageError),
    ],
)
@in_modes
def test_what_is_wrong_is_said_before_anything_is_sent(
    mode: str, options: Any, error: type[Exception]
) -> None:
    running, upstream = runner()
    run = getattr(running, mode)
    with pytest.raises(error):
        # A stream fails where it is made, not where it is read.
        asyncio.run(run(CHEF, **options)) if mode == "arun" else run(CHEF, **options)
    assert upstream.requests == []


def test_a_persona_is_given_by_name_path_or_value(tmp_path: Path) -> None:
    (tmp_path / "chef.yaml").write_text("system: You cook.")
    running = Runner(Config(model="test/x", path=()), path=[tmp_path], backend=Upstream())
    for who in ("chef", tmp_path / "chef.yaml", str(tmp_path / "chef.yaml"), running.load("chef")):
        assert running.run(who).text == "Hello!"
    with pytest.raises(PersonaNotFound, match="did you mean 'chef'"):
        running.run("cheff")


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "chef.yaml"
    running = Runner(Config(model="test/x", path=(tmp_path,)), backend=Upstream())
    for text in ("You cook.", "You bake all day."):
        file.write_text(f"system: {text}")
        assert running.render("chef").system == text


class Embedded:
    @staticmethod
    @hookimpl
    def setup(registry: Registry) -> None:
        registry.provider("local", connect=connect, default_model="tiny")


def connect(model: str) -> Endpoint:
    return Endpoint("http://127.0.0.1:1/v1", None, model)


def test_without_a_model_the_embedded_one_runs(
    install: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    install(embedded=Embedded)
    config = Config(path=(), select=frozenset(["embedded"]))
    running = Runner(config, backend=(upstream := Upstream()))
    assert running.render(persona()).model == ""
    running.run(persona())
    running.run(persona())
    assert [request.model for request in upstream.requests] == ["local/tiny"] * 2
    assert capsys.readouterr().err.count("using the embedded local/tiny") == 1
    without = Runner(Config(path=(), select=frozenset()), backend=Upstream())
    with pytest.raises(ConfigError, match="no model is chosen"):
        without.run(persona())


# --- the response ------------------------------------------------------------------------------


@in_modes
def test_a_response_carries_the_request_as_it_was_sent(mode: str) -> None:
    def german(request: Request) -> Request:
        return request.with_system("In German.")

    running, upstream = runner(plugins=[plugin(german)])
    response = in_mode(mode, running, CHEF, "Soup?")
    assert response.request == upstream.requests[0]
    assert response.request is not None
    assert response.request.system.endswith("In German.")


@in_modes
def test_an_answer_of_a_plugin_carries_the_rendered_request(mode: str) -> None:
    running, upstream = runner(plugins=[plugin(lambda: Response("cached"))])
    response = in_mode(mode, running, CHEF, "Soup?")
    assert response.request == running.render(CHEF, "Soup?")
    assert upstream.requests == []


class SaysAllAtOnce:
    """A backend that cannot stream."""

    async def send(self, request: Request, emit: Any = None) -> Response:
        return Response("Hello!")


@in_modes
def test_a_backend_that_cannot_stream_serves_streams_too(mode: str) -> None:
    running = Runner(Config(model="test/x", path=()), backend=SaysAllAtOnce())
    assert in_mode(mode, running, persona()).text == "Hello!"


# --- prepare -----------------------------------------------------------------------------------


async def retries(request: Request, send: Send) -> Response:
    for _ in range(3):
        try:
            return await send(request.with_system("tried"))
        except Exception:
            await personakit.sleep(0)
    raise AssertionError


async def sends_two(request: Request, send: Send) -> Response:
    first, second = send(request.with_system("one")), send(request.with_system("two"))
    await first
    return await second


async def flows(request: Request, send: Send) -> Response:
    return await send.live(request.with_system("live"), filter=None)


@pytest.mark.parametrize(
    ("chat", "system"),
    [
        (lambda request: request.with_system("changed"), "changed"),
        (retries, "tried"),
        (sends_two, "one"),
        (flows, "live"),
        (lambda: Response("cached"), "You are a test."),
    ],
)
def test_prepare_shows_the_request_and_sends_nothing(
    chat: Callable[..., Any], system: str, recwarn: pytest.WarningsRecorder
) -> None:
    running, upstream = runner(plugins=[plugin(retries), plugin(chat)])
    assert running.prepare(persona()).system.split("\n")[-1] == system
    assert upstream.requests == []
    assert not recwarn.list


def test_prepare_needs_neither_key_nor_server() -> None:
    running = Runner(Config(model="openai/x", path=(), environ={}))
    assert running.prepare(persona(), "Hi!").model == "openai/x"


def test_prepare_fails_as_the_run_would() -> None:
    def guard() -> None:
        raise Blocked("not here")

    with pytest.raises(Blocked):
        runner(plugins=[plugin(guard)])[0].prepare(persona())


# --- tools -------------------------------------------------------------------------------------


class Tools:
    @staticmethod
    @hookimpl
    def setup(registry: Registry) -> None:
        for tool in (greet, search, breaks, waits, refuses):
            registry.tool(tool)


def greet(name: str) -> str:
    return f"Hello {name}!"


async def search(words: list[str]) -> dict[str, Any]:
    await personakit.sleep(0)
    return {"found": words}


def breaks() -> None:
    raise ValueError("broken")


async def waits() -> str:
    await asyncio.sleep(0)
    return "waited"


def refuses() -> None:
    raise Blocked("not for you")


def test_a_tool_is_called_with_its_arguments(install: Callable[..., None]) -> None:
    install(tools=Tools)
    running, _ = runner()
    call = ToolCall("c1", "greet", '{"name": "Ann"}')
    assert running.call_tool(persona(), call).content == "Hello Ann!"
    result = running.call_tool(persona(), ToolCall("c2", "search", '{"words": ["é"]}'))
    assert (result.call_id, json.loads(result.content)) == ("c2", {"found": ["é"]})


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("breaks", "{}", "error: ValueError: broken"),
        ("greet", "{}", "error: the arguments are wrong: name: Field required"),
        ("greet", '{"name": 1}', "name: Input should be a valid string"),
        ("greet", '{"name": "x", "more": 1}', "more: Extra inputs are not permitted"),
        ("greet", '{"nam', "error: the arguments are not valid JSON"),
        ("greet", "[]", "error: the arguments are not a JSON object"),
        ("nothing", "{}", "error: there is no tool 'nothing'"),
    ],
)
def test_a_tool_call_that_fails_is_a_result_for_the_model(
    name: str, arguments: str, message: str, install: Callable[..., None]
) -> None:
    install(tools=Tools)
    result = runner()[0].call_tool(persona(), ToolCall("1", name, arguments))
    assert result.is_error
    assert message in result.content


def test_a_tool_may_refuse_or_wait(install: Callable[..., None]) -> None:
    install(tools=Tools)
    running, _ = runner()
    with pytest.raises(Blocked, match="not for you"):
        running.call_tool(persona(), ToolCall("1", "refuses"))
    assert running.call_tool(persona(), ToolCall("1", "waits")).content == "waited"


# --- the shared runner -------------------------------------------------------------------------


def test_the_functions_of_the_package_use_one_runner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ann.yaml").write_text("system: You are Ann.")
    with Server() as server:
        environ = {"PERSONAKIT_PATH": str(tmp_path), "PERSONAKIT_MODEL": "openai/x"}
        for name, value in {**server.environ(), **environ, "PERSONAKIT_PLUGINS": ""}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
        personakit.runner.default_runner.cache_clear()
        assert personakit.load("ann").name == "ann"
        assert personakit.render("ann", "Hi!") == personakit.prepare("ann", "Hi!")
        assert personakit.run("ann").text == "Hello!"
        assert asyncio.run(personakit.arun("ann")).text == "Hello!"
        assert "".join(personakit.stream("ann")) == "Hello!"
        assert asyncio.run(read(personakit.astream("ann"))) == ["Hello!"]
        assert len(server.requests) == 4
        personakit.runner.default_runner().close()
        personakit.runner.default_runner.cache_clear()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"varialbes": {}}, "unknown option 'varialbes'; did you mean 'variables'?"),
        (
            {"temperature": 1},
            r"unknown option 'temperature' \(known: variables, model, .* belong in parameters=",
        ),
        ({"max_rounds": 0}, "max_rounds must be an integer above 0, found 0"),
        ({"max_rounds": 1.5}, "max_rounds must be an integer above 0, found 1.5"),
        ({"timeout": -1}, "timeout must be a number of seconds above 0, found -1"),
        ({"deadline": 0}, "deadline must be a number of seconds above 0, found 0"),
        ({"deadline": float("nan")}, "deadline must be a number of seconds above 0, found nan"),
        ({"deadline": "5"}, "deadline must be a number of seconds above 0, found '5'"),
        ({"deadline": True}, "deadline must be a number of seconds above 0, found True"),
        ({"timeout": float("inf")}, "timeout must be a number of seconds above 0, found inf"),
    ],
)
def test_an_option_that_is_wrong_is_told_before_anything_is_sent(
    options: dict[str, Any], said: str
) -> None:
    running, upstream = runner(["never"])
    for start in (running.run, running.stream, running.prepare):
        with pytest.raises(UsageError, match=said):
            start(persona("x"), "Hi", **options)
    assert not upstream.requests


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"trace": 3}, "trace must be a Trace, found int"),
        ({"conversation": 3}, "conversation must be a string, found int"),
        ({"model": 3}, "model must be a string, found int"),
        ({"parameters": 3}, "parameters must be a mapping of names to values, found int"),
    ],
)
def test_an_option_of_a_wrong_type(options: dict[str, Any], message: str) -> None:
    running, upstream = runner(["never"])
    for start in (running.run, running.stream, running.prepare):
        with pytest.raises(UsageError, match=message):
            start(persona("x"), "Hi", **options)
    assert not upstream.requests


@pytest.mark.parametrize("reference", [42, None, b"chef", ["chef"]])
def test_a_reference_of_a_wrong_type(reference: Any) -> None:
    running, _ = runner(["never"])
    message = f"a persona must be a name, .* found {type(reference).__name__}"
    for start in (running.run, running.load, running.render, running.prepare, running.conversation):
        with pytest.raises(UsageError, match=message):
            start(reference)
    with pytest.raises(UsageError, match=message):
        asyncio.run(running.arun(reference))
    asyncio.run(running.warm())
    with pytest.raises(UsageError, match=message):
        asyncio.run(running.arun(reference))


def test_variables_are_a_mapping() -> None:
    running, _ = runner(["never"])
    message = "variables must be a mapping of names to values, found list"
    with pytest.raises(UsageError, match=message):
        running.run(persona("x"), "Hi", variables=["a"])  # type: ignore[call-overload]


def test_a_backend_can_send() -> None:
    with pytest.raises(UsageError, match=r"a backend must define `async def send.*found int"):
        Runner(Config(), backend=5)  # type: ignore[arg-type]


def test_an_option_that_is_none_is_left_to_the_default() -> None:
    running, _ = runner(["Hi."])
    options: dict[str, Any] = {"timeout": None, "deadline": None, "max_rounds": None}
    assert running.run(persona("x"), "Hi", **options).text == "Hi."


@in_modes
def test_a_variable_among_the_options_is_told_where_it_belongs(mode: str) -> None:
    running, upstream = runner(["never"])
    with pytest.raises(UsageError, match=r'\'guests\': it is .* variables=\{"guests": 3\}$'):
        in_mode(mode, running, CHEF, "Hi", guests=3)
    setup: dict[str, Any] = {"guests": 3}
    with pytest.raises(UsageError, match=r'variables=\{"guests": 3\}$'):
        running.conversation(CHEF, **setup)
    assert not upstream.requests


def test_a_missing_folder_of_the_runner_is_named() -> None:
    message = r"in .*; the folder nodir does not exist; `runner\.library\.names\(\)` shows"
    with pytest.raises(PersonaNotFound, match=message):
        Runner(Config(), path=["nodir"]).run("zzzzzz", "Hi")


def test_an_option_of_a_conversation_that_is_unknown_is_told() -> None:
    running, _ = runner([])
    setup: dict[str, Any] = {"variable": {}}
    with pytest.raises(UsageError, match="unknown option 'variable'; did you mean 'variables'"):
        running.conversation(persona("x"), **setup)
    for name in ("variables", "parameters"):
        setup = {name: 3}
        with pytest.raises(UsageError, match=f"{name} must be a mapping .* found int"):
            running.conversation(persona("x"), **setup)


@pytest.mark.parametrize("prompt", [["Hi"], [{"role": "user", "content": "Hi"}], 5, b"Hi"])
def test_a_prompt_that_is_no_text_is_told(prompt: Any) -> None:
    running, _ = runner([])
    message = f"the prompt must be a string, found {type(prompt).__name__};"
    with pytest.raises(UsageError, match=message):
        running.run(persona("x"), prompt)


def test_one_folder_or_plugin_that_is_no_list_is_told() -> None:
    message = r"path must be a list, found 'personas'; write path=\[…\]"
    with pytest.raises(UsageError, match=message):
        Runner(Config(), path="personas")
    with pytest.raises(UsageError, match="plugins must be a list, found 'cache'"):
        Runner(Config(), plugins="cache")


def test_the_timeout_of_a_request_goes_before_that_of_the_config() -> None:
    using = Runner(Config(model="test/x", path=(), timeout=5), backend=Upstream())
    request = using.render(persona(), "Hi!").replace(timeout=33)
    found = [
        using.run(persona(), request).request,
        using.run(persona(), "Hi!").request,
        using.run(persona(), request, timeout=7).request,
        using.run(persona(), request, timeout=None).request,
    ]
    assert [sent.timeout for sent in found if sent is not None] == [33, 5, 7, 33]
