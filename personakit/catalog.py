"""Catalog: the personas that can be run, each found, compiled and bound to its plugins once."""

from __future__ import annotations

import functools
import os
import threading
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from personakit.backend import Router
from personakit.config import Config, user_cache
from personakit.errors import ConfigError, PersonaNotFound, TemplateError
from personakit.frozen import FrozenDict, freeze
from personakit.library import Library
from personakit.messages import Request, Response
from personakit.persona import Declared, Persona, Reference
from personakit.plugins import Bound, Made, Plugins

if TYPE_CHECKING:
    from personakit.output import Output
    from personakit.templates import CompiledPersona, TemplateCompiler

Reader = Callable[[Response], Response]


class CatalogEntry:
    """What is made of a persona once.

    Attributes:
        declared: Its variables, ready to take values.
        model: Its own, or the config's; empty where nobody chose one.
        parameters: Those of every request, the config's and its own.
        bound: Its plugins, once they are bound.
        compiled: Its templates, once they are compiled.
        reader: What reads the value of its `output:` out of an answer, once it is made.
    """

    __slots__ = ("bound", "compiled", "declared", "model", "parameters", "reader")

    def __init__(self, persona: Persona, config: Config) -> None:
        self.declared = Declared(persona.variables)
        self.model = persona.model or config.model or ""
        self.parameters = FrozenDict(
            freeze({**config.parameters, **response_format(wanted(persona)), **persona.parameters})
        )
        self.bound: Bound | None = None
        self.compiled: CompiledPersona | None = None
        self.reader: Reader | None = None


class Catalog:
    """Everything of a runner that does not depend on a request.

    Args:
        config: The user's set-up.
        path: Folders of personas to search before all others.
        outer: Plugins around those of the config and of every persona: names or objects.

    Attributes:
        config: The user's set-up.
        library: Where personas come from.
        plugins: The plugins that are installed.
        router: Where models are.
    """

    def __init__(self, config: Config, path: tuple[Path, ...], outer: tuple[Any, ...]) -> None:
        self.config = config
        self.plugins = Plugins(config.select, config.allow_plugins)
        find_loader = functools.partial(self.plugins.find, "loader")
        self.library = Library((*path, *config.path), find_loader, user_cache(config.environ))
        self.router = Router(config, self.plugins.find, owner=self.plugins.owner)
        self._outer = (*outer, *config.plugins)
        self.plugins.contribute(outer)
        self._templates: TemplateCompiler | None = None
        self._entries: weakref.WeakKeyDictionary[Persona, CatalogEntry] = (
            weakref.WeakKeyDictionary()
        )
        self._lock = threading.RLock()

    def load(self, persona: Reference) -> Persona:
        """Return a persona by name or path; one that is given is returned as it is.

        A name or path may end in a pin, ``@`` and its version or hash: ``chef@1.0`` or
        ``chef@sha256:…`` (the first 8 digits are enough).

        Raises:
            PersonaNotFound: There is none of that name, or it is not the pinned one.
            PersonaError: Its file is wrong.
        """
        if isinstance(persona, Persona):
            return persona
        reference, at, pin = str(persona).rpartition("@")
        # Not Path.exists, which raises for a name that is too long.
        if not at or not reference or "/" in pin or os.path.exists(persona):  # noqa: PTH110
            return self.library.load(persona)
        found = self.library.load(reference)
        if pin.startswith("sha256:"):
            actual = self.hash(found)
            good = len(pin) >= len("sha256:") + 8 and actual.startswith(pin)
        else:
            actual, good = found.version, pin == found.version
        if not good:
            raise PersonaNotFound(
                f"{found.path} is not {pin}: it is {actual or 'of no version'}; "
                f"load {reference!r} without the pin, or restore the file"
            )
        return found

    def hash(self, persona: Reference) -> str:
        """Return ``sha256:…`` over everything of a persona that can change a request."""
        return self.compiled(self.load(persona)).hash

    def compiled(self, persona: Persona) -> CompiledPersona:
        """Return a persona's compiled templates.

        Raises:
            TemplateError: With every problem of every text.
        """
        entry = self.entry(persona)
        made = entry.compiled
        if made is None or (made.files and not made.is_fresh()):
            from personakit.templates import CompiledPersona  # noqa: PLC0415

            made = CompiledPersona(self.templates(), persona)
            if made.problems:
                raise TemplateError(made.problems)
            entry.compiled = made
        return made

    def entry(self, persona: Persona) -> CatalogEntry:
        """Return what is made of a persona once."""
        found = self._entries.get(persona)
        if found is None:
            with self._lock:
                found = self._entries.get(persona)
                if found is None:
                    found = self._entries[persona] = CatalogEntry(persona, self.config)
        return found

    def templates(self) -> TemplateCompiler:
        """Return what compiles templates."""
        if self._templates is None:
            from personakit.templates import TemplateCompiler  # noqa: PLC0415

            every = self.plugins.every
            self._templates = TemplateCompiler(
                functools.partial(every, "template_filter"),
                functools.partial(every, "template_global"),
                self.library.partial,
            )
        return self._templates

    def bind(self, persona: Persona) -> Bound:
        """Return a persona's plugins, made with their options."""
        entry = self.entry(persona)
        if entry.bound is None:
            with self._lock:
                if entry.bound is None:
                    entry.bound = self.plugins.bind(persona, self._made_outer)
        return entry.bound

    def reader(self, persona: Persona, output: Output | None) -> Reader | None:
        """Return what reads the value out of an answer; None for an answer that is any text.

        Args:
            persona: Who answers.
            output: What the caller asks for; None for the persona's `output:`, if it has one.

        Raises:
            ConfigError: The schema is none.
        """
        if output is not None:
            return output.reader()
        if persona.output is None:
            return None
        entry = self.entry(persona)
        if entry.reader is None:
            output = wanted(persona)
            assert output is not None
            entry.reader = output.reader()
        return entry.reader

    def sendable(self, persona: Persona, request: Request) -> Request:
        """Return a request that has been through all plugins, in the form that its model takes.

        Raises:
            ConfigError: A tool that the persona lists is not there.
        """
        if persona.tools:
            _check_tools(persona, request)
        form = request.parameters.get("response_format") or {}
        if form.get("type") != "json_schema" or self.router.takes_schema(request.model):
            return request
        from personakit.output import instructed  # noqa: PLC0415

        return instructed(request)

    @functools.cached_property
    def _made_outer(self) -> list[Made]:
        return self.plugins.make(self._outer)


def wanted(persona: Persona, output: Any = None) -> Output | None:
    """Return what a run must answer: what the caller gave, else the persona's; None for any text.

    Raises:
        ConfigError: What the caller gave is neither a type nor a JSON Schema.
    """
    chosen = persona.output if output is None else output
    if chosen is None:
        return None
    from personakit.output import Output  # noqa: PLC0415

    return Output.of(chosen, persona.name)


def response_format(output: Output | None) -> Mapping[str, Any]:
    """Return the parameter that asks for an output."""
    return {} if output is None else {"response_format": output.response_format}


def _check_tools(persona: Persona, request: Request) -> None:
    """Check that every tool that a persona lists is there, now that all plugins had their turn.

    Raises:
        ConfigError: One is missing.
    """
    missing = set(persona.tools) - {tool.name for tool in request.tools}
    if missing:
        names = ", ".join(repr(name) for name in persona.tools if name in missing)
        raise ConfigError(
            f"{persona.path}: no plugin brings the tools {names}; install one that does, or list "
            f"the plugin that offers them under `plugins:` (see `personakit plugins`)"
        )
