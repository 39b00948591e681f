"""`personakit models` and `personakit models alias`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from personakit.cli import group
from personakit.errors import PersonakitError
from personakit.runner import default_runner
from personakit.testing import Reply, Server

KEY = "sk-canary-5d0e"
Call = Callable[..., Result]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Call]:
    """Call a command in this process, as a user without any set-up."""
    for name in ("OLLAMA", "LMSTUDIO", "VLLM", "LLAMACPP"):
        # No server of the machine takes part.
        monkeypatch.setenv(f"{name}_BASE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PERSONAKIT_PLUGINS", "")
    for name in ("OPENAI_API_KEY", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "PERSONAKIT_CONFIG"):
        monkeypatch.delenv(name, raising=False)

    def call(*args: str, **environ: str) -> Result:
        default_runner.cache_clear()
        result = CliRunner().invoke(group, args, env=environ, standalone_mode=False)
        if result.exception and not isinstance(result.exception, PersonakitError):
            raise result.exception
        assert KEY not in result.output
        return result

    yield call
    default_runner.cache_clear()


def table(text: str) -> dict[str, list[str]]:
    rows = (line.split("\t") for line in text.splitlines())
    return {name: cells for name, *cells in rows}


def test_without_a_key_it_shows_the_providers_and_how_to_add_one(call: Call) -> None:
    result = call("models")
    assert result.stdout == ""
    rows = table(result.stderr)
    assert rows["openai"] == ["set OPENAI_API_KEY", "not listed"]
    assert rows["ollama"] == ["not needed", "not listed"]
    assert "ollama: the models at http://127.0.0.1:9/v1: " in result.stderr
    assert "`personakit keys set PROVIDER` stores a key" in result.stderr


def test_the_models_of_a_provider_with_their_prices(call: Call) -> None:
    with Server(models=["gpt-5-mini", "mystery"]) as server:
        environ = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": server.base_url}
        call("models", "alias", "fast", "openai/gpt-5-mini")
        result = call("models", "openai", **environ)
        assert table(result.stdout) == {
            "openai/gpt-5-mini": ["0.25", "2.00", "400,000", "alias fast"],
            "openai/mystery": ["unknown", "unknown", "unknown", ""],
        }
        assert result.stderr == ""
        found = call("models", "FAST", "gpt-5-mini", **environ)
        assert list(table(found.stdout)) == ["openai/gpt-5-mini"]
        rows = table(call("models", **environ).stderr)
        assert rows["openai"] == ["yes", "2"]
        data = json.loads(call("models", "openai", "--json", **environ).stdout)
    assert data == {
        "providers": [
            {"provider": "openai", "key": True, "key_env": "OPENAI_API_KEY", "models": 2,
             "listed": None, "running": True, "error": None}
        ],
        "models": [
            {"model": "openai/gpt-5-mini", "input_price": 0.25, "output_price": 2.0,
             "tiered": False, "context": 400_000, "aliases": ["fast"], "listed": True},
            {"model": "openai/mystery", "input_price": None, "output_price": None,
             "tiered": False, "context": None, "aliases": [], "listed": True},
        ],
        "aliases": {"fast": "openai/gpt-5-mini"},
    }  # fmt: skip


def test_known_models_of_a_provider_without_a_key(call: Call) -> None:
    result = call("models", "anthropic")
    rows = table(result.stdout)
    assert rows["anthropic/claude-sonnet-4-5"] == ["3.00+", "15.00+", "200,000", "no key"]
    assert "set ANTHROPIC_API_KEY, or `personakit keys set anthropic`" in result.stderr
    assert "known price" in result.stderr


def test_a_text_that_no_model_contains(call: Call) -> None:
    result = call("models", "opnai")
    assert result.stdout == ""
    assert "no model contains 'opnai'; did you mean 'openai'?" in result.stderr
    both = call("models", "zzzz", "mini")
    assert "'zzzz' and 'mini'; `personakit models` lists all" in both.stderr


def test_an_error_of_one_provider_is_one_line(call: Call) -> None:
    body = f'{{"error": {{"message": "wrong key {KEY}"}}}}'.encode()
    with Server(models=Reply(body, 401)) as server:
        environ = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": server.base_url}
        result = call("models", "openai", **environ)
    assert result.exit_code == 0
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"openai: not listed; the models at {server.base_url}: status 401: ")
    assert "wrong key ***" in line


def test_an_alias_is_set_shown_changed_and_removed(call: Call, tmp_path: Path) -> None:
    assert "adds one" in call("models", "alias").stderr
    assert call("models", "alias", "fast", "gpt-5-mini").stdout == (
        "fast stands for openai/gpt-5-mini\n"
    )
    assert call("models", "alias", "deep", "ollama/qwen3:32b").exit_code == 0
    assert call("models", "alias").stdout == "deep\tollama/qwen3:32b\nfast\topenai/gpt-5-mini\n"
    assert call("models", "alias", "fast").stdout == "openai/gpt-5-mini\n"
    changed = call("models", "alias", "fast", "groq/llama")
    assert changed.stdout == "fast stands for groq/llama (it was openai/gpt-5-mini)\n"
    assert call("models", "alias", "quick", "fast").stdout == "quick stands for groq/llama\n"
    removed = call("models", "alias", "fast", "--remove")
    assert removed.stdout == "removed the alias fast (it was groq/llama)\n"
    data: dict[str, Any] = json.loads(call("models", "alias", "--json").stdout)
    assert data == {"deep": "ollama/qwen3:32b", "quick": "groq/llama"}
    file = tmp_path / ".config" / "personakit" / "aliases.json"
    assert json.loads(file.read_text()) == data
    assert file.stat().st_mode & 0o777 == 0o600
    shown = call("render", "chef", "Hi", "-v", "guests=2", "-m", "quick")
    assert shown.stdout.splitlines()[-1].startswith("--- groq/llama (")


def test_the_default_model_is_the_last_choice(call: Call, tmp_path: Path) -> None:
    def used(*args: str, **environ: str) -> str:
        shown = call("render", "chef", "Hi", "-v", "guests=2", *args, **environ).stdout
        return shown.splitlines()[-1].split()[1]

    assert "`personakit models default openai/gpt-5-mini` sets one" in (
        call("models", "default").stderr
    )
    done = call("models", "default", "gpt-5-mini")
    assert done.stdout.startswith("default stands for openai/gpt-5-mini\nit is used where neither")
    assert done.stderr == ""
    assert call("models", "default").stdout == "openai/gpt-5-mini\n"
    assert used() == "openai/gpt-5-mini"
    assert used("-m", "groq/x") == "groq/x"
    environ = {"PERSONAKIT_MODEL": "groq/y"}
    assert used(**environ) == "groq/y"
    done = call("models", "default", "groq/z", **environ)
    assert done.stderr == "note: PERSONAKIT_MODEL sets groq/y, which takes precedence\n"
    config = tmp_path / "config.yaml"
    config.write_text("model: groq/w\n")
    done = call("models", "default", PERSONAKIT_CONFIG=str(config))
    assert done.stdout == "groq/w\n"
    assert done.stderr == f"note: {config} sets groq/w, which takes precedence\n"
    assert "it was groq/z" in call("models", "default", "--remove").stdout
    assert call("models", "default").stdout == ""
    assert "no alias 'default'" in str(call("models", "default", "--remove").exception)


OTHERS = {
    "alias remove f": "`models alias remove` is no command; use personakit models alias NAME --rem",
    "alias rm f": "use personakit models alias NAME --remove",
    "alias set f openai/x": "use personakit models alias NAME MODEL",
    "alias list": "use personakit models alias",
    "alias a openai/x more": "expected an alias and a model, found 3 arguments",
    "options set gpt-4o temperature 0": "use -p NAME=VALUE for a run, or `parameters:` in",
    "aliases": "use personakit models alias",
    "set gpt-4o": "use personakit models default MODEL",
    "default x --remove": "--remove expects no model",
}


@pytest.mark.parametrize("line", OTHERS)
def test_commands_of_other_tools_name_the_right_one(line: str, call: Call, tmp_path: Path) -> None:
    assert OTHERS[line] in str(call("models", *line.split()).exception)
    assert not (tmp_path / ".config").exists()


WRONG = {
    ("openai", "groq/x"): "'openai' is the name of a provider, so it cannot be an alias",
    ("local", "groq/x"): "'local' is the name of a provider",
    ("a/b", "groq/x"): "invalid alias 'a/b': use letters",
    ("a", "a"): "'a' cannot stand for itself",
    ("a", "opnai/x"): "unknown provider 'opnai'; did you mean 'openai'?",
    ("a", "openai"): "'openai' is the name of a provider, not a model; write openai/model",
    ("a", "openai/"): "'openai/' has no model name after the provider",
    ("a", "--remove"): "no alias 'a'; `personakit models alias` lists them",
    ("a",): "no alias 'a'",
    ("--remove",): "--remove expects the alias alone",
    ("a", "openai/x", "--remove"): "--remove expects the alias alone",
}


@pytest.mark.parametrize("args", WRONG)
def test_a_wrong_alias_is_refused(args: tuple[str, ...], call: Call, tmp_path: Path) -> None:
    result = call("models", "alias", *args)
    assert WRONG[args] in str(result.exception)
    assert not (tmp_path / ".config").exists()
