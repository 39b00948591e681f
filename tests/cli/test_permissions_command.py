"""`-T`, and what `show`, `run` and `plugins` say about the abilities of a persona."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import plugin

Terminal = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def web(tmp_path: Path) -> dict[str, str]:
    """An installed plugin with the tool, for `terminal`."""
    return {"PYTHONPATH": plugin.install(tmp_path / "site"), "PERSONAKIT_PLUGINS": "web,rag"}


def write(folder: Path, **keys: object) -> str:
    file = folder / "ann.yaml"
    file.write_text(json.dumps({"name": "ann", "system": "You help."} | keys))
    return file.name


def test_t_allows_a_tool_for_one_run(
    tmp_path: Path, terminal: Terminal, web: dict[str, str]
) -> None:
    ann = write(tmp_path, tools=["search"], model="openai/m")
    refused = terminal("run", ann, "Hi", "--dry-run", **web)
    assert refused.returncode == 2
    assert "-T search" in refused.stderr
    assert terminal("run", ann, "Hi", "--dry-run", "-T", "sea*", **web).returncode == 0
    config = tmp_path / "config" / "personakit" / "config.yaml"
    config.parent.mkdir(parents=True)
    config.write_text("allow_tools: [search]\n")
    assert terminal("run", ann, "Hi", "--dry-run", **web).returncode == 0
    listed = terminal("plugins", **web)
    assert "tool:search (network)" in listed.stdout
    assert "allow_plugins: all; allow_tools: search" in listed.stderr
    config.write_text("plugin_options: {rga: {folder: x}}\n")
    assert "no plugin 'rga' is installed; did you mean 'rag'?" in terminal("plugins", **web).stderr


def test_show_says_what_a_persona_can_use(
    tmp_path: Path, terminal: Terminal, web: dict[str, str]
) -> None:
    (tmp_path / "notes").mkdir()
    plugins = [{"rag": {"folder": "notes"}}]
    ann = write(tmp_path, tools=["search"], model="openai/m", plugins=plugins)
    shown = json.loads(terminal("show", ann, "--json", **web).stdout)["can_use"]
    assert shown == {
        "model": "openai/m",
        "plugins": "rag",
        "tools": "search (network; not allowed)",
        "files": f"{tmp_path / 'notes'} (rag)",
        "sends": "about 3 tokens of its own, what you type, and what its plugins add; up to 10 "
        "calls of the model with tools",
    }
    (tmp_path / "tone.md").write_text("Be kind.")
    write(tmp_path, system="{% include 'tone.md' %}")
    included = json.loads(terminal("show", ann, "--json", **web).stdout)["can_use"]["files"]
    assert included == "tone.md (included)"
    write(tmp_path, tools=["search"], model="openai/m", plugins=plugins)
    lines = terminal("show", ann, **web).stdout
    assert "\ncan use\n  model       openai/m\n  plugins     rag\n" in lines


def test_run_says_once_what_a_file_from_elsewhere_uses(
    tmp_path: Path, terminal: Terminal, web: dict[str, str]
) -> None:
    ann = write(tmp_path, plugins=["web"], model="openai/m")
    said = "ann.yaml is not in your library, and uses plugins: web (said once"
    assert said in terminal("run", ann, "Hi", "--dry-run", **web).stderr
    assert terminal("run", ann, "Hi", "--dry-run", **web).stderr == ""
    write(tmp_path, model="openai/m", tools=["search"])
    again = terminal("run", ann, "Hi", "--dry-run", "-T", "search", **web).stderr
    assert "uses tools: search (network) (said" in again
    library = tmp_path / "personas"
    library.mkdir()
    write(library, model="openai/m", tools=["search"])
    assert terminal("run", "ann", "Hi", "--dry-run", "-T", "search", **web).stderr == ""
    write(tmp_path)
    assert terminal("run", ann, "Hi", "--dry-run", "-m", "openai/m", **web).stderr == ""
