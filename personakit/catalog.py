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
from personakit.errors import PersonaNotFound, TemplateError
from personakit.frozen import FrozenDict, freeze
from personakit.library import Library
from personakit.messages import Response
from personakit.persona import Declared, Persona, Reference
from personakit.pipeline import Options, check
from personakit.plugins import Bound, Made, Plugins

if TYPE_CHECKING:
    from personakit.output import Output
    from personakit.templates import Compiled, Templates

Reader = Callable[[Response], Response]


class Known:
    """What is made of a persona once.

    Attributes:
        declared: Its variables, ready to take values.
        parameters: Those of every request, the config's and its own.
        bound: Its plugins, once they are bound.
        compiled: Its templates, once they are compiled.
        reader: What reads the value of its `output:` out of an answer, once it is made.
    """

    __slots__ = ("bound", "compiled", "declared", "parameters", "reader")

    def __init__(self, persona: Persona, config: Config) -> None:
        self.declared = Declared(persona.variables)
        self.parameters = FrozenDict(
            freeze({**config.parameters, **response_format(persona, None), **persona.parameters})
        )
        self.bound: Bound | None = None
        self.compiled: Compiled | None = None
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
        self._templates: Templates | None = None
        self._known: weakref.WeakKeyDictionary[Persona, Known] = weakref.WeakKeyDictionary()
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

    def compiled(self, persona: Persona, known: Known | None = None) -> Compiled:
        """Return a persona's compiled templates.

        Args:
            persona: The persona.
            known: What `known` returns for it, where that is at hand.

        Raises:
            TemplateError: With every problem of every text.
        """
        known = known or self.known(persona)
        made = known.compiled
        if made is None or (made.files and not made.is_fresh()):
            from personakit.templates import Compiled  # noqa: PLC0415

            made = Compiled(self.templates(), persona)
            if made.problems:
                raise TemplateError(made.problems)
            known.compiled = made
        return made

    def known(self, persona: Persona) -> Known:
        """Return what is made of a persona once."""
        found = self._known.get(persona)
        if found is None:
            with self._lock:
                found = self._known.get(persona)
                if found is None:
                    found = self._known[persona] = Known(persona, self.config)
        return found

    def templates(self) -> Templates:
        """Return what compiles templates."""
        if self._templates is None:
            from personakit.templates import Templates  # noqa: PLC0415

            every = self.plugins.every
            self._templates = Templates(
                functools.partial(every, "template_filter"),
                functools.partial(every, "template_global"),
                self.library.partial,
            )
        return self._templates

    def bind(self, persona: Persona, known: Known | None = None) -> Bound:
        """Return a persona's plugins, made with their options; `known` as in `compiled`."""
        known = known or self.known(persona)
        if known.bound is None:
            with self._lock:
                if known.bound is None:
                    known.bound = self.plugins.bind(persona, self._made_outer)
        return known.bound

    def reader(self, persona: Persona, output: Any = None) -> Reader:
        """Return what reads the value out of an answer; that of a persona's `output:` is kept."""
        if output is not None:
            return reader_of(persona, output)
        known = self.known(persona)
        if known.reader is None:
            known.reader = reader_of(persona, None)
        return known.reader

    @functools.cached_property
    def _made_outer(self) -> list[Made]:
        return self.plugins.make(self._outer)


def _wanted(persona: Persona, given: Any) -> Output | None:
    """Return what a run must answer; None for any text."""
    if given is None and persona.output is None:
        return None
    from personakit.output import wanted  # noqa: PLC0415

    return wanted(persona, given)


def reader_of(persona: Persona, given: Any) -> Reader:
    """Return what reads the value out of the answer; a schema that is none is refused here."""
    output = _wanted(persona, given)
    return output.reader() if output is not None else lambda response: response


def response_format(persona: Persona, given: Any) -> Mapping[str, Any]:
    """Return the parameter that asks for an output."""
    output = _wanted(persona, given)
    return {} if output is None else {"response_format": output.response_format}


def settled(persona: Persona, options: Options) -> Options:
    """Return the options of a run, with an output made of its type, which takes a moment, once.

    Raises:
        UsageError: An option is unknown or wrong.
    """
    check(options)
    given = options.get("output")
    if given is None:
        return options
    return {**options, "output": _wanted(persona, given)}
