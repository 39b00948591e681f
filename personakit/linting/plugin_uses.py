"""Checks that a persona's plugins and tools are installed and that plugin options are valid."""

from __future__ import annotations

import contextlib
import dataclasses
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from personakit.base import NAME, Secret
from personakit.errors import PersonaError, PersonakitError, PluginError, Problem
from personakit.persona import Persona, PluginUse
from personakit.plugins import Plugins, close_now, options, order


def check(plugins: Plugins, persona: Persona) -> Iterator[Problem]:
    """Yield the problems of the plugins and tools that a persona's own file lists.

    A plugin's class is instantiated with its options, as for a run; no hook is called.
    """
    for use in persona.plugins:
        if use.document is persona.document and NAME.match(use.name):
            yield from _use(plugins, persona, use)
    yield from _order(plugins, persona)
    yield from _models(plugins, persona)
    listed = persona.document.data.get("tools")
    names = [listed] if isinstance(listed, str) else listed if isinstance(listed, list) else []
    for index, name in enumerate(names):
        if name in persona.tools and name and plugins.find("tool", name) is None:
            at = ("tools", index) if isinstance(listed, list) else ("tools",)
            message = (
                f"no installed plugin provides a tool {name!r}; `personakit plugins` lists plugins"
            )
            yield persona.document.problem(message, at, code="PK033")


def _not_looked_up(option: str, text: str, required: bool) -> Secret | None:
    """Return a secret in place of that of an option: lint needs no keys."""
    return Secret("a-secret") if text or required else None


def _models(plugins: Plugins, persona: Persona) -> Iterator[Problem]:
    """Yield the models of a persona and of its tests that are paths of files."""
    named: list[tuple[Any, tuple[str | int, ...]]] = [(persona.model, ("model",))]
    for test in persona.tests:
        judge = test.expect.get("judge")
        named.append((test.model, (*test.at, "model")))
        if isinstance(judge, Mapping):
            named.append((judge.get("model"), (*test.at, "expect", "judge", "model")))
    for model, at in named:
        if model and at in persona.document.marks and plugins.names_file(model):
            message = (
                f"model: {model!r} is the path of a file, which only the user may name: use "
                f"`-m {shlex.quote(model)}`, or `model:` in the config file"
            )
            yield persona.document.problem(message, at, code="PK034")


def _order(plugins: Plugins, persona: Persona) -> Iterator[Problem]:
    """Yield what is wrong with the order of the plugins, if the persona's own file can mend it."""
    entries = []
    for outer, items in ((True, plugins.config.plugins), (False, persona.plugins)):
        uses = [PluginUse(item) if isinstance(item, str) else item for item in items]
        for use in (one for one in uses if isinstance(one, PluginUse)):
            with contextlib.suppress(PersonakitError):  # which another check reports
                target = plugins.usable(use.name).target
                entries.append(order.Entry(use.name, target, use, outer))
    wrong = order.disorder(entries)
    if wrong is None:
        return
    for entry in wrong.misplaced:
        if entry.document is persona.document and entry.use is not None:
            yield persona.document.problem(wrong.message, entry.use.at, code="PK035")
            return


def _use(plugins: Plugins, persona: Persona, use: PluginUse) -> Iterator[Problem]:
    document = persona.document
    try:
        plugins.check(dataclasses.replace(persona, plugins=(use,)))
    except PersonaError as error:
        for problem in error.problems:
            yield dataclasses.replace(problem, code="PK030")
        return
    try:
        plugin = plugins.usable(use.name)
    except PluginError as error:
        yield document.problem(str(error), use.at, code="PK032")
        return
    settled = plugins.settled(plugin, use)
    for fault in settled.faults:
        yield fault.problem(use, document)
    if settled.faults:
        return
    try:
        made = options.make(
            plugin.origin, plugin.target, settled.given, change=settled, secret=_not_looked_up
        )
        if isinstance(plugin.target, type):
            close_now(use.name, made)
    except PersonakitError as error:
        yield document.problem(str(error), use.at, code="PK031")
