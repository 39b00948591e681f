"""The order of plugins: rules of plugins, and lists that break them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.cli import Commands
from hypothesis import given
from hypothesis import strategies as st

from personakit import Config, ConfigError, Persona, PersonaError, PluginError, Runner, hookimpl
from personakit.persona import PluginUse
from personakit.plugins.inspection import examine
from personakit.plugins.order import Entry, disorder
from personakit.testing import persona, runner

Install = Callable[..., None]


class Plugin:
    def __init__(self, mark: int = 0) -> None:
        pass

    @hookimpl
    def chat(self, request: Any) -> None: ...


class Hide(Plugin):
    outside_of = ("store",)


class Store(Plugin):
    pass


class Again(Plugin):
    inside_of = ("store", "hide")


class Meter(Plugin):
    every_call = True
    outside_of = ("hide",)
    inside_of = ("again",)


class Left(Plugin):
    outside_of = ("right",)


class Right(Plugin):
    outside_of = ("left",)


PLUGINS = {"hide": Hide, "store": Store, "again": Again, "meter": Meter, "left": Left}


@pytest.fixture
def plugins(install: Install) -> None:
    install(**PLUGINS, right=Right)


def refused(*listed: Any, **config: Any) -> str:
    with pytest.raises(PersonaError) as caught:
        runner(**config)[0].prepare(persona(plugins=list(listed)))
    return str(caught.value)


@pytest.mark.usefixtures("plugins")
def test_a_list_that_breaks_a_rule_is_refused_with_the_right_order() -> None:
    message = refused("store", {"hide": {"mark": 1}}, "again")
    assert message.startswith("test.yaml:1:")
    assert "plugins: 'hide' must be outside of 'store' (the first one of a list is" in message
    assert '; the right order: `plugins: [{hide: {"mark": 1}}, store, again]`' in message


@pytest.mark.usefixtures("plugins")
def test_the_right_order_can_be_pasted() -> None:
    listed = ["again", "store", {"use": "hide", "options": {"mark": 2}, "on_error": "skip"}]
    line = refused(*listed).partition("the right order: `")[2].partition("`")[0]
    pasted = Persona.parse(f"system: You.\n{line}\n", "a.yaml")
    assert [use.name for use in pasted.plugins] == ["hide", "store", "again"]
    assert (dict(pasted.plugins[0].options), pasted.plugins[0].on_error) == ({"mark": 2}, "skip")
    runner()[0].run(pasted)


@pytest.mark.usefixtures("plugins")
def test_the_order_of_others_stays_as_it_is() -> None:
    running, _ = runner(plugins=["store", "again"])
    running.run(persona(plugins=["again"]))
    message = refused({"hide": {}}, "left", "again", "store", "meter")
    assert "`plugins: [hide, left, store, again, meter]`" in message


@pytest.mark.usefixtures("plugins")
def test_a_plugin_for_every_call_has_no_place() -> None:
    for listed in (["meter", "again", "meter"], ["hide", "meter"]):
        runner()[0].run(persona(plugins=listed))


@pytest.mark.usefixtures("plugins")
def test_rules_that_contradict_one_another() -> None:
    message = refused("left", "store", "right")
    assert (
        "'left' must be outside of 'right' and 'right' must be outside of 'left', so no order is "
        "right; remove one of them" in message
    )


def user(tmp_path: Path, config: str, **files: str) -> Runner:
    for name, text in files.items():
        (tmp_path / f"{name}.yaml").write_text(text, "utf-8")
    file = tmp_path / "config.yaml"
    file.write_text(config, "utf-8")
    return Runner(Config.read({"PERSONAKIT_CONFIG": str(file), "HOME": str(tmp_path)}))


@pytest.mark.usefixtures("plugins")
def test_the_plugins_of_the_config_are_outside(tmp_path: Path) -> None:
    secret = "plugins: [store: {mark: 98765}]\nmodel: openai/x"
    running = user(tmp_path, secret, who="system: You.\nplugins:\n  - hide\n")
    with pytest.raises(PersonaError) as caught:
        running.prepare(tmp_path / "who.yaml")
    message = str(caught.value)
    assert message.startswith(f"{tmp_path}/who.yaml:3:5: plugins: 'hide' must be outside of")
    config, who = f"{tmp_path}/config.yaml", f"{tmp_path}/who.yaml"
    assert (
        f"; move 'hide' from {who} to {config}, before 'store', or move 'store' from {config} to "
        f"{who}, after 'hide'; plugins of Python are outside of those of the config" in message
    )
    assert "98765" not in message


@pytest.mark.usefixtures("plugins")
def test_a_list_of_the_config_alone(tmp_path: Path) -> None:
    running = user(tmp_path, "model: openai/x\nplugins: [store, hide]", who="system: You.\n")
    with pytest.raises(ConfigError) as caught:
        running.prepare(tmp_path / "who.yaml")
    assert str(caught.value).startswith(f"{tmp_path}/config.yaml:2:18: plugins: 'hide' must be")
    assert str(caught.value).endswith("the right order: `plugins: [hide, store]`")


@pytest.mark.usefixtures("plugins")
def test_plugins_given_in_python() -> None:
    with pytest.raises(ConfigError, match=r"the right order: hide, store in `plugins=` in Python$"):
        runner(plugins=["store", "hide"])[0].run(persona())
    with pytest.raises(PersonaError) as caught:
        runner(plugins=["store"])[0].run(persona(plugins=["hide"]))
    assert (
        "; move 'hide' from test.yaml to `plugins=` in Python, before 'store', or move 'store' "
        "from `plugins=` in Python to test.yaml, after 'hide'; " in str(caught.value)
    )


class store(Plugin):  # noqa: N801
    pass


@pytest.mark.usefixtures("plugins")
def test_an_object_given_in_python_is_named_in_no_list_of_a_file() -> None:
    with pytest.raises(ConfigError, match=r"the right order: hide, store, again in `plugins=` in"):
        runner(plugins=["again", store, "hide"])[0].run(persona())
    with pytest.raises(PersonaError) as caught:
        runner(plugins=[store()])[0].run(persona(plugins=["again", "hide"]))
    message = str(caught.value)
    assert "the right order: `plugins: [hide, again]` in test.yaml" in message
    assert "; move 'hide' from test.yaml to `plugins=` in Python, before 'store'; " in message
    assert "'store' from" not in message


@pytest.mark.usefixtures("plugins")
def test_a_plugin_in_two_lists_is_removed_from_one(tmp_path: Path) -> None:
    config = "plugins: [store]\nmodel: openai/x"
    running = user(tmp_path, config, who="system: You.\nplugins: [hide, store]\n")
    with pytest.raises(PersonaError) as caught:
        running.prepare(tmp_path / "who.yaml")
    where, who = f"{tmp_path}/config.yaml", f"{tmp_path}/who.yaml"
    assert (
        f"; move 'hide' from {who} to {where}, before 'store', or remove 'store' from {where}, "
        f"since it is in {who} as well; " in str(caught.value)
    )
    (tmp_path / "config.yaml").write_text("model: openai/x")
    user(tmp_path, "model: openai/x").prepare(tmp_path / "who.yaml")


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({"outside_of": "cache"}, "outside_of must be a tuple of names of plugins, found 'cache'"),
        ({"inside_of": (1,)}, "inside_of must be a tuple of names of plugins"),
        ({"inside_of": ("Cache",)}, "inside_of must be a tuple of names of plugins"),
        ({"outside_of": ("a", "x")}, "outside_of contains its own name"),
        ({"outside_of": ("a",), "inside_of": ["a"]}, "'a' is in outside_of and in inside_of"),
    ],
)
def test_rules_are_checked(rules: dict[str, Any], said: str) -> None:
    with pytest.raises(PluginError, match=said):
        examine("x", type("X", (Plugin,), rules))


NAMES = st.sampled_from("abcd")
RULES = st.dictionaries(NAMES, st.tuples(st.sets(NAMES), st.sets(NAMES)), max_size=4)


@given(st.lists(NAMES, max_size=6), RULES)
def test_the_right_order_breaks_no_rule(names: list[str], stated: dict[str, Any]) -> None:
    def entry(name: str) -> Entry:
        outside, inside = stated.get(name, ((), ()))
        rules = {"outside_of": {*outside} - {name}, "inside_of": {*inside} - {name}}
        return Entry(name, type("X", (), rules), PluginUse(name))

    wrong = disorder([*map(entry, names)])
    if wrong is None or "no order is right" in wrong.message:
        return
    right = wrong.message.partition("[")[2].partition("]")[0].split(", ")
    assert sorted(right) == sorted(names)
    assert right != names
    assert disorder([*map(entry, right)]) is None


def test_the_first_party_plugins_have_rules() -> None:
    with pytest.raises(PersonaError) as caught:
        runner()[0].prepare(persona(plugins=["cache", "redact"]))
    assert "the right order: `plugins: [redact, cache]`" in str(caught.value)
    guard = {"guard": {"output": {"deny": ["x"]}}}
    output = {"type": "object", "properties": {}}
    runner()[0].prepare(
        persona(plugins=[guard, "redact", "cache", "schema", "retry"], output=output)
    )


def test_show_prints_the_rules_of_both_sides(tmp_path: Path) -> None:
    command = Commands(tmp_path)
    env = {"PERSONAKIT_PLUGINS": "cache,guard,redact,retry,schema,rag"}
    assert "inside of: guard, redact\n" in command("plugins", "show", "cache", **env).out
    row = json.loads(command("plugins", "show", "retry", "--json", **env).out)
    assert row["inside_of"] == ["cache", "guard", "rag", "schema"]
    assert row["outside_of"] == []
