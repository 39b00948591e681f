"""The catalog: personas loaded, compiled and bound to their plugins, each once."""

from __future__ import annotations

import dataclasses
import functools
import os
import weakref
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from personakit.backend import Router
from personakit.base import LOADED
from personakit.config import Config, user_cache
from personakit.errors import (
    PersonaError,
    PersonakitError,
    PersonaNotFound,
    TemplateError,
    UsageError,
    shorten,
)
from personakit.frozen import FrozenDict, freeze
from personakit.library import Library, NoLoading, declared
from personakit.messages import Request, Response
from personakit.permissions import NotAllowed, OptionKind, UserOption
from personakit.persona import Declared, Document, Persona, Reference, parameters
from personakit.plugins import Bound, Made, Plugins
from personakit.providers import DEFAULT
from personakit.usage import Usage, price

if TYPE_CHECKING:
    from personakit.output import Output
    from personakit.templates import CompiledPersona, TemplateCompiler

Reader = Callable[[Response], Response]


class CatalogEntry:
    """What is built once per persona.

    Attributes:
        declared: Its variables, ready to validate values.
        model: Its own model, or the config's; empty if neither sets one, or its own is refused.
        parameters: The parameters of every request, from the config and the persona.
        defaults: Their names.
        bound: Its plugins; None until they are bound.
        compiled: Its templates; None until they are compiled.
        reader: The parser for its `output:`; None until it is first needed.
        alive: The persona; its end removes the entry.
    """

    __slots__ = (
        "alive",
        "bound",
        "compiled",
        "declared",
        "defaults",
        "model",
        "parameters",
        "reader",
    )

    def __init__(self, persona: Persona, config: Config) -> None:
        self.declared = Declared(persona.variables)
        self.model = config.resolve(persona.model or "") or config.model or ""
        self.parameters = FrozenDict(
            freeze({**config.parameters, **response_format(wanted(persona)), **persona.parameters})
        )
        self.defaults = frozenset(self.parameters)
        self.bound: Bound | None = None
        self.compiled: CompiledPersona | None = None
        self.reader: Reader | None = None
        self.alive: weakref.ref[Persona] | None = None


