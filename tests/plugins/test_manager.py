"""Plugins: found by entry point, loaded when needed, bound to the personas that list them."""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from personakit import (
    Config,
    ConfigError,
    Persona,
    PersonaError,
    PluginError,
    Registry,
    Request,
    Response,
    Runner,
    Send,
    ToolCall,
    ToolResult,
    hookimpl,
)
from personakit.persona import PluginUse
from personakit.plugins.inspection import examine
from personakit.plugins.manager import Plugins
from personakit.testing import Upstream, persona, runner

Install = Callable[..., None]


def points(**plugins: Any) -> Plugins:
    """Return plugins as if they were installed; a class, or what an entry point says."""
    values = {
        n: it if isinstance(it, str) else f"{__name__}:{it.__qualname__}"
        for n, it in plugins.items()
    }
    return Plugins(entry_points=[EntryPoint(n, value, "personakit") for n, value in values.items()])


class Says:
    """Adds its mark to the system message."""

    made = 0

    def __init__(self, mark: str = "says") -> None:
        type(self).made += 1
        self.mark = mark

    @hookimpl
    def chat(self, request: Request) -> Request:
        return request.with_system(self.mark)


module = ModuleType("module")


@hookimpl
def of_module(request: Request) -> Request:
    return request.with_system("module")


module.chat = of_module  # type: ignore[attr-defined]
an_object = Says("object")


# --- which forms a plugin may have -------------------------------------------------------------


def test_a_plugin_is_a_class_a_module_or_an_object(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "acme_module", module)
    install(a=Says, b="acme_module", c=f"{__name__}:an_object")
    running, upstream = runner()
    running.run(persona("You.", plugins=["c", "b", "a", {"a": {"mark": "again"}}]))
    assert upstream.requests[0].system.split() == ["You.", "object", "module", "says", "again"]


def test_the_same_forms_may_be_given_in_code() -> None:
    running, upstream = runner(plugins=[Says, module, an_object])
    running.run(persona("You."))
    assert upstream.requests[0].system.split() == ["You.", "says", "module", "object"]


def test_a_plugin_says_what_it_has() -> None:
    class All:
        @staticmethod
        @hookimpl
        def setup(registry: Registry) -> None: ...

        @hookimpl
        def observe(self, event: Any) -> None: ...

        @hookimpl
        def tool(self, persona: Persona, send: Any, call: ToolCall) -> None: ...

        @hookimpl
        async def chat(self, send: Send, request: Request) -> None: ...

        def helper(self, x: int) -> None: ...

    assert examine("all", All) == ("setup", "chat", "tool", "observe")
    assert examine("says", Says) == ("chat",)


class Generates:
    @hookimpl
    def chat(self, request: Request) -> Iterator[Request]:
        yield request


class GeneratesLater:
    @hookimpl
    async def chat(self, request: Request) -> AsyncIterator[Request]:
        yield request


class Wraps:
    @hookimpl(wrapper=True)
    def chat(self, request: Request) -> Iterator[None]:
        yield


class WrapsAsBefore:
    @hookimpl(hookwrapper=True)
    def chat(self, request: Request) -> Iterator[None]:
        yield


class Misspelt:
    @hookimpl
    def chta(self, request: Request) -> None: ...


class WrongArgument:
    @hookimpl
    def chat(self, request: Request, client: Any) -> None: ...


class WrongArgumentOfTool:
    @hookimpl
    def tool(self, request: Request) -> None: ...


class NoHook:
    def chat(self, request: Request) -> None: ...


class SetupAsMethod:
    @hookimpl
    def setup(self, registry: Registry) -> None: ...


class SetupThatFails:
    @staticmethod
    @hookimpl
    def setup(registry: Registry) -> None:
        registry.template_global("half", 1)
        raise OSError("no disk")


class SetupMarkedOutside:
    @hookimpl
    @staticmethod
    def setup(registry: Registry) -> None: ...

    @hookimpl
    def chat(self) -> None: ...


