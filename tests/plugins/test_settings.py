"""Secrets among the options of a plugin, settings of what `setup` contributes, and its folder."""

from __future__ import annotations

import dataclasses
import json
import stat
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest
from helpers.cli import Commands
from helpers.lint import lint

import personakit
from personakit import (
    Config,
    ConfigError,
    Persona,
    PersonaError,
    PluginError,
    Registry,
    Response,
    Runner,
    Secret,
    Trace,
    UsageError,
    UserOption,
    hookimpl,
)
from personakit.testing import Upstream, persona, runner

Install = Callable[..., None]
CANARY = "canary-5f1e7"


@dataclass(eq=False)
class Weather:
    """Uses two keys."""

    api_key: Secret
    spare: Secret | None = None
    tokens: dict[str, Secret] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.api_key.reveal() == "wrong-key":
            raise ValueError(f"the key {self.api_key.reveal()} is wrong")

    @hookimpl
    def chat(self) -> Response:
        spare = self.spare.reveal() if self.spare else "none"
        tokens = {name: one.reveal() for name, one in self.tokens.items()}
        return Response(f"{self.api_key.reveal()} {spare} {tokens}")


class Vault:
    @staticmethod
    @hookimpl
    def setup(registry: Registry) -> None:
        registry.secret("vault", lambda rest: f"of-{rest}")


@pytest.fixture
def plugins(install: Install) -> None:
    install(weather=Weather, vault=Vault, forecast=Forecast, **{"two-words": Weather})


def asked(name: str = "weather", environ: dict[str, str] | None = None, **options: Any) -> str:
    running, _ = runner(environ=environ or {}, plugin_options={name: options})
    return running.run(persona(plugins=[name])).text


@pytest.mark.usefixtures("plugins")
def test_a_secret_is_looked_up_as_a_key() -> None:
    environ = {"MINE": " k1 ", "WEATHER_API_KEY": "k2", "TWO_WORDS_API_KEY": "k3"}
    assert asked(environ=environ, api_key="env:MINE") == "k1 none {}"
    assert asked(environ=environ) == "k2 none {}"
    assert asked("two-words", environ) == "k3 none {}"
    assert asked(environ={**environ, "WEATHER_SPARE": "s"}) == "k2 s {}"
    assert asked(api_key="vault:a/b", spare="literal:a:b") == "of-a/b a:b {}"
    assert asked(api_key="plain", tokens={"a": "vault:x"}) == "plain none {'a': 'of-x'}"
    assert asked(api_key=Secret("env:is-no-scheme-here")) == "env:is-no-scheme-here none {}"


@pytest.mark.usefixtures("plugins")
def test_the_key_file(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    file.write_text(json.dumps({"weather.api_key": "stored", "weather.spare": "too"}))
    file.chmod(0o600)
    running, _ = runner(keys_file=file)
    assert running.run(persona(plugins=["weather"])).text == "stored too {}"


@pytest.mark.usefixtures("plugins")
def test_a_missing_one_is_one_error_that_names_the_ways(tmp_path: Path) -> None:
    running, _ = runner(keys_file=tmp_path / "keys.json")
    with pytest.raises(PersonaError) as caught:
        running.run(persona(plugins=["weather"]))
    (problem,) = caught.value.problems
    assert problem.message == (
        "no key for option 'api_key' of plugin 'weather': set WEATHER_API_KEY, run `personakit "
        "keys set weather.api_key` in a terminal, or write `plugin_options: {weather: {api_key: "
        f"env:…}}}}` in the config file; looked in WEATHER_API_KEY (not set), "
        f"{tmp_path}/keys.json (no such file)"
    )


@pytest.mark.usefixtures("plugins")
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("env:NOT_SET", "names the variable 'NOT_SET': it is not set"),
        ("keyring:x", "names the entry 'x' of the keyring: it is not used"),
        ("nobody:x", "uses the scheme 'nobody', which no installed plugin provides"),
        (98765, "option 'api_key': Value error, expected a string"),
        ([CANARY], "option 'api_key': Value error, expected a string"),
        ("wrong-key", "the key *** is wrong"),
    ],
)
def test_a_wrong_one_is_not_shown(given: Any, said: str) -> None:
    with pytest.raises(PersonaError) as caught:
        asked(api_key=given)
    assert said in str(caught.value)
    shown = "".join(traceback.format_exception(caught.value))
    assert not any(text in shown for text in ("98765", CANARY, "wrong-key"))
    with pytest.raises(PersonaError) as caught:
        asked(api_key="x", tokens={"a": 98765})
    assert "98765" not in str(caught.value)


@pytest.mark.usefixtures("plugins")
@pytest.mark.parametrize("option", ["api_key", "spare"])
def test_a_persona_cannot_set_one(option: str) -> None:
    running, _ = runner(environ={"WEATHER_API_KEY": "x"})
    with pytest.raises(PersonaError) as caught:
        running.run(persona(plugins=[{"weather": {option: CANARY}}]))
    assert f"option {option!r}: only the user may set it; if you trust it" in str(caught.value)
    assert CANARY not in str(caught.value)


