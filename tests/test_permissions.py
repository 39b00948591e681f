"""What a persona file cannot do unless the user allows it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from personakit import (
    Config,
    ConfigError,
    PersonaError,
    PersonakitError,
    Registry,
    Request,
    Response,
    Runner,
    Tool,
    ToolCall,
    hookimpl,
)
from personakit.suite import Case, Suite
from personakit.testing import Upstream, persona, runner


def search(words: str) -> str:
    """Search the web."""
    return f"found {words}"


def add(a: int, b: int) -> int:
    """Add."""
    return a + b


class Tools:
    """Contributes two tools, one of which touches the network."""

    @staticmethod
    @hookimpl
    def setup(registry: Registry) -> None:
        registry.tool(search, touches=["network"])
        registry.tool(add)


CALLS = Response("", tool_calls=(ToolCall("c1", "search", '{"words": "x"}'),))


def test_a_tool_that_touches_something_needs_the_users_permission() -> None:
    who = persona(tools=["search", "add"])
    running, upstream = runner(plugins=[Tools])
    with pytest.raises(ConfigError, match=r"'search' \(network\).*allow_tools: \[sea"):
        running.run(who, "Hi")
    with pytest.raises(ConfigError, match="search"):
        running.prepare(who, "Hi")
    assert upstream.requests == []
    assert running.run(persona(tools=["add"]), "Hi").text == "Hello!"


@pytest.mark.parametrize("patterns", [["search"], ["sea*"], ["*"]])
def test_patterns_allow_tools(patterns: list[str]) -> None:
    running, upstream = runner([CALLS, "done"], plugins=[Tools], allow_tools=patterns)
    assert running.run(persona(tools=["search", "add"]), "Hi").text == "done"
    assert upstream.requests[1].messages[-1].text == "found x"


def test_a_caller_allows_its_own_tools() -> None:
    running, upstream = runner([CALLS, "done"])
    mine = Tool.of(search, touches=["network", "money"])
    assert running.run(persona(), "Hi", tools=[mine]).text == "done"
    assert upstream.requests[1].messages[-1].text == "found x"


def test_tools_that_a_plugin_adds_need_permission_too() -> None:
    class Adds:
        @hookimpl
        def chat(self, request: Request) -> Request:
            return request.with_tools(Tool.of(search, touches=["network"]))

    running, upstream = runner(plugins=[Adds()])
    with pytest.raises(ConfigError, match="search"):
        running.run(persona(), "Hi")
    assert upstream.requests == []
    running, _ = runner(plugins=[Adds()], allow_tools=["search"])
    assert running.run(persona(), "Hi").text == "Hello!"


def test_what_a_tool_touches_is_one_of_four() -> None:
    with pytest.raises(ConfigError, match=r"touches must be some of files, network, .*'disk'"):
        Tool.of(search, touches=["disk"])
    assert Tool.of(search, touches=["money", "files"]).touches == ("files", "money")


class Models:
    """Contributes a provider whose models may be files."""

    @staticmethod
    @hookimpl
    def setup(registry: Registry) -> None:
        registry.provider(
            "models", base_url="http://127.0.0.1:9/v1", names_file=lambda model: model != "own"
        )


PATHS = ["models//etc/x.gguf", "models/./x.gguf", "models/~/x", "models/../x.gguf"]


@pytest.mark.parametrize("model", PATHS)
def test_a_persona_cannot_name_the_file_of_a_model(model: str) -> None:
    running, upstream = runner(plugins=[Models])
    who = persona(model=model)
    wanted = (
        r"test.yaml:1:\d+: model: .* is the path of a file; a persona may .*; use `-m '?models/"
    )
    with pytest.raises(PersonaError, match=wanted):
        running.run(who, "Hi")
    assert upstream.requests == []
    running.run(who, "Hi", model=model)
    assert upstream.requests[-1].model == model
    assert running.run(persona(model="models/own"), "Hi").text == "Hello!"
    mine = Runner(Config(model=model, path=()), plugins=[Models], backend=upstream)
    mine.run(persona(), "Hi")
    assert upstream.requests[-1].model == model


JUDGE = {"name": "judge", "system": "{{ rubric }}", "variables": {"rubric": ""}}


def failures(folder: Path, **test: Any) -> str:
    """Return the failures of a persona's test, with answers from a fake model."""
    tests = [{"name": "t", "prompt": "Hi", "expect": {"contains": ["Hi"]}, **test}]
    file = folder / "pack" / "ann.yaml"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps({"name": "ann", "system": "x", "tests": tests}))
    backend = Upstream(["Hi!", "PASS"])
    with Suite(Config(model="test/m", path=()), record="all", backend=backend) as suite:
        (case,) = suite.collect([str(file)])
        assert isinstance(case, Case)
        return "\n".join(failure.message for failure in suite.run(case).failures)


