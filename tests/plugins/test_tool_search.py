"""The tools of plugins that a user gives by name or pattern."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from personakit import Config, ConfigError, Persona, Registry, Request, Runner, Tool, hookimpl
from personakit.plugins import ToolSearch
from personakit.testing import Upstream, persona

Install = Callable[..., None]


def git_log(count: int = 1) -> str:
    """Show commits."""
    return "x" * count


def git_diff() -> str:
    """Show changes."""
    return ""


class Git:
    @staticmethod
    @hookimpl
    def setup(registry: Registry) -> None:
        registry.tool(git_log, touches=["processes"])
        registry.tool(git_diff)


class Servers:
    """Finds its tools when asked, as the plugin of MCP servers does."""

    tools_touch: ClassVar = ("network",)
    asked: ClassVar[list[str]] = []

    def __init__(self, name: str = "read_text") -> None:
        self.name = name

    def tools(self) -> list[Tool]:
        self.asked.append(self.name)
        if self.name == "broken":
            raise OSError("the server does not start")
        return [Tool(self.name, git_diff, touches=["network"])]

    @hookimpl
    def chat(self, request: Request) -> Request:
        return request


class Adds:
    @hookimpl
    def chat(self, request: Request) -> Request:
        return request.with_tools(Tool("added", git_diff))


@pytest.fixture(autouse=True)
def plugins(install: Install) -> None:
    Servers.asked.clear()
    install("acme", git=Git, servers=Servers)


def given(who: Persona, *patterns: str, known: Any = (), added: Any = (), **config: Any) -> Any:
    running = Runner(Config(model="test/x", path=(), **config), backend=Upstream())
    search = ToolSearch(running.plugins, running.catalog.bind(who))
    return [tool.name for tool in search.given(who, patterns, known, lambda: added)]


def test_names_and_patterns_of_registered_tools() -> None:
    who = persona()
    assert given(who, "git_log") == ["git_log"]
    assert given(who, "git_*", "git_log") == ["git_log", "git_diff"]
    assert given(persona(tools=["git_diff"]), "git_*") == ["git_log"]
    # The persona's own tools and those of the caller are not given twice.
    assert given(persona(tools=["git_diff"]), "git_diff") == []
    assert given(who, "git_log", "mine", known=["git_log", "mine"]) == []
    assert Servers.asked == []


def test_plugins_that_find_their_tools_are_asked_only_if_nothing_else_matches() -> None:
    assert given(persona(), "read_text") == ["read_text"]
    assert given(persona(), "re*d_*") == ["read_text"]
    assert Servers.asked == ["read_text", "read_text"]
    options = {"servers": {"name": "mine"}}
    assert given(persona(), "mine", plugin_options=options) == ["mine"]
    assert given(persona(plugins=[{"servers": {"name": "its"}}]), "its") == ["its"]


def test_a_tool_that_a_hook_adds_is_not_given_twice() -> None:
    assert given(persona(), "added", added=["added"]) == []


def test_an_unknown_name_says_what_there_is() -> None:
    with pytest.raises(ConfigError) as error:
        given(persona(name="ann", tools=["git_diff"]), "git_lgo")
    assert str(error.value) == (
        "-T git_lgo: no tool of this name; did you mean 'git_log'? tools of ann: git_diff; "
        "installed tools: git_diff (git), git_log (git), read_text (servers)"
    )
    options = {"servers": {"name": "broken"}}
    with pytest.raises(ConfigError, match="'servers' cannot list its tools: the server does not"):
        given(persona(), "nope*", plugin_options=options)
    with pytest.raises(ConfigError, match="no installed plugin provides tools"):
        given(persona(), "git_log", select=frozenset())


def test_a_name_in_personakit_plugins_that_is_not_installed_is_said_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for _ in range(2):
        config = Config.read({"PERSONAKIT_PLUGINS": "gitt,servers", "HOME": "/"})
        Runner(config, backend=Upstream()).plugins.installed()
    message = "personakit: PERSONAKIT_PLUGINS: no plugin 'gitt' is installed; did you mean 'git'?"
    assert capsys.readouterr().err.splitlines() == [message]


def test_a_broken_plugin_is_named(install: Install) -> None:
    install("bad", worse="no_such_module")
    with pytest.raises(ConfigError, match=r"broken plugins: worse \(see `personakit plugins`\)"):
        given(persona(), "nope")
