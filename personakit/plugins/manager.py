"""Plugins: finding them, loading them when needed, and binding those that a persona lists.

A plugin is imported when a persona, a command or a name needs it; a broken plugin is an error only
then.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from personakit.base import entry_points, may_have
from personakit.config import Config
from personakit.errors import ConfigError, PersonaError, PersonakitError, PluginError, did_you_mean
from personakit.hookspecs import PROJECT
from personakit.permissions import Change, allows
from personakit.persona import Document, Persona, PluginUse
from personakit.pipeline import Layer
from personakit.plugins import options, user_options
from personakit.plugins.inspection import MARK, examine, notify_unknown, say, setup_of
from personakit.plugins.user_options import Settled
from personakit.registry import Contribution, Pending, Registry, belongs, by_plugin, of_kind
from personakit.tools import Tool

if TYPE_CHECKING:
    from importlib import metadata

_ARGUMENTS = frozenset(("request", "call", "send", "persona"))


class Made(NamedTuple):
    """A plugin instance, created with its options.

    Attributes:
        name: The plugin's name.
        target: The object whose hooks are bound.
        skip: Whether to skip the plugin if it fails before it sends.
        origin: The plugin's name in error messages.
    """

    name: str
    target: Any
    skip: bool
    origin: str


@dataclass(slots=True)
class Plugin:
    """An installed plugin.

    Attributes:
        name: The name that personas list it under.
        distribution: The package that provides it; empty for a plugin passed in code.
        version: The version of the package.
        target: The class, module or object; None if it is not loaded or is broken.
        hooks: The names of its hooks.
        error: Why it is broken; empty if it is not.
    """

    name: str
    distribution: str = ""
    version: str = ""
    target: Any = None
    hooks: tuple[str, ...] = ()
    error: str = ""
    load: Callable[[], Any] | None = None

    @property
    def origin(self) -> str:
        """The plugin's name in error messages."""
        package = f" (of {self.distribution} {self.version})" if self.distribution else ""
        return f"plugin {self.name!r}{package}"


@dataclass(frozen=True, slots=True)
class Bound:
    """The plugins of one persona, created with their options.

    Attributes:
        chat: The layers around a model call, outermost first.
        tool: The layers around a tool call, outermost first.
        observers: The `observe` hooks, as (plugin name, hook) pairs.
        tools: The tools that the persona lists and a plugin contributes.
    """

    chat: tuple[Layer, ...] = ()
    tool: tuple[Layer, ...] = ()
    observers: tuple[tuple[str, Callable[..., Any]], ...] = ()
    tools: tuple[Tool, ...] = ()

    def without(self, plugins: frozenset[str]) -> Bound:
        """Return a copy without some plugins."""
        if not plugins:
            return self
        return Bound(
            tuple(layer for layer in self.chat if layer.plugin not in plugins),
            tuple(layer for layer in self.tool if layer.plugin not in plugins),
            tuple(pair for pair in self.observers if pair[0] not in plugins),
            self.tools,
        )


