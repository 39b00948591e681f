"""`personakit plugins`: the list, one plugin, and a new one whose tests pass as they are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from personakit.authoring import write_plugin

Terminal = Callable[..., subprocess.CompletedProcess[str]]


def test_the_list_says_the_options(terminal: Terminal) -> None:
    env = {"PERSONAKIT_PLUGINS": "redact,local"}
    lines = terminal("plugins", **env).stdout.splitlines()
    assert [line.split("\t")[0] for line in lines] == ["local", "redact"]
    assert 'region="US", restore=true' in lines[1]
    rows: list[dict[str, Any]] = json.loads(terminal("plugins", "--json", **env).stdout)
    assert rows[1]["options"]["entities"]["default"] == ["email", "phone", "card", "iban"]
    assert rows[1]["options"]["region"]["required"] is False
    assert rows[0]["provides"] == ["provider:local"]


def test_one_plugin(terminal: Terminal) -> None:
    env = {"PERSONAKIT_PLUGINS": "redact"}
    shown = terminal("plugins", "show", "redact", **env).stdout
    assert "redact  personakit-redact 0.1.0" in shown
    assert "hooks: chat" in shown
    assert 'region\tstring\t"US"\tThe ISO 3166 code' in shown
    assert 'plugins:\n  - redact:\n      entities: ["email", "phone", "card", "iban"]' in shown
    wrong = terminal("plugins", "show", "redac", **env)
    assert wrong.returncode == 2
    assert "no plugin 'redac' is installed; did you mean 'redact'?" in wrong.stderr


def test_an_option_that_is_a_mapping(terminal: Terminal, tmp_path: Path) -> None:
    env = {"PERSONAKIT_PLUGINS": "guard"}
    shown = terminal("plugins", "show", "guard", **env).stdout
    assert "output.deny\tlist of string" in shown
    assert "Attributes:" not in shown
    example = shown.partition("In a persona:\n\n")[2]
    assert "output:" in example
    (tmp_path / "who.yaml").write_text(f"system: You.\n{example}", "utf-8")
    done = terminal("run", "who.yaml", "x", "-m", "openai/x", "--dry-run", **env)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("shwo", "unknown command 'shwo'; did you mean 'show'?"),
        ("zzz", "unknown command 'zzz'; `personakit plugins --help` lists them"),
    ],
)
def test_a_command_that_is_none(word: str, said: str, terminal: Terminal) -> None:
    done = terminal("plugins", word)
    assert done.returncode == 2
    assert said in done.stderr


@pytest.mark.parametrize("name", ["shout", "two-words_here", "a1"])
def test_a_new_plugin_passes_its_tests(name: str, terminal: Terminal, tmp_path: Path) -> None:
    done = terminal("plugins", "new", name)
    assert done.returncode == 0, done.stderr
    package = tmp_path / f"personakit-{name}"
    assert f"pytest personakit-{name}" in done.stdout
    # Installed as pip would leave an editable one: its folder on the path, its metadata beside it.
    info = tmp_path / f"site/personakit_{name.replace('-', '_')}-0.1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: personakit-{name}\nVersion: 0.1.0\n"
    )
    project = (package / "pyproject.toml").read_text("utf-8")
    point = project.partition("[project.entry-points.personakit]\n")[2].partition("\n\n")[0]
    (info / "entry_points.txt").write_text(f"[personakit]\n{point.replace(chr(34), '')}\n")
    env = {
        **{k: v for k, v in os.environ.items() if not k.startswith(("PERSONAKIT", "COV"))},
        "PYTHONPATH": os.pathsep.join([str(package), str(tmp_path / "site")]),
    }

    def run(*args: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", *args], cwd=package, env=env, capture_output=True, text=True,
            timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert "10 passed" in run("pytest", "-q", "-p", "no:cacheprovider", "-W", "error")
    assert "marks" in run("personakit", "plugins", "show", name)
    if name == "shout":
        assert "Success" in run("mypy", "--strict", "--cache-dir", str(tmp_path / "mypy"), ".")
        ruff = run("ruff", "check", "--isolated", "--select", "E,F,I,UP,B", "--no-cache", ".")
        assert "All checks passed" in ruff


@pytest.mark.parametrize("name", ["", "Shout", "1st", "a b", "../x", "é", "-x"])
def test_a_name_that_is_none(name: str, tmp_path: Path, terminal: Terminal) -> None:
    done = terminal("plugins", "new", "--", name)
    assert done.returncode == 2
    assert "invalid plugin name " in done.stderr
    assert "did you mean " in done.stderr
    assert [path for path in tmp_path.iterdir() if path.name.startswith("personakit-")] == []


def test_what_is_there_stays(terminal: Terminal, tmp_path: Path) -> None:
    (tmp_path / "personakit-shout").write_text("mine")
    done = terminal("plugins", "new", "shout")
    assert done.returncode == 2
    assert "personakit-shout already exists and was not changed" in done.stderr
    assert (tmp_path / "personakit-shout").read_text() == "mine"
    assert write_plugin("shout", tmp_path / "other") == tmp_path / "other"


def test_only_allowed_plugins_may_be_listed_by_a_persona(
    terminal: Terminal, tmp_path: Path
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("plugins: [redact]\nallow_plugins: [cache, retry]\n")
    (tmp_path / "who.yaml").write_text("system: You.\nplugins:\n  - redact\n")
    (tmp_path / "free.yaml").write_text("system: You.\n")
    env = {"PERSONAKIT_CONFIG": str(config), "PERSONAKIT_PLUGINS": "redact"}
    for command in ("run", "render"):
        done = terminal(command, "who.yaml", "x", "-m", "openai/x", **env)
        assert done.returncode == 2
        assert "who.yaml:3:5: plugin 'redact' may not be listed by a persona" in done.stderr
        assert "`allow_plugins` of the config file allows cache, retry" in done.stderr
    # The config's own are not a persona's to allow.
    shown = terminal("run", "free.yaml", "a@b.com", "-m", "openai/x", "--dry-run", **env)
    assert "[EMAIL-1]" in shown.stdout


def test_the_fixture_is_isolated(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        import pytest
        from personakit import PersonaError
        from personakit.testing import persona

        def test_answers(personakit_runner):
            running, upstream = personakit_runner(["hello"])
            assert running.run(persona(), "Hi!").text == "hello"
            assert running.plugins.installed() == {}
            assert running.config.environ == {} and running.config.model == "test/model"
            with pytest.raises(PersonaError, match="no plugin 'redact' is installed"):
                running.run(persona(plugins=["redact"]), "Hi!")

        def test_selected(personakit_runner):
            running, upstream = personakit_runner(["hello"], select=["redact"])
            running.run(persona(plugins=["redact"]), "I am a@b.com")
            assert upstream.requests[0].messages[-1].text == "I am [EMAIL-1]"
    """)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=2)
