"""The registry: what a plugin contributes in its setup, each thing under a name."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click
import pytest

from personakit import (
    ConfigError,
    Endpoint,
    PluginError,
    Provider,
    Registry,
    Request,
    Wire,
    hookimpl,
)
from personakit.registry import KINDS, Importer, PersonaSource, by_plugin, of_kind


class Plugin:
    @hookimpl
    def chat(self) -> None: ...


def shout(text: str) -> str:
    """Shout a text."""
    return text.upper()


def connect(model: str) -> Endpoint:
    return Endpoint("http://127.0.0.1:1/v1", None, model)


def answering(endpoint: Endpoint) -> Plugin:
    return Plugin()


def files_of(out: Any) -> dict[str, bytes]:
    return {f"{out.persona.name}.poml": b"x"}


def write(request: Request) -> str:
    return request.model


class Mine(Wire):
    name = "mine"


WIRE = Mine()
command = click.Command("talk")

# Of each kind: how it is contributed, its name, and what is found under it.
WAYS: list[tuple[str, Callable[[Registry], Any], str, Any]] = [
    ("plugin", lambda r: r.plugin("a-plugin", Plugin), "a-plugin", Plugin),
    ("tool", lambda r: r.tool(shout), "shout", shout),
    ("loader", lambda r: r.loader("acme", shout), "acme", PersonaSource(shout, None, 0, "acme")),
    ("secret", lambda r: r.secret("vault", shout), "vault", shout),
    ("command", lambda r: r.command(command), "talk", command),
    ("template_filter", lambda r: r.template_filter("shout", shout), "shout", shout),
    ("template_global", lambda r: r.template_global("today", "Monday"), "today", "Monday"),
    ("format", lambda r: r.format("only-model", write), "only-model", write),
    (
        "importer",
        lambda r: r.importer("poml", write, files=["*.poml"]),
        "poml",
        Importer(write, ("*.poml",)),
    ),
    ("exporter", lambda r: r.exporter("poml", files_of), "poml", files_of),
    (
        "provider",
        lambda r: r.provider("mine", base_url="http://x/v1", key_env="KEY", tools=False),
        "mine",
        Provider("mine", "http://x/v1", key_env="KEY", tools=False),
    ),
    (
        "provider",
        lambda r: r.provider("own", connect=connect, default_model="small"),
        "own",
        Provider("own", connect=connect, default_model="small"),
    ),
    (
        "provider",
        lambda r: r.provider("within", backend=answering),
        "within",
        Provider("within", backend=answering),
    ),
    ("wire", lambda r: r.wire("mine", WIRE), "mine", WIRE),
]


def test_there_is_a_test_of_every_kind() -> None:
    assert {kind for kind, *_ in WAYS} == set(KINDS)


@pytest.mark.parametrize(("kind", "contribute", "name", "value"), WAYS)
def test_a_contribution_is_found_under_its_kind_and_name(
    kind: str, contribute: Callable[[Registry], Any], name: str, value: Any
) -> None:
    registry = Registry("acme")
    contribute(registry)
    found = of_kind(registry.contributions, kind)
    if kind == "tool":
        found = {name: pending.function for name, pending in found.items()}
    assert found == {name: value}
    assert list(by_plugin(registry.contributions, "acme")) == [f"{kind}:{name}"]
    assert list(by_plugin(registry.contributions, "other")) == []


@pytest.mark.parametrize(("kind", "contribute", "name", "value"), WAYS)
def test_a_clash_is_an_error_that_names_both_plugins(
    kind: str, contribute: Callable[[Registry], Any], name: str, value: Any
) -> None:
    first = Registry("first")
    contribute(first)
    message = f"plugin 'second' contributes the {kind} '{name}', and so does plugin 'first'; uninst"
    with pytest.raises(PluginError, match=message) as caught:
        contribute(Registry("second", first.contributions))
    assert caught.value.plugin == "second"
    assert list(by_plugin(first.contributions, "first")) == [f"{kind}:{name}"]


def test_things_of_two_kinds_may_share_a_name() -> None:
    registry = Registry("acme")
    registry.template_filter("x", shout)
    registry.template_global("x", 1)
    assert len(registry.contributions) == 2


def test_a_tool_may_be_contributed_by_a_decorator() -> None:
    registry = Registry("acme")
    assert registry.tool(shout) is shout


@pytest.mark.parametrize("name", ["", "Acme", "a b", "a/b", "-a", "a.b", "é"])
@pytest.mark.parametrize(
    "contribute",
    [
        lambda r, n: r.plugin(n, Plugin),
        lambda r, n: r.provider(n, base_url="http://x/v1"),
        lambda r, n: r.format(n, write),
    ],
)
def test_a_name_that_nobody_could_write(
    contribute: Callable[[Registry, str], None], name: str
) -> None:
    registry = Registry("acme")
    with pytest.raises(ValueError, match=r"invalid name .*: use lower-case letters"):
        contribute(registry, name)
    assert registry.contributions == {}


@pytest.mark.parametrize("scheme", ["", "c", "a_b", "2x", "a:b", "Acme"])
def test_a_scheme_that_could_never_be_asked_for(scheme: str) -> None:
    registry = Registry("acme")
    message = r"invalid scheme .*: use two or more lower-case letters"
    for contribute in (registry.loader, registry.secret):
        with pytest.raises(ValueError, match=message):
            contribute(scheme, shout)


def test_a_feature_that_a_provider_has_not() -> None:
    with pytest.raises(TypeError, match="toolz"):
        Registry("acme").provider("mine", base_url="http://x/v1", toolz=True)


def test_a_tool_is_a_function_not_its_name() -> None:
    registry = Registry("acme")
    for wrong in ("shout", functools.partial(shout, "x")):
        with pytest.raises(ConfigError, match=r"registry\.tool: expected a function .* found"):
            registry.tool(wrong)  # type: ignore[arg-type]
    assert registry.contributions == {}
