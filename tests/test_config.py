"""The config file and the environment: what they say, and that nothing else is read."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.persona import system_of

from personakit import Config, ConfigError, Endpoint, PersonaError, Provider, Runner
from personakit.persona import PluginUse
from personakit.providers import BUILT_IN, DEFAULT, split_model
from personakit.testing import Upstream, persona


def read(folder: Path, content: str | None = None, **environ: str) -> Config:
    """Return the config of a user whose config folder is below `folder`."""
    if content is not None:
        (folder / "personakit").mkdir(exist_ok=True)
        (folder / "personakit" / "config.yaml").write_text(content, "utf-8")
    return Config.read({"XDG_CONFIG_HOME": str(folder), **environ})


def faults(folder: Path, content: str) -> list[str]:
    """Return what is wrong with a config file, as `line:column: message`."""
    with pytest.raises(ConfigError) as caught:
        read(folder, content)
    place = f"{folder / 'personakit' / 'config.yaml'}:"
    lines = str(caught.value).splitlines()
    assert all(line.startswith(place) for line in lines)
    return [line.removeprefix(place) for line in lines]


def test_without_a_file_there_are_defaults(tmp_path: Path) -> None:
    found = read(tmp_path)
    assert (found.model, found.parameters, found.plugins) == (None, {}, ())
    assert (found.providers, found.select, found.file) == (BUILT_IN, None, "")
    assert found.path == (Path("personas"), tmp_path / "personakit" / "personas")


def test_every_key(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        """\
model: work/small
path: [~/prompts, /srv/personas]
parameters: {temperature: 0.3}
plugins: [redact, retry: {attempts: 2}]
providers:
  work:
    base_url: https://llm.example.com/v1
    key_env: WORK_API_KEY
    headers: {X-Team: a}
    tools: false
  ollama: {base_url: "http://gpu:11434/v1"}
