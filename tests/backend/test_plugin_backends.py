"""Backends that plugins bring: when they are created, what they get, and how they end."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
from helpers.backend import WHO, in_modes

import personakit
from personakit import (
    Config,
    ConfigError,
    Endpoint,
    PluginError,
    Provider,
    Registry,
    Response,
    Runner,
    Timeout,
    UpstreamUnavailable,
    hookimpl,
)
from personakit.backend import list_models
from personakit.testing import MODES, in_mode

KEY = "sk-1234567890"


class Echo:
    """Repeats the last message; counts what happens to it."""

    made: ClassVar[list[Endpoint]] = []
    closed: ClassVar[list[str]] = []

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        Echo.made.append(endpoint)

    async def send(self, request: Any, emit: Any = None) -> Response:
        return Response(request.messages[-1].text, finish_reason="stop")

    def close(self) -> None:
        Echo.closed.append("close")


class Plugin:
    @staticmethod
    @hookimpl
    def setup(registry: Registry) -> None:
        registry.provider("echo", backend=Echo, key_env="ECHO_KEY", key_required=False)


@pytest.fixture(autouse=True)
def fresh() -> None:
    Echo.made, Echo.closed = [], []


def config(folder: Path, text: str = "", **environ: str) -> Config:
    file = folder / "config.yaml"
    file.write_text(f"model: echo/small\nlog: off\n{text}", "utf-8")
    return Config.read({"PERSONAKIT_CONFIG": str(file), "HOME": str(folder), **environ})


def running(backend: Callable[[Endpoint], Any], **fields: Any) -> Runner:
    provider = Provider("mine", backend=backend, **fields)
    return Runner(Config(model="mine/small", path=(), providers={"mine": provider}), log=False)


def test_a_backend_is_created_once_for_each_endpoint(tmp_path: Path) -> None:
    with Runner(config(tmp_path), plugins=[Plugin]) as runner:
        for mode in MODES:
            assert in_mode(mode, runner, WHO, "Hi!").text == "Hi!"
        assert in_mode("run", runner, WHO, "Hi!", model="echo/large").text == "Hi!"
    assert Echo.made == [Endpoint("", None, "small"), Endpoint("", None, "large")]


@pytest.mark.parametrize(
    ("text", "environ", "endpoint"),
    [
        ("", {"ECHO_KEY": KEY}, Endpoint("", KEY, "small")),
        (f"providers: {{echo: {{api_key: {KEY}}}}}", {}, Endpoint("", KEY, "small")),
        ("providers: {echo: {key_env: MY}}", {"MY": KEY}, Endpoint("", KEY, "small")),
        (
            "providers: {echo: {base_url: 'grpc://[::1]:80', api_key: 'literal:a:b'}}",
            {},
            Endpoint("grpc://[::1]:80", "a:b", "small"),
        ),
        ("providers: {echo: {default_model: x}}\nmodel: echo/", {}, Endpoint("", None, "x")),
    ],
    ids=["environment", "config", "variable", "address", "model"],
)
def test_its_key_and_address_are_found_as_for_every_provider(
    tmp_path: Path,
    install: Callable[..., None],
    text: str,
    environ: dict[str, str],
    endpoint: Endpoint,
) -> None:
    install(echo=Plugin)
    text, _, model = text.partition("\nmodel: ")
    with Runner(config(tmp_path, text, **environ)) as runner:
        runner.run(WHO, "Hi!", model=model or None)
    assert Echo.made == [endpoint]


def test_a_stored_key_is_found(tmp_path: Path) -> None:
    settings = config(tmp_path)
    assert settings.keys_file is not None
    settings.keys_file.parent.mkdir(parents=True)
    settings.keys_file.write_text(f'{{"echo": "{KEY}"}}', "utf-8")
    settings.keys_file.chmod(0o600)
    with Runner(settings, plugins=[Plugin]) as runner:
        runner.run(WHO, "Hi!")
    assert Echo.made == [Endpoint("", KEY, "small")]


def test_a_provider_of_the_config_file_without_an_address_or_a_plugin(tmp_path: Path) -> None:
    settings = config(tmp_path, "providers: {work: {key_env: X}}", X=KEY)
    with Runner(settings) as runner, pytest.raises(ConfigError) as raised:
        runner.run(WHO, "Hi!", model="work/x")
    assert "provider 'work': base_url must be an address" in str(raised.value)
    assert f"not set in {settings.file}, and no installed plugin provides it" in str(raised.value)


def test_a_key_that_is_required_and_missing() -> None:
    with pytest.raises(ConfigError, match="no key for provider 'mine': set MY_KEY"):
        running(Echo, key_env="MY_KEY").run(WHO, "Hi!")
    assert Echo.made == []


def test_a_function_that_connects_gives_the_endpoint() -> None:
    endpoint = Endpoint("grpc://here", None, "big", max_tokens=5)
    runner = running(Echo, connect=lambda _: endpoint)
    assert runner.run(WHO, "Hi!").text == "Hi!"
    assert Echo.made == [endpoint]


def test_its_models_are_not_asked_for_over_http(tmp_path: Path) -> None:
    runner = Runner(config(tmp_path, ECHO_KEY=KEY), plugins=[Plugin])
    provider = runner.router.provider("echo")
    [listed] = list_models(runner.router, [provider])
    assert (listed.models, listed.has_key, listed.fault) == (None, True, "")
    [listed] = list_models(runner.router, [dataclasses.replace(provider, default_model="x")])
    assert [model.name for model in listed.models or ()] == ["x"]
    required = dataclasses.replace(provider, key_env="NO_KEY", key_required=True)
    assert list_models(runner.router, [required])[0].has_key is False


def test_features_of_the_provider_hold() -> None:
    def look() -> str:
        """Look."""
        return ""

    with pytest.raises(ConfigError, match="'mine' does not support tools"):
        running(Echo, tools=False).run(WHO, "Hi!", tools=[look])


def test_it_must_be_a_function_or_a_class() -> None:
    with pytest.raises(ConfigError, match="backend must be a function or a class, found <"):
        Registry("x").provider("echo", backend=object())  # type: ignore[arg-type]


class OneArgument(Echo):
    async def send(self, request: Any) -> Response:  # type: ignore[override]
        return Response("Hi!", finish_reason="stop")


class Mistaken(Echo):
    async def send(self, request: Any, emit: Any = None) -> Response:
        return Response(request + 1, finish_reason="stop")


@pytest.mark.parametrize("mode", MODES)
def test_a_send_that_takes_other_arguments_breaks_the_contract(mode: str) -> None:
    with (
        running(OneArgument) as runner,
        pytest.raises(PluginError, match=r"but 3 were given; write `async def send\(self, "),
    ):
        in_mode(mode, runner, WHO, "Hi!")
    with running(Mistaken) as runner, pytest.raises(UpstreamUnavailable, match="TypeError"):
        in_mode(mode, runner, WHO, "Hi!")


# --- the factory ----------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_a_factory_that_fails_is_called_again(mode: str) -> None:
    failures: list[Exception] = [
        OSError(f"cannot read {KEY}"),
        ConfigError("install torch"),
        StopIteration(),
    ]

    def factory(endpoint: Endpoint) -> Echo:
        if failures:
            raise failures.pop(0)
        return Echo(endpoint)

    runner = running(factory, api_key=KEY)
    with pytest.raises(UpstreamUnavailable) as raised:
        in_mode(mode, runner, WHO, "Hi!")
    assert str(raised.value).startswith("mine/small: OSError: cannot read ***; ")
    with pytest.raises(ConfigError, match="install torch"):
        in_mode(mode, runner, WHO, "Hi!")
    with pytest.raises(UpstreamUnavailable, match="StopIteration"):
        in_mode(mode, runner, WHO, "Hi!")
    assert in_mode(mode, runner, WHO, "Hi!").text == "Hi!"


def test_a_slow_factory_does_not_block_the_event_loop_and_runs_once() -> None:
    release = threading.Event()

    def factory(endpoint: Endpoint) -> Echo:
        assert release.wait(60)
        return Echo(endpoint)

    async def both() -> list[str]:
        runner = running(factory)
        tasks = [asyncio.create_task(runner.arun(WHO, f"{n}")) for n in range(100)]
        await asyncio.sleep(0.02)
        tasks[0].cancel()  # the first one, which called the factory
        await asyncio.sleep(0)
        release.set()
        return [response.text for response in await asyncio.gather(*tasks[1:])]

    assert asyncio.run(both()) == [f"{n}" for n in range(1, 100)]
    assert len(Echo.made) == 1


@pytest.mark.parametrize("mode", ["arun", "astream"])
def test_a_run_ends_at_its_deadline_while_the_factory_works(mode: str) -> None:
    release = threading.Event()
    runner = running(lambda endpoint: release.wait(60) and Echo(endpoint))
    with pytest.raises(Timeout, match=r"was not ready within the run's deadline of 0\.05 s"):
        in_mode(mode, runner, WHO, "Hi!", deadline=0.05)
    release.set()
    assert in_mode(mode, runner, WHO, "Hi!").text == "Hi!"
    assert len(Echo.made) == 1


def test_threads_share_a_backend() -> None:
    def factory(endpoint: Endpoint) -> Echo:
        time.sleep(0.02)
        return Echo(endpoint)

    runner, texts = running(factory), []
    threads = [
        threading.Thread(target=lambda n=n: texts.append(runner.run(WHO, f"{n}").text))
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(texts) == [f"{n}" for n in range(8)]
    assert len(Echo.made) == 1


# --- its end --------------------------------------------------------------------------------------


def test_a_runner_closes_its_backends_and_may_be_used_again() -> None:
    with running(Echo) as runner:
        runner.run(WHO, "Hi!")
    assert Echo.closed == ["close"]
    assert runner.run(WHO, "Hi!").text == "Hi!"
    assert len(Echo.made) == 2
    runner.close()
    runner.close()
    assert Echo.closed == ["close"] * 2


def test_an_async_runner_calls_aclose_or_close_in_a_thread() -> None:
    class Async(Echo):
        async def aclose(self) -> None:
            Echo.closed.append("aclose")

    async def use(backend: Any) -> None:
        async with running(backend) as runner:
            await runner.arun(WHO, "Hi!")

    asyncio.run(use(Async))
    asyncio.run(use(Echo))
    assert Echo.closed == ["aclose", "close"]


def test_a_backend_without_close_and_one_whose_close_fails(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Fails(Echo):
        def close(self) -> None:
            raise OSError("gone")

    class Async(Echo):
        async def close(self) -> None:  # type: ignore[override]
            ...

    for backend, message in ((Fails, r"Fails'> failed in close()"), (Async, "name it aclose()")):
        with running(backend) as runner:
            runner.run(WHO, "Hi!")
        assert message in caplog.text

    class Plain:
        send = Echo.send

    with running(lambda _: Plain()) as runner:
        runner.run(WHO, "Hi!")


def test_the_backend_of_a_runner_is_not_closed_and_goes_first() -> None:
    mine = Echo(Endpoint("", None, ""))
    provider = Provider("mine", backend=lambda _: None)
    settings = Config(model="mine/small", path=(), providers={"mine": provider})
    with Runner(settings, backend=mine, log=False) as runner:
        assert runner.run(WHO, "Hi!").text == "Hi!"
    assert Echo.closed == []


# --- plugins around it ----------------------------------------------------------------------------


@in_modes
def test_a_plugin_outside_sees_a_backend_error_and_tries_again(mode: str) -> None:
    class Fails:
        calls = 0

        async def send(self, request: Any, emit: Any) -> Response:
            self.calls += 1
            if emit is not None:
                await emit("Hel")
            if self.calls == 1:
                raise OSError("gone")
            return Response("Hello", finish_reason="stop")

    seen: list[personakit.BackendError] = []

    class Again:
        @hookimpl
        async def chat(self, request: Any, send: Any) -> Response:
            try:
                return await send(request)  # type: ignore[no-any-return]
            except personakit.BackendError as error:
                seen.append(error)
                return await send(request)  # type: ignore[no-any-return]

    provider = Provider("mine", backend=lambda _: fails)
    settings = Config(model="mine/small", path=(), providers={"mine": provider})
    fails = Fails()
    runner = Runner(settings, plugins=[Again()], log=False)
    assert in_mode(mode, runner, WHO, "Hi!").text == "Hello"
    assert isinstance(seen[0].__cause__, OSError)
    assert seen[0].attempts == 1


@in_modes
def test_tools_run_in_a_loop(mode: str) -> None:
    class Calls:
        async def send(self, request: Any, emit: Any) -> Response:
            if request.messages[-1].role == "tool":
                return Response(request.messages[-1].text, finish_reason="stop")
            call = personakit.ToolCall("1", request.tools[0].name, '{"guests": 3}')
            return Response("", (call,), finish_reason="tool_calls", reasoning="Hm.", items=({},))

    def cook(guests: int) -> str:
        """Cook."""
        return f"soup for {guests}"

    response = in_mode(mode, running(lambda _: Calls()), WHO, "Hi!", tools=[cook])
    assert response.text == "soup for 3"
    assert response.messages[0].items == ({},)


def test_the_plugin_is_named_in_an_error(install: Callable[..., None], tmp_path: Path) -> None:
    install(echo=Named)
    with (
        Runner(config(tmp_path)) as runner,
        pytest.raises(PluginError, match=r"backend of provider 'echo' of plugin 'echo'") as raised,
    ):
        runner.run(WHO, "Hi!")
    assert raised.value.plugin == "echo"


class Named:
    @staticmethod
    @hookimpl
    def setup(registry: Registry) -> None:
        registry.provider("echo", backend=lambda _: "no backend")