class OtherName:
    @hookimpl(specname="chat")
    def my_chat(self, request: Request) -> None: ...


BROKEN = [
    (Generates, r"generator or wrapper.*write `async def chat\(request, send\)`"),
    (GeneratesLater, "generator or wrapper"),
    (Wraps, "generator or wrapper"),
    (WrapsAsBefore, "generator or wrapper"),
    (Misspelt, r"unknown hook 'chta'; did you mean 'chat'\?"),
    (
        WrongArgument,
        r"chat\(self, request.*client.*has unknown arguments; "
        r"expected chat\(request, send, persona, state\)",
    ),
    (WrongArgumentOfTool, r"has unknown arguments; expected tool\(call, send, persona, state\)"),
    (NoHook, "has no hook; mark one of setup, run, chat, tool, observe with @hookimpl"),
    (SetupAsMethod, "setup runs before the options are known; put @staticmethod above"),
    (SetupMarkedOutside, "put @staticmethod above its @hookimpl"),
    (SetupThatFails, "OSError: no disk"),
    (OtherName, "my_chat' must be called 'chat': rename it"),
    ("no_such_module:Plugin", "ModuleNotFoundError: No module named 'no_such_module'"),
    ("personakit:NoSuchName", "AttributeError"),
    ("acme_exits", "SystemExit: 3"),
    ("acme_fails", "ZeroDivisionError"),
]