@dataclass(slots=True, repr=False)
class Plugins:
    """The installed plugins.

    Attributes:
        config: The user's settings: which plugins may be loaded and listed, and their options.
        entry_points: The entry points to use; None for those of the installed distributions.
    """

    config: Config = field(default_factory=Config)
    entry_points: Iterable[metadata.EntryPoint] | None = None
    _found: dict[str, Plugin] | None = None
    _contributions: dict[tuple[str, str], Contribution] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def installed(self) -> Mapping[str, Plugin]:
        """Return the installed and selected plugins by name, without importing them."""
        with self._lock:
            if self._found is None:
                points = self.entry_points
                if points is None:
                    points = entry_points(PROJECT)
                self._found = self._listed(points)
            return self._found

    def _listed(self, points: Iterable[metadata.EntryPoint]) -> dict[str, Plugin]:
        plugins: dict[str, Plugin] = {}
        points = sorted(points, key=lambda point: point.name)
        notify_unknown(self.config, tuple(point.name for point in points))
        for point in points:
            if self.config.select is not None and point.name not in self.config.select:
                continue
            dist = point.dist
            plugin = Plugin(
                point.name, dist.name if dist else "", dist.version if dist else "", load=point.load
            )
            twin = plugins.get(point.name)
            if twin is not None and twin.distribution != plugin.distribution:
                twin.error = (
                    f"two packages provide plugin {point.name!r}: {twin.distribution} and "
                    f"{plugin.distribution}; uninstall one"
                )
                continue
            plugins[point.name] = plugin
        return plugins

    def load(self, name: str) -> Plugin:
        """Import a plugin and call its `setup`, once; on failure set its `error`."""
        with self._lock:
            plugin = self.installed()[name]
            if plugin.target is None and not plugin.error:
                self._load(plugin)
            return plugin

    def _load(self, plugin: Plugin) -> None:
        before = dict(self._contributions)
        try:
            assert plugin.load is not None
            plugin.target = plugin.load()
            plugin.hooks = examine(plugin.name, plugin.target)
            if "setup" in plugin.hooks:
                setup_of(plugin.target)(Registry(plugin.name, self._contributions))
        # The import of a broken plugin must not stop the others, not even with sys.exit().
        except (Exception, SystemExit) as error:
            plugin.target = None
            plugin.error = str(error) if isinstance(error, PersonakitError) else say(error)
            self._contributions.clear()
            self._contributions.update(before)

    def all(self) -> list[Plugin]:
        """Load all plugins and return them, sorted by name."""
        return [self.load(name) for name in self.installed()]

    def provides(self, plugin: str) -> list[str]:
        """Return ``kind:name`` of every contribution of a loaded plugin."""
        return list(by_plugin(self._contributions, plugin))

    def find(self, kind: str, name: str, *, alone: bool = False) -> Any:
        """Return a contribution, loading plugins until one provides it; None if none does.

        The plugin of the same name is tried first; `alone` imports no other (see `belongs`).
        """
        with self._lock:
            known = self._found is not None or self.entry_points is not None
            installed = self.installed() if known or not alone or may_have(PROJECT, name) else {}
            for candidate in sorted(installed, key=lambda other: other != name):
                if (kind, name) not in self._contributions and not (alone and candidate != name):
                    self.load(candidate)
            found = self._contributions.get((kind, name))
            chance = alone and not belongs(found, self._contributions, installed)
            return None if found is None or chance else found.value

    def owner(self, kind: str, name: str) -> str:
        """Return the plugin of a contribution that `find` returned."""
        return self._contributions[kind, name].plugin

    def every(self, kind: str, *, loaded: bool = False) -> dict[str, Any]:
        """Return all contributions of a kind by name; unless `loaded`, this loads all plugins."""
        if not loaded:
            self.all()
        return of_kind(self._contributions, kind)

    def contribute(self, items: Iterable[Any]) -> None:
        """Call `setup` of the plugins among `items` that are objects, not names.

        Raises:
            PluginError: Two plugins contribute the same name.
        """
        for item in items:
            if not isinstance(item, str | PluginUse) and hasattr(
                getattr(item, "setup", None), MARK
            ):
                name = getattr(item, "__name__", type(item).__name__)
                setup_of(item)(Registry(name, self._contributions))

    def make(self, items: Iterable[Any]) -> list[Made]:
        """Create the plugins around those of every persona.

        Args:
            items: Names, entries of a persona's list, or objects with hooks.

        Raises:
            ConfigError: A plugin is not installed, or its options are invalid.
            PluginError: A plugin is broken.
        """
        return [self._made_outer(item) for item in items]

    def bind(self, persona: Persona, outer: Iterable[Made] = ()) -> Bound:
        """Create the plugins of a persona and bind their hooks.

        Args:
            persona: The persona; its `plugins:` are the inner layers.
            outer: The outer plugins, from `make`.

        Raises:
            PersonaError: A plugin is not installed, or its options are invalid.
            PluginError: A plugin is broken.
        """
        made, problems = list(outer), list[Any]()
        for use in persona.plugins:
            try:
                self._check_allowed(use)
                made.append(self._made(use))
            except PersonaError as error:
                problems += error.problems
            except ConfigError as error:
                problems += [(use.document or persona.document).problem(str(error), use.at)]
        if problems:
            raise PersonaError(problems)
        tools = {name: self.find("tool", name) for name in persona.tools}
        self._check_touches(persona, tools, made)
        return _bound(made, tuple(tool.tool() for tool in tools.values() if tool is not None))

    def _check_touches(
        self, persona: Persona, tools: Mapping[str, Pending | None], made: list[Made]
    ) -> None:
        """Check that the user allows the tools that a persona lists, before a hook is called.

        Args:
            persona: The persona.
            tools: Its tools by name; None for one that a plugin adds to the request.
            made: Its plugins.

        Raises:
            ConfigError: A tool that touches something is not allowed.
        """
        added = {what for one in made for what in getattr(one.target, "tools_touch", ())}
        self.check_tools(
            persona,
            {n: sorted(added) if tool is None else tool.touched for n, tool in tools.items()},
        )

    def check_tools(self, persona: Persona, tools: Mapping[str, Collection[str]]) -> None:
        """Check that the user allows the tools that touch something.

        Args:
            persona: The persona that gets them.
            tools: What each tool touches, by its name.

        Raises:
            ConfigError: A tool is not allowed.
        """
        allowed = self.config.allow_tools
        refused = {n: what for n, what in tools.items() if what and not allows(allowed, n)}
        if not refused:
            return
        listed = " and ".join(f"{name!r} ({', '.join(what)})" for name, what in refused.items())
        raise ConfigError(
            f"{persona.path}: the persona may not use {listed}: a tool that touches something "
            f"outside of the run needs the user's permission; to allow it for one run, add "
            f"`-T {next(iter(refused))}`; for every run, write "
            f"`allow_tools: [{', '.join(refused)}]` in {self.config.file or 'the config file'} "
            f"(allowed now: {', '.join(sorted(allowed)) or 'none'})"
        )

    def check(self, persona: Persona) -> None:
        """Check that the plugins of a persona are installed; installed ones are not imported.

        Raises:
            PersonaError: A plugin is not installed or not allowed.
        """
        problems = []
        for use in persona.plugins:
            source = use.document or persona.document
            try:
                self._check_allowed(use)
            except ConfigError as error:
                problems.append(source.problem(str(error), use.at))
                continue
            if use.name not in self.installed() and self.find("plugin", use.name) is None:
                problems.append(source.problem(self._missing(use.name), use.at))
        if problems:
            raise PersonaError(problems)

    def _check_allowed(self, use: PluginUse) -> None:
        allowed = self.config.allow_plugins
        if allowed is not None and not allows(allowed, use.name):
            listed = ", ".join(sorted(allowed)) or "none"
            raise ConfigError(
                f"plugin {use.name!r} may not be listed by a persona: `allow_plugins` of the "
                f"config file allows {listed}"
            )

    def _missing(self, name: str) -> str:
        names = sorted({*self.installed(), *of_kind(self._contributions, "plugin")})
        hint = did_you_mean(name, names)
        listed = f" (installed: {', '.join(names)})" if names else " (no plugins are installed)"
        limit = (
            "" if self.config.select is None else "; PERSONAKIT_PLUGINS limits which may be used"
        )
        return f"no plugin {name!r} is installed{hint or listed}{limit}"

    def _made_outer(self, item: Any) -> Made:
        if isinstance(item, str):
            item = PluginUse(item)
        if isinstance(item, PluginUse):
            return self._made(item, user=True)
        plugin = Plugin(getattr(item, "__name__", type(item).__name__))
        try:
            examine(plugin.name, item)
        except PluginError as error:
            raise PluginError(f"{plugin.origin} is broken: {error}", plugin=plugin.name) from None
        instance = options.make(plugin.origin, item, {}, plugin=plugin.name)
        return Made(plugin.name, instance, False, plugin.origin)

    def _made(self, use: PluginUse, *, user: bool = False) -> Made:
        """Create the plugin of an entry in the list of a persona or, with `user`, of the config."""
        plugin = self.usable(use.name)
        settled = self.settled(plugin, use, user=user)
        if settled.faults:
            raise options.refusal(settled.faults, use, user=user)
        instance = options.make(
            plugin.origin, plugin.target, settled.given, plugin=use.name, change=settled
        )
        return Made(use.name, instance, use.on_error == "skip", plugin.origin)

    def settled(self, plugin: Plugin, use: PluginUse, *, user: bool = False) -> Settled:
        """Return the options of an entry, above those of the config's `plugin_options`.

        Args:
            plugin: The plugin.
            use: The entry.
            user: Whether the entry is the config's; a persona cannot set the user's options.
        """
        check = None if user else self.by_persona(use.document)
        return user_options.settle(plugin.origin, plugin.target, use, self.config, check)

    def paths(self, use: PluginUse) -> list[str]:
        """Return the paths that the options of an entry name.

        Raises:
            PersonakitError: The plugin cannot be used, or the persona may not set an option.
        """
        settled = self.settled(self.usable(use.name), use)
        if settled.faults:
            raise ConfigError(settled.faults[0].message)
        return settled.paths

    def by_persona(self, source: Document | None) -> Change:
        """Return the check of what a persona file names; it raises `NotAllowed`."""
        folder = source.folder if source else None
        return user_options.by_persona(folder, self.config, self.names_file)

    def names_file(self, model: str) -> bool:
        """Return whether the name of a model is the path of a file, which is the user's."""
        name, _, rest = model.partition("/")
        provider = None if name in self.config.providers else self.find("provider", name)
        return bool(provider is not None and provider.names_file and provider.names_file(rest))

    def usable(self, name: str) -> Plugin:
        """Load a plugin and return it.

        Raises:
            ConfigError: The plugin is not installed.
            PluginError: The plugin is broken.
        """
        if name not in self.installed():
            target = self.find("plugin", name)
            if target is not None:
                return Plugin(name, target=target, hooks=examine(name, target))
            raise ConfigError(self._missing(name))
        plugin = self.load(name)
        if plugin.error:
            raise PluginError(
                f"{plugin.origin} is broken: {plugin.error}; see `personakit plugins`", plugin=name
            )
        return plugin


def _bound(made: list[Made], tools: tuple[Tool, ...]) -> Bound:
    layers: dict[str, list[Layer]] = {"chat": [], "tool": []}
    observers = []
    for name, plugin, skip, origin in made:
        for hook, kept in layers.items():
            function = getattr(plugin, hook, None)
            if function is not None and hasattr(function, MARK):
                wants = _ARGUMENTS & inspect.signature(function).parameters.keys()
                kept.append(Layer(name, hook, function, wants, skip, origin))
        watch = getattr(plugin, "observe", None)
        if watch is not None and hasattr(watch, MARK):
            observers.append((name, watch))
    return Bound(tuple(layers["chat"]), tuple(layers["tool"]), tuple(observers), tools)