@pytest.mark.usefixtures("plugins")
def test_it_is_shown_nowhere(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(
        f"plugin_options: {{weather: {{api_key: literal:{CANARY}}}}}\n"
        f"plugins: [weather: {{spare: literal:{CANARY}}}]\nmodel: openai/x\n"
    )
    config = Config.read({"PERSONAKIT_CONFIG": str(file), "HOME": str(tmp_path)})
    running, trace = Runner(config, backend=Upstream()), Trace()
    assert CANARY in running.run(persona(), "Hi!", trace=trace).text
    made = running.catalog.bind(persona())
    request = trace.steps[0].request
    shown = f"{running!r} {config!r} {made!r} {request!r} {running.catalog!r}"
    assert CANARY not in shown
    assert Secret(CANARY) in running.router.keys.known()  # so the run log hides it


@pytest.mark.usefixtures("plugins")
def test_lint_and_show_look_nothing_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lint({"a.yaml": "system: You.\ndescription: A.\nplugins: [weather]\n"}, plugins="weather")
    command = Commands(tmp_path)
    command.env["PERSONAKIT_PLUGINS"] = "weather"
    shown = command("plugins", "show", "weather").out
    assert "api_key\tstring" in shown
    assert "The user's: only the user may set it." in shown


@pytest.mark.usefixtures("plugins")
def test_the_command_stores_it(tmp_path: Path) -> None:
    command = Commands(tmp_path)
    command.env["PERSONAKIT_PLUGINS"] = "weather,forecast"
    done = command("keys", "set", "weather.api_key", "--file", stdin=CANARY)
    assert done.out.startswith("weather.api_key: key stored in"), done
    assert CANARY not in done.out + done.err
    # A plugin with one secret needs no name of the option.
    assert command("keys", "set", "forecast", "--file", stdin="f").out.startswith("forecast.key:")
    listed = command("keys", "list").out
    assert "weather.api_key\tfile" in listed
    assert "forecast.key\tfile" in listed
    (tmp_path / "a.yaml").write_text("system: You.\nplugins: [weather]\n")
    ran = command("run", "a.yaml", "x", "-m", "openai/x")
    assert ran.out == f"{CANARY} none {{}}\n", ran
    assert command("keys", "rm", "weather.api_key").code == 0
    wrong = command("keys", "set", "weather", stdin="x")
    assert wrong.code == 2
    assert "plugin 'weather' has several: weather.api_key, weather.spare" in wrong.err
    assert "no provider has that name" in command("keys", "set", "weather.nothing", stdin="x").err


# --- settings of what setup contributes --------------------------------------------------------


@dataclass(frozen=True)
class Settings:
    key: Secret
    units: str = "metric"
    folder: Annotated[str, UserOption("folder")] = ""


class Forecast:
    """Has a tool, a provider, and an option of its own."""

    def __init__(self, days: int = 1) -> None:
        self.days = days

    @staticmethod
    @hookimpl
    def setup(registry: Registry) -> None:
        settings = registry.options(Settings)

        def forecast(city: str) -> str:
            "Return the weather of a city."
            return f"{city} {settings.units} {settings.key.reveal()} {settings.folder}"

        class Backend:
            async def send(self, request: Any, emit: Any) -> Response:
                return Response(settings.key.reveal(), finish_reason="stop")

        registry.tool(forecast)
        registry.provider("forecast", backend=lambda endpoint: Backend())

    @hookimpl
    def chat(self, request: Any) -> Any:
        return request.with_system(f"{self.days} days")


def configured(tmp_path: Path, text: str, **environ: str) -> Runner:
    (tmp_path / "config.yaml").write_text(text)
    env = {"PERSONAKIT_CONFIG": str(tmp_path / "config.yaml"), "HOME": str(tmp_path), **environ}
    return Runner(Config.read(env))


def call(running: Runner, who: Persona) -> str:
    return str(
        running.call_tool(who, personakit.ToolCall("1", "forecast", '{"city": "Lyon"}')).content
    )


@pytest.mark.usefixtures("plugins")
def test_a_tool_and_a_provider_have_settings(tmp_path: Path) -> None:
    text = "plugin_options:\n  forecast: {units: imperial, key: env:K, folder: files, days: 3}\n"
    running = configured(tmp_path, text, K=CANARY)
    who = persona(tools=["forecast"], plugins=["forecast"])
    assert call(running, who) == f"Lyon imperial {CANARY} {tmp_path}/files"
    assert running.run(persona(), "Hi!", model="forecast/x").text == CANARY
    assert running.prepare(who, "Hi!", model="openai/x").system.endswith("3 days")
    assert Secret(CANARY) in running.router.keys.known()
    # A persona sets only the options of the class.
    with pytest.raises(PersonaError, match="has no option 'units'"):
        running.prepare(persona(plugins=[{"forecast": {"units": "x"}}]), model="openai/x")


@pytest.mark.usefixtures("plugins")
def test_the_command_shows_them(tmp_path: Path) -> None:
    command = Commands(tmp_path)
    command.env["PERSONAKIT_PLUGINS"] = "forecast"
    shown = command("plugins", "show", "forecast").out
    assert "setting\ttype\tdefault\tmeaning" not in shown  # a table without titles in a pipe
    assert "units\tstring\tmetric" in shown or 'units\tstring\t"metric"' in shown
    assert "In the config file: plugin_options: {forecast: {key, units, folder}}" in shown
    row = json.loads(command("plugins", "show", "forecast", "--json").out)
    assert list(row["settings"]) == ["key", "units", "folder"]
    assert list(row["options"]) == ["days"]


LOOKED_UP: list[str] = []


class Touches:
    """Has a tool that needs permission, and looks up its secret with a function."""

    @staticmethod
    @hookimpl
    def setup(registry: Registry) -> None:
        def look_up(rest: str) -> str:
            LOOKED_UP.append(rest)
            return rest

        registry.secret("vlt", look_up)
        settings = registry.options(Settings)
        registry.tool(lambda: settings.units, name="look", touches=["network"])


def test_a_forbidden_tool_looks_up_no_secret(install: Install, tmp_path: Path) -> None:
    install(touches=Touches)
    running = configured(tmp_path, "plugin_options:\n  touches: {key: 'vlt:x'}\n")
    with pytest.raises(ConfigError, match="may not use 'look'"):
        running.prepare(persona(tools=["look"]), "Hi!", model="openai/x")
    assert LOOKED_UP == []


@pytest.mark.usefixtures("plugins")
def test_a_missing_secret_of_a_tool_fails_before_the_run(tmp_path: Path) -> None:
    running = configured(tmp_path, "model: openai/x\n")
    with pytest.raises(ConfigError) as caught:
        running.prepare(persona(tools=["forecast"]), "Hi!")
    message = "no key for option 'key' of plugin 'forecast': set FORECAST_KEY, run"
    assert message in str(caught.value)
    with pytest.raises(UsageError, match="set FORECAST_KEY"):
        running.run(persona(), "Hi!", model="forecast/x")
    # Whoever uses neither needs no key.
    running.prepare(persona(plugins=["forecast"]), "Hi!")


@pytest.mark.usefixtures("plugins")
@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("units: 5", "config.yaml:2:21: plugin 'forecast', option 'units': Input should be"),
        ("unit: x", "config.yaml:2:14: plugin 'forecast' has no option 'unit'; did you mean"),
    ],
)
def test_an_error_of_a_setting_has_its_place(line: str, said: str, tmp_path: Path) -> None:
    text = f"plugin_options:\n  forecast: {{{line}}}\nmodel: openai/x\n"
    running = configured(tmp_path, text, FORECAST_KEY="k")
    with pytest.raises(PluginError) as caught:
        running.prepare(persona(tools=["forecast"]), "Hi!")
    assert f"{tmp_path}/{said}" in str(caught.value)