@pytest.mark.parametrize("name", ["../judge.yaml", "/etc/judge.yaml", "~/j.yaml"])
def test_a_test_cannot_name_a_judge_outside_of_its_folder(name: str, tmp_path: Path) -> None:
    (tmp_path / "judge.yaml").write_text(json.dumps(JUDGE))
    message = failures(tmp_path, expect={"judge": {"rubric": "polite", "persona": name}})
    assert "a persona may name a persona by its name, or a file in the folder" in message


def test_a_judge_may_stand_beside_the_persona(tmp_path: Path) -> None:
    (tmp_path / "pack" / "judges").mkdir(parents=True)
    (tmp_path / "pack" / "judges" / "judge.yaml").write_text(json.dumps(JUDGE))
    judge = {"rubric": "polite", "persona": "judges/judge.yaml"}
    assert not failures(tmp_path, expect={"judge": judge})


@pytest.mark.parametrize(
    "test",
    [
        {"model": "local//etc/x.gguf"},
        {"expect": {"judge": {"rubric": "polite", "model": "local/x.gguf"}}},
    ],
)
def test_a_test_cannot_name_the_file_of_a_model(test: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("personakit_local")
    assert "is the path of a file" in failures(tmp_path, **test)


def test_a_judge_cannot_name_the_file_of_a_model(tmp_path: Path) -> None:
    pytest.importorskip("personakit_local")
    (tmp_path / "pack").mkdir()
    judge = json.dumps({**JUDGE, "model": "local//etc/x.gguf"})
    (tmp_path / "pack" / "judge.yaml").write_text(judge)
    message = failures(tmp_path, expect={"judge": {"rubric": "x", "persona": "./judge.yaml"}})
    assert "is the path of a file" in message


def test_recordings_are_not_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "pack").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "pack" / "recordings").symlink_to(tmp_path / "elsewhere")
    assert "is a link out of" in failures(tmp_path)
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize("name", [".config/personakit/keys.json", "state/personakit/x.md"])
def test_a_template_cannot_include_the_users_private_files(name: str, tmp_path: Path) -> None:
    file = tmp_path / name
    file.parent.mkdir(parents=True)
    file.write_text("sk-secret")
    (tmp_path / "thief.yaml").write_text(f"system: \"{{% include '{name}' %}}\"\n")
    environ = {"HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path / "state")}
    running = Runner(Config(path=(), environ=environ))
    with pytest.raises(PersonakitError, match="include is not allowed") as raised:
        running.render(tmp_path / "thief.yaml")
    assert "secret" not in str(raised.value)


def test_a_persona_from_a_stream_is_in_no_folder(tmp_path: Path) -> None:
    (tmp_path / "thief.yaml").write_text("name: thief\nsystem: '{% include \"null\" %}'\n")
    with (tmp_path / "thief.yaml").open("rb") as file:
        path = f"/dev/fd/{file.fileno()}"
        running, _ = runner()
        found = running.load(path)
        assert found.document.folder is None
        with pytest.raises(PersonakitError, match="no file 'null' to include"):
            running.render(found)
