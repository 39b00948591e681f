"""A plugin that the caller passes as an object and that a persona lists by name, too."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import click
import pytest
from personakit_approve import Approve

from personakit import PluginError, Registry, Request, ToolCall, hookimpl
from personakit.testing import MODES, in_mode, persona, runner

Install = Callable[..., None]


def look() -> str:
    return "seen"


class Many:
    """Contributes a thing of each kind."""

    def __init__(self, mark: str = "many") -> None:
        self.mark = mark

    @staticmethod
    @hookimpl
    def setup(registry: Registry) -> None:
        registry.tool(look)
        registry.provider("many", base_url="https://many.example.com/v1")
        registry.command(click.Command("many"))
        registry.template_filter("shout", str.upper)
        registry.loader("many", lambda rest: f"system: I am {rest}.")

    @hookimpl
    def chat(self, request: Request) -> Request:
        return request.with_system(self.mark)


class OfClass:
    @classmethod
    @hookimpl
    def setup(cls, registry: Registry) -> None:
        registry.tool(look)


class Own:
    """Contributes a tool of the instance."""

    @hookimpl
    def setup(self, registry: Registry) -> None:
        registry.tool(lambda: "own", name="look", description="Look.")


class Other:
    @staticmethod
    @hookimpl
    def setup(registry: Registry) -> None:
        registry.tool(look)


class OtherCommand:
    @staticmethod
    @hookimpl
    def setup(registry: Registry) -> None:
        registry.command(click.Command("many"))


class OtherProvider:
    @staticmethod
    @hookimpl
    def setup(registry: Registry) -> None:
        registry.provider("many", base_url="https://other.example.com/v1")


@pytest.mark.parametrize("mode", MODES)
def test_an_object_and_a_name_are_two_layers_of_one_plugin(mode: str, install: Install) -> None:
    install(many=Many)
    running, upstream = runner(plugins=[Many("object")])
    who = persona("{{ 'you' | shout }}", plugins=[{"many": {"mark": "listed"}}], tools=["look"])
    assert in_mode(mode, running, who, "Hi!").text == "Hello!"
    (request,) = upstream.requests
    assert request.system == "YOU\n\nobject\n\nlisted"
    assert [tool.name for tool in request.tools] == ["look"]
    assert running.call_tool(who, ToolCall("1", "look", "{}")).content == "seen"
    assert running.plugins.find("provider", "many").base_url == "https://many.example.com/v1"
    assert set(running.plugins.every("command")) >= {"many"}
    assert running.plugins.load("many").error == ""


@pytest.mark.parametrize(
    "passed", [[Many], [Many()], [Many(), Many("two")], [OfClass()], [OfClass, OfClass()]]
)
def test_a_class_its_objects_and_its_name_are_the_same_plugin(
    passed: list[Any], install: Install
) -> None:
    install(many=Many if passed[0] is Many or isinstance(passed[0], Many) else OfClass)
    running, upstream = runner(plugins=passed)
    running.run(persona(tools=["look"], plugins=["many"]), "Hi!")
    assert [tool.name for tool in upstream.requests[0].tools] == ["look"]


def test_a_module_that_is_passed_and_installed(install: Install) -> None:
    install(shared=f"{__name__}:SHARED")
    running, upstream = runner(plugins=[SHARED])
    running.run(persona(tools=["look"], plugins=["shared"]), "Hi!")
    assert [tool.name for tool in upstream.requests[0].tools] == ["look"]


SHARED = SimpleNamespace(setup=hookimpl(lambda registry: registry.tool(look)))


def test_approve_as_an_object_and_by_name() -> None:
    running, _ = runner(plugins=[Approve(always=["*"])])
    assert running.run(persona(plugins=["approve"]), "Hi!").text == "Hello!"


@pytest.mark.parametrize(
    ("cls", "what"),
    [
        (Other, "tool 'look'"),
        (OtherCommand, "command 'many'"),
        (OtherProvider, "provider 'many'"),
    ],
)
def test_another_plugin_with_the_same_name_of_a_thing_is_a_conflict(
    cls: Any, what: str, install: Install
) -> None:
    install(many=Many)
    message = f"the {what}, and so does plugin"
    with pytest.raises(PluginError, match=f"'{cls.__name__}' contributes {message} 'Many'"):
        runner(plugins=[Many(), cls()])
    running, _ = runner(plugins=[cls()])
    with pytest.raises(PluginError, match=f"'many' contributes {message} '{cls.__name__}'"):
        running.run(persona(plugins=["many"]), "Hi!")


def test_objects_that_each_contribute_a_thing_of_their_own_are_a_conflict() -> None:
    with pytest.raises(PluginError, match="'Own' contributes the tool 'look', and so does"):
        runner(plugins=[Own(), Own()])
    one = Own()
    running, upstream = runner(plugins=[one, one])
    running.run(persona(tools=["look"]), "Hi!")
    assert [tool.name for tool in upstream.requests[0].tools] == ["look"]


def test_a_plugin_that_contributes_a_thing_twice_is_broken() -> None:
    twice = SimpleNamespace(setup=hookimpl(lambda registry: [registry.tool(look) for _ in "ab"]))
    with pytest.raises(PluginError, match="contributes the tool 'look', and so does plugin"):
        runner(plugins=[twice])