@pytest.mark.parametrize(("target", "reason"), BROKEN)
def test_a_broken_plugin_fails_only_those_that_list_it(
    target: Any, reason: str, install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "acme_exits.py").write_text("raise SystemExit(3)")
    (tmp_path / "acme_fails.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(tmp_path)
    install(broken=target, good=Says)
    running, upstream = runner()
    with pytest.raises(
        PluginError, match=rf"plugin 'broken' \(of acme 1.0\) is broken: .*{reason}"
    ) as e:
        running.run(persona(plugins=["good", "broken"]))
    assert e.value.plugin == "broken"
    assert upstream.requests == []
    running.run(persona(plugins=["good"]))
    found = {plugin.name: plugin for plugin in running.plugins.all()}
    assert found["good"].error == ""
    assert found["good"].hooks == ("chat",)
    assert found["broken"].target is None
    assert running.plugins.provides("broken") == []
    assert running.plugins.find("template_global", "half") is None


@pytest.mark.parametrize(("target", "reason"), BROKEN[:8])
def test_a_broken_one_given_in_code_is_refused_by_name(target: type, reason: str) -> None:
    with pytest.raises(PluginError, match=f"{target.__name__}.*{reason}"):
        runner(plugins=[target])[0].run(persona())


# --- what is installed -------------------------------------------------------------------------


def test_nothing_is_imported_before_it_is_needed() -> None:
    plugins = points(a="no_such_module:Plugin", b=Says)
    assert list(plugins.installed()) == ["a", "b"]
    assert [plugin.target for plugin in plugins.installed().values()] == [None, None]
    plugins.bind(persona(plugins=["b"]))
    assert [plugin.target for plugin in plugins.installed().values()] == [None, Says]
    assert plugins.load("a").error.startswith("ModuleNotFoundError")


def test_installed_says_which_package_brings_it(install: Install) -> None:
    install("acme-says", says=Says)
    plugin = Plugins().installed()["says"]
    assert (plugin.distribution, plugin.version) == ("acme-says", "1.0")


def test_two_packages_with_one_name(install: Install) -> None:
    install("acme", says=Says, other=Says)
    install("zeta", says=Says)
    running, _ = runner()
    message = "two packages provide plugin 'says': (acme and zeta|zeta and acme); uninstall one"
    with pytest.raises(PluginError, match=message):
        running.run(persona(plugins=["says"]))
    running.run(persona(plugins=["other"]))


@pytest.mark.parametrize(
    ("name", "hint"),
    [("sayss", "did you mean 'says'"), ("zzz", r"\(installed: .*other.*says.*\)")],
)
def test_a_plugin_that_is_not_installed(name: str, hint: str, install: Install) -> None:
    install(says=Says, other=Says)
    who = Persona.parse(f"system: You.\nplugins:\n  - says\n  - {name}\n", "who.yaml")
    with pytest.raises(
        PersonaError, match=f"who.yaml:4:5: no plugin '{name}' is installed.*{hint}"
    ):
        runner()[0].run(who)
    with pytest.raises(ConfigError, match=f"^no plugin '{name}' is installed"):
        runner(plugins=[name])[0].run(persona())


def test_personakit_plugins_selects(install: Install) -> None:
    install(a=Says, b=Says)
    environ = {"PERSONAKIT_PLUGINS": " b , c"}
    running = Runner(Config.read(environ), backend=Upstream())
    assert list(running.plugins.installed()) == ["b"]
    running.run(persona(plugins=["b"]), model="test/x")
    with pytest.raises(PersonaError, match=r"'a' is installed.*PERSONAKIT_PLUGINS limits"):
        running.run(persona(plugins=["a"]))
    assert not Plugins(Config(select=frozenset())).installed()


# --- binding -----------------------------------------------------------------------------------


def test_the_config_s_plugins_stand_outside_the_persona_s(install: Install) -> None:
    # Installed in the other order, which must not matter.
    install("zeta", inner=Says)
    install("acme", outer=Says)
    config = Config(
        model="test/x", path=(), plugins=("outer", PluginUse("inner", {"mark": "second"}))
    )
    upstream = Upstream()
    running = Runner(config, plugins=[Says("first")], backend=upstream)
    running.run(
        persona("You.", plugins=[{"inner": {"mark": "third"}}, {"outer": {"mark": "last"}}])
    )
    assert upstream.requests[0].system.split() == [
        "You.",
        "first",
        "says",
        "second",
        "third",
        "last",
    ]


def test_the_config_file_lists_plugins_as_a_persona_does(install: Install, tmp_path: Path) -> None:
    install(says=Says)
    file = tmp_path / "config.yaml"
    file.write_text(
        "plugins:\n- says\n- says: {mark: b}\n- {use: says, options: {mark: c}, on_error: skip}\n"
    )
    upstream = Upstream()
    config = Config.read({"PERSONAKIT_CONFIG": str(file)})
    Runner(config, backend=upstream).run(persona("You."), model="test/x")
    assert upstream.requests[0].system.split() == ["You.", "says", "b", "c"]


@pytest.mark.parametrize(
    "line", ["{a: {}, b: {}}", "{use: says, option: {}}", "{use: 3}", "{says: 4}", "[says]", "3"]
)
def test_a_config_s_entry_of_another_form(line: str, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(f"plugins:\n- {line}\n")
    with pytest.raises(ConfigError, match=r"config\.yaml:2:\d+: "):
        Config.read({"PERSONAKIT_CONFIG": str(file)})


def test_a_class_is_made_once_for_each_place_that_lists_it(install: Install) -> None:
    install(says=Says)
    one, two = persona(plugins=["says", "says"]), persona()
    running = Runner(
        Config(model="test/x", path=(), plugins=("says",)), plugins=[Says], backend=Upstream()
    )
    before = Says.made
    for who in (one, two, one, two):
        running.run(who)
    # Two of the first persona, one of the config, one given in code.
    assert Says.made - before == 4


class SlowToMake(Says):
    made = 0

    def __init__(self) -> None:
        time.sleep(0.02)
        super().__init__()


def test_threads_that_come_at_once_share_what_is_made(install: Install) -> None:
    install(slow=SlowToMake)
    running = Runner(
        Config(model="test/x", path=(), plugins=("slow",)), plugins=[SlowToMake], backend=Upstream()
    )
    who = persona(plugins=["slow"])
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: running.run(who), range(4)))
    assert SlowToMake.made == 3


def test_installing_changes_no_prompt(install: Install) -> None:
    install(says=Says)
    running, upstream = runner()
    running.run(persona("You."))
    assert upstream.requests[0].system == "You."


# --- setup -------------------------------------------------------------------------------------