""",
        HOME="/home/florent",
    )
    assert found.model == "work/small"
    assert found.path[1:] == (
        tmp_path / "personakit" / "personas",
        Path("~/prompts").expanduser(),
        Path("/srv/personas"),
    )
    assert found.parameters == {"temperature": 0.3}
    assert found.plugins == (PluginUse("redact"), PluginUse("retry", {"attempts": 2}))
    assert found.file == str(tmp_path / "personakit" / "config.yaml")
    assert found.providers["work"] == Provider(
        "work",
        "https://llm.example.com/v1",
        key_env="WORK_API_KEY",
        headers=(("X-Team", "a"),),
        tools=False,
    )
    assert found.providers["openai"] == BUILT_IN["openai"]
    changed = dataclasses.replace(BUILT_IN["ollama"], base_url="http://gpu:11434/v1")
    assert found.providers["ollama"] == changed


@pytest.mark.parametrize("content", ["", "# nothing\n", "model:\npath:\nproviders:\n"])
def test_a_file_that_says_nothing(tmp_path: Path, content: str) -> None:
    found = read(tmp_path, content)
    assert (found.model, found.providers, found.plugins) == (None, BUILT_IN, ())
    assert found.file == str(tmp_path / "personakit" / "config.yaml")


@pytest.mark.parametrize("content", ["model: a/b", "path: [x]"])
def test_the_file_is_known_whatever_it_says(tmp_path: Path, content: str) -> None:
    assert read(tmp_path, content).file == str(tmp_path / "personakit" / "config.yaml")


WRONG = [
    ("modle: x", "1:1: unknown key 'modle'; did you mean 'model'?"),
    ("zzz: x", "1:1: unknown key 'zzz' (known: model, path, parameters, plugins, allow_plugins, "),
    ("- a", "1:1: a config file must be a mapping"),
    ("model: 5", "1:8: model: expected a string, found an integer 5; quote it"),
    ("model: [a]", "1:8: model: expected a string, found a list ['a']"),
    ("path: x", "1:7: path: expected a list, found a string 'x'"),
    ("path: [1]", "1:8: path: expected a string, found an integer 1; quote it"),
    ("path: [~nobody-at-all/x]", "1:8: path: ~nobody-at-all/x: there is no such user"),
    ("parameters: [1]", "1:13: parameters: expected a mapping, found a list [1]"),
    ("parameters:\n  tempreature: 1", "2:3: unknown parameter 'tempreature'; did you mean 'temp"),
    (
        "parameters: {temperature: 3}",
        "1:27: parameter 'temperature': expected a number from 0 to 2, found 3",
    ),
    ("parameters: {api_key: x}", "1:14: parameter 'api_key' is not allowed in a persona"),
    ("plugins: x", "1:10: plugins: expected a list, found a string 'x'"),
    ("providers: [a]", "1:12: providers: expected a mapping, found a list ['a']"),
    ("providers: {work: x}", "1:19: provider 'work': expected a mapping with `base_url`"),
    ("providers: {work: {}}", "1:19: provider 'work' has no `base_url`"),
    ("providers: {Work: {base_url: https://x.y}}", "1:13: invalid provider name 'Work': use a-z,"),
    ("providers: {a/b: {base_url: https://x.y}}", "1:13: invalid provider name 'a/b'"),
    ("providers: {w: {base_urls: x, base_url: https://x.y}}", "1:17: unknown key 'base_urls'; did"),
    ("providers: {w: {base_url: x.y/v1}}", "1:27: base_url: expected a URL such as https:"),
    ("providers: {openai: {base_url: }}", "1:32: base_url: expected a string"),
    ("providers: {openai: {tools: no}}", "1:29: tools: expected true or false"),
    ("providers: {openai: {key_required: 1}}", "1:36: key_required: expected true or false"),
    ("providers: {openai: {embed_batch: -1}}", "1:35: embed_batch: expected an integer of 0 or"),
    ("providers: {openai: {embed_batch: x}}", "1:35: embed_batch: expected an integer of 0 or"),
    ("providers: {openai: {embed_batch: true}}", "1:35: embed_batch: expected an integer of 0"),
    ("providers: {openai: {headers: [a]}}", "1:31: headers: expected a mapping of strings"),
    ("providers: {openai: {headers: {a: 1}}}", "1:31: headers: expected a mapping of strings"),
    ("providers: {openai: {name: x}}", "1:22: unknown key 'name'"),
    ("providers: {openai: {connect: x}}", "1:22: unknown key 'connect'"),
    ("model: a: b", '1:9: found a second ": " on this line'),
    ("model: a\nmodel: b", "2:1: duplicate key 'model'; line 1 sets it first"),
    ("providers: &x {}", "1:12: found the anchor &x"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "fault"), WRONG)
def test_a_mistake_is_named_with_its_place(tmp_path: Path, content: str, fault: str) -> None:
    (found,) = faults(tmp_path, content)
    assert found.startswith(fault)


def test_every_mistake_is_named_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    content = "zzz: 1\nproviders:\n  w: {}\n  openai: {tools: 1}\npath: x\nmodel: 1\nyyy: 2"
    assert [line.split(": ")[0] for line in faults(tmp_path, content)] == [
        "1:1", "3:6", "4:19", "5:7", "6:8", "7:1",
    ]  # fmt: skip
    assert len(faults(tmp_path, "".join(f"k{n}: 1\n" for n in range(500)))) == 100


# --- the environment ----------------------------------------------------------------------------


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    path = os.pathsep.join(["/one", "", "~/two"])
    found = read(
        tmp_path,
        "model: file/m\npath: [/three]",
        PERSONAKIT_MODEL="env/m",
        PERSONAKIT_PATH=path,
        PERSONAKIT_PLUGINS="a, b,,c",
    )
    assert found.model == "env/m"
    assert found.path == (
        Path("personas"),
        Path("/one"),
        Path("~/two").expanduser(),
        tmp_path / "personakit" / "personas",
        Path("/three"),
    )
    assert found.select == frozenset("abc")
    assert read(tmp_path, PERSONAKIT_MODEL="").model == "file/m"


@pytest.mark.parametrize(("value", "select"), [("", set()), (" ", set()), ("a", {"a"})])
def test_the_plugins_that_may_be_loaded(tmp_path: Path, value: str, select: set[str]) -> None:
    assert read(tmp_path, PERSONAKIT_PLUGINS=value).select == frozenset(select)
    assert read(tmp_path).select is None


def test_the_environment_names_another_file(tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text("model: other/m")
    found = read(tmp_path, "model: file/m", PERSONAKIT_CONFIG=str(other))
    assert (found.model, found.file) == ("other/m", str(other))
    assert read(tmp_path, PERSONAKIT_CONFIG="").model == "file/m"
    missing = str(tmp_path / "none.yaml")
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, PERSONAKIT_CONFIG=missing)
    assert str(caught.value) == (
        f"{missing}: cannot be read: No such file or directory; PERSONAKIT_CONFIG names this file"
    )
    with pytest.raises(ConfigError, match="there is no such user"):
        read(tmp_path, PERSONAKIT_CONFIG="~nobody-at-all/x.yaml")
    with pytest.raises(ConfigError, match="there is no such user"):
        read(tmp_path, PERSONAKIT_PATH="~nobody-at-all/x")


def test_a_config_file_that_is_a_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "personakit" / "config.yaml").mkdir(parents=True)
    with pytest.raises(ConfigError, match=r"config\.yaml: cannot be read: it is a folder"):
        read(tmp_path)


def test_home_has_the_config_where_nothing_says_otherwise(tmp_path: Path) -> None:
    folder = tmp_path / ".config" / "personakit"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("model: home/m")
    for environ in ({}, {"XDG_CONFIG_HOME": ""}, {"XDG_CONFIG_HOME": "  "}):
        assert Config.read({"HOME": str(tmp_path), **environ}).model == "home/m"


def test_no_file_of_the_current_folder_is_read(tmp_path: Path) -> None:
    for name in ("config.yaml", "personakit.yaml", ".personakit.yaml", ".env", "pyproject.toml"):
        (tmp_path / name).write_text("model: evil/m\nOPENAI_BASE_URL=http://evil\n")
    (tmp_path / "personakit").mkdir()
    (tmp_path / "personakit" / "config.yaml").write_text("model: evil/m")
    code = "from personakit import Config; found = Config.read(); print(found.model, found.file)"
    env = {"XDG_CONFIG_HOME": str(tmp_path / "none"), "PATH": os.environ["PATH"]}
    env |= {name: value for name, value in os.environ.items() if name.startswith("COV")}
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=tmp_path, env=env, check=True, capture_output=True
    )
    assert done.stdout == b"None \n"


def test_the_environment_of_the_process_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERSONAKIT_MODEL", "env/m")
    found = Config.read()
    assert found.model == "env/m"
    monkeypatch.setenv("SOME_KEY", "later")
    assert found.environ["SOME_KEY"] == "later"


# --- what a runner makes of it ------------------------------------------------------------------


def test_the_config_is_the_last_word_but_the_defaults(tmp_path: Path) -> None:
    upstream = Upstream()
    config = read(tmp_path, "model: file/m\nparameters: {seed: 1, top_p: 0.5}")
    running = Runner(config, backend=upstream)
    running.run(persona())
    running.run(persona(model="persona/m", parameters={"seed": 2}))
    running.run(persona(model="persona/m"), model="call/m", parameters={"seed": 3})
    assert [(r.model, r.parameters) for r in upstream.requests] == [
        ("file/m", {"seed": 1, "top_p": 0.5}),
        ("persona/m", {"seed": 2, "top_p": 0.5}),
        ("call/m", {"seed": 3, "top_p": 0.5}),
    ]


def test_an_own_provider_is_used(tmp_path: Path) -> None:
    content = "providers: {work: {base_url: https://x.y/v1, key_env: WORK_KEY}}"
    config = read(tmp_path, content, WORK_KEY="secret")
    router = Runner(config).router
    provider, model = router.find_model("work/big/model")
    assert router.endpoint(provider, model) == Endpoint("https://x.y/v1", "secret", "big/model")
    without = Runner(read(tmp_path)).router
    with pytest.raises(ConfigError, match="no key for provider 'work': set WORK_KEY"):
        without.endpoint(without.provider("work"), "m")


@pytest.mark.parametrize("name", ["ollama", "llamacpp", "vllm", "lmstudio"])
def test_a_provider_that_needs_no_key_needs_none_elsewhere(tmp_path: Path, name: str) -> None:
    router = Runner(read(tmp_path, f"providers: {{{name}: {{base_url: http://gpu:1/v1}}}}")).router
    found = router.endpoint(router.provider(name), "m")
    assert found == Endpoint("http://gpu:1/v1", None, "m")


def test_a_folder_of_the_config_is_searched(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "own.yaml").write_text("system: hi")
    assert system_of(Runner(read(tmp_path, f"path: ['{folder}']")).load("own")) == "hi"
    assert Runner(read(tmp_path, "", PERSONAKIT_PATH=str(folder))).load("own").name == "own"


@pytest.mark.parametrize(
    "content",
    [
        "providers: {w: {base_url: https://x.y, api_key: hunter2}}",
        "providers: {w: {base_url: https://x.y, headers: {Authorization: hunter2}}}",
        "providers: {w: {base_url: 'https://me:hunter2@x.y?k=hunter2', api_key: k}}",
    ],
)
def test_no_secret_is_shown(tmp_path: Path, content: str) -> None:
    config = read(tmp_path, content, OPENAI_API_KEY="hunter2")
    shown = f"{config!r} {config} {config.providers!r} {config.providers['w']!r}"
    endpoint = Runner(config).router.endpoint(config.providers["w"], "m")
    assert "hunter2" not in shown + repr(endpoint) + str(endpoint)


@pytest.mark.parametrize(
    "key", ["{api_key: 77777777}", "{headers: {Authorization: 77777777}}", "77777777"]
)
def test_no_secret_is_shown_in_an_error(tmp_path: Path, key: str) -> None:
    (found,) = faults(tmp_path, f"providers: {{openai: {key}}}")
    assert "77777777" not in found


# --- providers ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_built_in_provider(name: str) -> None:
    found = BUILT_IN[name]
    assert found.name == name
    assert found.base_url.startswith(("https://", "http://localhost:")) or found.base_url_env
    assert found.key_env or not found.key_required
    assert not found.api_key


@pytest.mark.parametrize(
    ("model", "parts"),
    [
        ("openai/gpt-5-mini", ("openai", "gpt-5-mini")),
        ("gpt-5-mini", (DEFAULT, "gpt-5-mini")),
        ("openrouter/meta/llama:free", ("openrouter", "meta/llama:free")),
        ("ollama/", ("ollama", "")),
    ],
)
def test_a_model_has_a_provider(model: str, parts: tuple[str, str]) -> None:
    assert split_model(model) == parts


def test_a_broken_config_is_no_persona_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, "model: [")
    assert not isinstance(caught.value, PersonaError)
    assert caught.value.exit_code == 2