def test_a_registry_of_a_test_gives_the_defaults() -> None:
    @dataclass
    class Own:
        units: str = "metric"

    assert Registry("x").options(Own).units == "metric"


@pytest.mark.parametrize("scheme", ["literal", "env", "keyring"])
def test_the_schemes_of_personakit_are_reserved(scheme: str) -> None:
    with pytest.raises(ValueError, match="is one of personakit itself"):
        Registry("x").secret(scheme, lambda rest: rest)


def test_the_key_of_a_provider_may_name_a_variable(tmp_path: Path) -> None:
    text = "providers: {work: {base_url: 'http://x/v1', api_key: env:MINE}}\nmodel: work/x\n"
    running = configured(tmp_path, text, MINE=CANARY)
    assert running.router.endpoint(*running.router.find_model("work/x")).api_key == Secret(CANARY)


# --- the folder --------------------------------------------------------------------------------


def test_the_folder_of_a_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in ("data", "state", "cache"):
        monkeypatch.setenv(f"XDG_{kind.upper()}_HOME", str(tmp_path / kind))
        folder = personakit.data_folder("weather", kind)
        assert folder == tmp_path / kind / "personakit/weather"
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert personakit.data_folder("weather", kind) == folder
    assert personakit.data_folder("weather").is_relative_to(tmp_path / "data")


@pytest.mark.parametrize("name", ["", "../x", "/x", "a/b", "A", ".x", None])
def test_a_folder_of_another_name_is_refused(name: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected the name of a plugin"):
        personakit.data_folder(name)
    with pytest.raises(ConfigError, match="one of data, state and cache"):
        personakit.data_folder("x", "config")  # type: ignore[arg-type]


def test_a_folder_that_cannot_be_created(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "personakit").write_text("a file")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    with pytest.raises(ConfigError, match="cannot be created: Not a directory"):
        personakit.data_folder("weather")