class Contributes:
    times = 0

    def __init__(self, needed: str) -> None: ...

    @staticmethod
    @hookimpl
    def setup(registry: Registry) -> None:
        Contributes.times += 1
        registry.plugin("inside", Says)
        registry.tool(hello)
        registry.template_filter("shout", str.upper)
        registry.template_global("star", "*")
        registry.loader("acme", lambda rest: f"system: I am {rest}.")


class ContributesAsClass:
    @classmethod
    @hookimpl
    def setup(cls, registry: Registry) -> None:
        registry.secret("vault", str.upper)


class Clashes:
    @staticmethod
    @hookimpl
    def setup(registry: Registry) -> None:
        registry.template_global("other", 1)
        registry.template_global("star", "x")


def hello(name: str) -> str:
    return f"Hello {name}!"


def test_setup_is_active_on_install_and_runs_once(install: Install) -> None:
    install(contributes=Contributes, more=ContributesAsClass)
    Contributes.times = 0
    running, upstream = runner()
    running.run("acme:people/ann")
    running.run(persona("{{ star }} {{ 'you' | shout }}", plugins=["inside"]))
    assert [request.system for request in upstream.requests] == [
        "I am people/ann.",
        "* YOU\n\nsays",
    ]
    assert running.call_tool(persona(), ToolCall("1", "hello", '{"name": "you"}')) == ToolResult(
        "1", "Hello you!"
    )
    assert running.plugins.find("secret", "vault")("k") == "K"
    assert Contributes.times == 1
    assert running.plugins.provides("contributes") == [
        "plugin:inside",
        "tool:hello",
        "template_filter:shout",
        "template_global:star",
        "loader:acme",
    ]


def test_the_plugin_of_a_name_is_asked_first() -> None:
    plugins = points(a="no_such_module:Plugin", inside=Contributes)
    assert plugins.find("plugin", "inside") is Says
    assert plugins.installed()["a"].error == ""
    assert plugins.find("plugin", "nothing") is None
    assert plugins.installed()["a"].error != ""


def test_a_clash_names_both_plugins_and_leaves_the_first() -> None:
    plugins = points(a=Contributes, b=Clashes)
    assert plugins.every("template_global") == {"star": "*"}
    error = plugins.load("b").error
    assert "'b' contributes the template_global 'star', and so does plugin 'a'" in error
    assert plugins.provides("b") == []


# --- tool hooks --------------------------------------------------------------------------------


def test_tool_hooks_stand_around_a_call(install: Install) -> None:
    install(contributes=Contributes)
    seen: list[Any] = []

    async def outer(call: ToolCall, send: Any) -> ToolResult:
        result: ToolResult = await send(call.replace(arguments='{"name": "all"}'))
        return result.replace(content=result.content.upper())

    def inner(persona: Persona, call: ToolCall) -> None:
        seen.append((persona.name, call.arguments))

    hooks = [SimpleNamespace(tool=hookimpl(hook)) for hook in (outer, inner)]
    running, _ = runner(plugins=hooks)
    result = running.call_tool(persona(), ToolCall("7", "hello", "{}"))
    assert result == ToolResult("7", "HELLO ALL!")
    assert seen == [("test", '{"name": "all"}')]


def test_a_tool_hook_may_answer_or_break(install: Install) -> None:
    install(contributes=Contributes)
    call = ToolCall("7", "hello", '{"name": "you"}')

    def refuse(call: ToolCall) -> ToolResult:
        return ToolResult(call.id, "not allowed", is_error=True)

    def wrong(call: ToolCall) -> Response:
        return Response("x")

    running, _ = runner(plugins=[SimpleNamespace(tool=hookimpl(refuse))])
    assert running.call_tool(persona(), call).is_error
    running, _ = runner(plugins=[SimpleNamespace(__name__="w", tool=hookimpl(wrong))])
    with pytest.raises(
        PluginError, match=r"'w'.*a tool hook must return None, a ToolCall or a ToolResult"
    ):
        running.call_tool(persona(), call)