class Catalog:
    """The parts of a runner that do not depend on a request.

    Args:
        config: The user's settings.
        path: Folders of personas to search before all others.
        outer: Plugins around those of the config and of every persona: names or objects.

    Attributes:
        config: The user's settings.
        library: Finds personas.
        plugins: The installed plugins.
        router: Finds the endpoints of models.
        outer: The plugins around those of every persona: names or objects.
    """

    def __init__(self, config: Config, path: tuple[Path, ...], outer: tuple[Any, ...]) -> None:
        self.config = config
        self.plugins = Plugins(config)
        find_loader = functools.partial(self.plugins.find, "loader")
        folders = (*path, *config.path)
        cache = user_cache(config.environ)
        self.library = Library(folders, find_loader, cache, config.private, self._schemes, path)
        plugins = self.plugins
        self.router = Router(config, plugins.find, owner=plugins.owner, every=plugins.every)
        self.plugins.settings.keys = self.router.keys
        self.outer = (*outer, *config.plugins)
        self.plugins.contribute(outer)
        self._templates: TemplateCompiler | None = None
        # By identity: comparing personas takes longer, and equal ones may be in different files.
        self._entries: dict[int, CatalogEntry] = {}
        self._ready: set[str | Path] = set()
        self._lock = self.plugins.instances.lock
        self.plugins.instances.forget = weakref.WeakMethod(self._unbind)

    def load(self, persona: Reference) -> Persona:
        """Return a persona by name or path; return a `Persona` unchanged.

        A name or path may end in a pin, ``@`` and a version or hash: ``chef@1.0`` or
        ``chef@sha256:…`` (the first 8 digits are enough).

        Raises:
            PersonaNotFound: No persona has that name, or it does not match the pin.
            PersonaError: The file is invalid.
        """
        if isinstance(persona, Persona):
            return persona
        try:
            return self._loaded(persona)
        except PersonakitError as error:
            shorten(error)
            raise

    def _schemes(self) -> set[str]:
        """Return the schemes whose personas are listed, without importing more plugins."""
        return {*declared(), *self.plugins.every("loader", loaded=True)}

    def _loaded(self, persona: str | Path) -> Persona:
        if not isinstance(persona, str | os.PathLike):
            raise UsageError(
                f"a persona must be a name, the path of a file or a Persona, found "
                f"{type(persona).__name__}"
            )
        reference, at, pin = str(persona).rpartition("@")
        # Path.exists raises for a name that is too long.
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
                f"{found.path} does not match the pin {pin!r}: found {actual or 'no version'}; "
                f"load {reference!r} without the pin, or restore the file"
            )
        return found

    def hash(self, persona: Reference) -> str:
        """Return ``sha256:…`` over everything in a persona that can change a request."""
        return self.compiled(self.load(persona)).hash

    def compiled(self, persona: Persona) -> CompiledPersona:
        """Return a persona's compiled templates.

        Raises:
            TemplateError: A text is invalid; the error lists every problem of every text.
        """
        entry = self.entry(persona)
        made = entry.compiled
        if made is None or (made.files and not made.is_fresh()):
            from personakit.templates import CompiledPersona, placed  # noqa: PLC0415

            # A copy: an entry with a reference to its key would never be removed.
            made = CompiledPersona(self.templates(), dataclasses.replace(persona))
            if made.problems:
                raise TemplateError(placed(made.problems))
            entry.compiled = made
        return made

    def entry(self, persona: Persona) -> CatalogEntry:
        """Return the entry of a persona, created on first use."""
        key = id(persona)
        found = self._entries.get(key)
        if found is None:
            with self._lock:
                found = self._entries.get(key)
                if found is None:
                    found = self._entries[key] = CatalogEntry(persona, self.config)
                    found.alive = weakref.ref(
                        persona, functools.partial(_forget, weakref.ref(self), key)
                    )
                    if persona.model and self.plugins.names_file(persona.model):
                        found.model = ""
        return found

    def is_ready(self, persona: Reference) -> bool:
        """Return whether a run of a persona loads nothing: see `note_ready`."""
        if isinstance(persona, Persona):
            entry = self._entries.get(id(persona))
            return entry is not None and bool(entry.bound and entry.compiled)
        reference: Any = persona
        # Another value, which `load` refuses, need not have a hash.
        if not isinstance(reference, str | os.PathLike):
            return False
        if reference in self._ready:
            return True
        kept = self.library.kept(reference)
        return kept is not None and self.is_ready(kept)

    def ready(self, persona: Reference) -> Persona | None:
        """Return a persona whose run loads nothing; None if a run has to load something."""
        if self.is_ready(persona):
            with NoLoading():
                return self.load(persona)
        return None

    def load_ahead(self, personas: Iterable[Reference]) -> set[str]:
        """Load personas with their templates and plugins, the template engine and the prices.

        Returns:
            The models of the personas, and one of openai for those without a model.

        Raises:
            PersonaNotFound: A persona does not exist.
            PersonaError: A file or a template is invalid.
            ConfigError: A plugin cannot be used.
        """
        models = {f"{DEFAULT}/any"}
        for persona in personas:
            found = self.load(persona)
            self.compiled(found)
            self.bind(found)
            self.note_ready(persona)
            models.add(self.entry(found).model or f"{DEFAULT}/any")
        self.compiled(Persona.parse("system: Hi"))
        price(f"{DEFAULT}/gpt-4o-mini", Usage())
        return models

    def check(
        self, persona: Reference, variables: Mapping[str, Any], given: Mapping[str, Any] | None
    ) -> None:
        """Check what can be checked of a run without templates and plugins.

        Raises:
            UsageError: The persona, a variable or a parameter is invalid.
        """
        # A persona that a plugin has to load is checked in the run, which loads it in a thread.
        with NoLoading():
            self.entry(self.load(persona)).declared.values(variables)
        if given:
            parameters.check(given)

    def variables(self, persona: Reference) -> Iterable[str]:
        """Return the names of a persona's variables; empty if a plugin has to load it first.

        Raises:
            UsageError: The persona is invalid.
        """
        with NoLoading():
            return self.load(persona).variables
        return ()

    def note_ready(self, persona: Reference) -> None:
        """Note that a persona was loaded, compiled and bound, under the name that was given."""
        # Those that plugins load may be many, and change: see `is_ready`.
        if not isinstance(persona, Persona) and not LOADED.match(str(persona)):
            self._ready.add(persona)

    def templates(self) -> TemplateCompiler:
        """Return the template compiler, created on first use."""
        if self._templates is None:
            self._templates = self.compiler()
        return self._templates

    def compiler(self, trees: dict[str, Any] | None = None) -> TemplateCompiler:
        """Return a new template compiler, which caches nothing for runs; see `TemplateCompiler`."""
        from personakit.templates import TemplateCompiler  # noqa: PLC0415

        every = self.plugins.every
        return TemplateCompiler(
            functools.partial(every, "template_filter"),
            functools.partial(every, "template_global"),
            self.library.partial,
            trees,
        )

    def bind(self, persona: Persona) -> Bound:
        """Return a persona's plugins, instantiated with their options, once."""
        entry = self.entry(persona)
        if (bound := entry.bound) is None:
            self.plugins.instances.sweep()
            try:
                with self._lock:
                    if (bound := entry.bound) is None:
                        bound = entry.bound = self.plugins.bind(persona, self._made_outer)
            except BaseException:
                self.plugins.instances.sweep()
                raise
        return bound

    def _unbind(self) -> None:
        """Forget the plugins, which were closed."""
        for entry in list(self._entries.values()):
            entry.bound = None
        self._ready.clear()
        self.__dict__.pop("_made_outer", None)

    def reader(self, persona: Persona, output: Output | None) -> Reader | None:
        """Return the function that parses a structured answer; None for plain text.

        Args:
            persona: The persona that answers.
            output: The output that the caller asks for; None for the persona's `output:`, if any.

        Raises:
            ConfigError: The schema is invalid.
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
        """Return a request, after all plugins, with its model and in the form that this accepts.

        Raises:
            ConfigError: A tool that the persona lists is missing, or the user does not allow one.
        """
        request = self.resolved(request)
        if persona.tools:
            self.plugins.check_present(persona, {tool.name for tool in request.tools})
        if request.tools:
            self.plugins.check_tools(persona, {t.name: t.touches for t in request.tools})
        return self.router.formed(request) if request.parameters.get("response_format") else request

    def resolved(self, request: Request) -> Request:
        """Return a request with the model of its alias, if it names one."""
        model = self.config.resolve(request.model)
        return request if model == request.model else request.replace(model=model)

    def own_model(self, persona: Persona) -> str:
        """Return the model that a persona names, or that of its alias; empty if it names none.

        Raises:
            PersonaError: It is the path of a file.
        """
        if not persona.model:
            return ""
        return self.named("model", persona.model, persona.document, ("model",))

    def named(
        self, kind: OptionKind, text: str, source: Document, at: tuple[str | int, ...]
    ) -> str:
        """Return the model or persona that a persona file names, if a file may name it.

        Args:
            kind: ``model`` or ``persona``.
            text: The name. A persona may also be the path of a file below the folder of `source`.
            source: The file.
            at: The path of the name in the file.

        Raises:
            PersonaError: The text is a path that only the user may name.
        """
        try:
            mark = UserOption(kind, in_persona=kind != "model")
            result: str = self.plugins.by_persona(source)(mark, text)
            return result
        except NotAllowed as error:
            import shlex  # noqa: PLC0415

            option = f"-m {shlex.quote(text)}"
            way = f"; use `{option}`, or `model:` in the config file" if kind == "model" else ""
            raise PersonaError([source.problem(f"{kind}: {error}{way}", at)]) from None

    @functools.cached_property
    def _made_outer(self) -> list[Made]:
        return self.plugins.make(self.outer)


def _forget(catalog: weakref.ref[Catalog], key: int, _: object) -> None:
    found = catalog()
    if found is not None:
        entry = found._entries.pop(key, None)
        if entry is not None and entry.bound is not None:
            found.plugins.instances.drop(entry.bound.own)


def wanted(persona: Persona, output: Any = None) -> Output | None:
    """Return the output of a run: the caller's, else the persona's; None for plain text.

    Raises:
        ConfigError: The caller's output is neither a type nor a JSON Schema.
    """
    chosen = persona.output if output is None else output
    if chosen is None:
        return None
    from personakit.output import Output  # noqa: PLC0415

    return Output.of(chosen, persona.name)


def response_format(output: Output | None) -> Mapping[str, Any]:
    """Return the `response_format` parameter for an output."""
    return {} if output is None else {"response_format": output.response_format}


def merged_parameters(
    persona: Persona, base: FrozenDict, output: Any, given: Mapping[str, Any] | None
) -> FrozenDict:
    """Return the parameters of a request; the caller's override the persona's and config's."""
    form = response_format(wanted(persona, output)) if output is not None else {}
    if given:
        parameters.check(given)
    merged = {**base, **form, **persona.parameters, **(given or {})}
    kept = {name: value for name, value in merged.items() if value is not None}
    return FrozenDict({name: freeze(value) for name, value in kept.items()})
