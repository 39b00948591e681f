"""Plugins: finding them, loading them when needed, and binding those that a persona lists.

A plugin is imported when a persona, a command or a name needs it; a broken plugin is an error only
then.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from personakit.base import entry_points, may_have
from personakit.config import Config
from personakit.errors import ConfigError, PersonaError, PersonakitError, PluginError, did_you_mean
from personakit.hookspecs import PROJECT
from personakit.keys import Keys
from personakit.permissions import Change
from personakit.persona import Document, Persona, PluginUse
from personakit.plugins import options, order, user_options
from personakit.plugins.bound import Bound, Made
from personakit.plugins.inspection import MARK, examine, say, setup_of
from personakit.plugins.installed import Plugin, listed
from personakit.plugins.lifetime import Instances
from personakit.plugins.settings import Settings
from personakit.plugins.user_options import Settled, check_listed, check_tools
from personakit.registry import Contribution, Pending, Registry, belongs, by_plugin, of_kind

if TYPE_CHECKING:
    from importlib import metadata


@dataclass(slots=True, repr=False)
class Plugins:
    """The installed plugins.

    Attributes:
        config: The user's settings: which plugins may be loaded and listed, and their options.
        entry_points: The entry points to use; None for those of the installed distributions.
        instances: The instances of plugins that the runner created and closes.
    """

    config: Config = field(default_factory=Config)
    entry_points: Iterable[metadata.EntryPoint] | None = None
    instances: Instances = field(default_factory=Instances)
    settings: Settings = field(init=False)
    _found: dict[str, Plugin] | None = None
    _contributions: dict[tuple[str, str], Contribution] = field(default_factory=dict)
    _passed: list[tuple[str, Any]] = field(default_factory=list)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        self.settings = Settings(self.config, Keys(self.config, self.find, self.owner))

    def installed(self) -> Mapping[str, Plugin]:
        """Return the installed and selected plugins by name, without importing them."""
        with self._lock:
            if self._found is None:
                points = self.entry_points
                if points is None:
                    points = entry_points(PROJECT)
                self._found = listed(points, self.config)
            return self._found

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
                self._set_up(plugin.name, plugin.target)
        # The import of a broken plugin must not stop the others, not even with sys.exit().
        except (Exception, SystemExit) as error:
            plugin.target = None
            plugin.error = str(error) if isinstance(error, PersonakitError) else say(error)
            self._contributions.clear()
            self._contributions.update(before)

    def _set_up(self, name: str, target: Any, *, passed: bool = False) -> None:
        def settle(plugin: str, settings: type) -> Any:
            return self.settings.make(plugin, target, settings)

        setup = setup_of(target)
        # A class and its objects share a static `setup`; a method of an object is its own.
        same = [other for other, its in self._passed if its == setup]
        setup(Registry(name, self._contributions, settle, same))
        if passed:
            self._passed.append((name, setup))

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

        What they contribute stays when the same `setup` runs again, for another object of the class
        or for the installed plugin.

        Raises:
            PluginError: Two plugins contribute the same name.
        """
        for item in items:
            if not isinstance(item, str | PluginUse) and hasattr(
                getattr(item, "setup", None), MARK
            ):
                name = getattr(item, "__name__", type(item).__name__)
                self._set_up(name, item, passed=True)

    def make(self, items: Iterable[Any]) -> list[Made]:
        """Create the plugins around those of every persona.

        Args:
            items: Names, entries of a persona's list, or objects with hooks.

        Raises:
            ConfigError: A plugin is not installed, or its options are invalid.
            PluginError: A plugin is broken.
        """
        made = list[Made]()
        with self.instances.kept(made):
            for item in items:
                made.append(self._made_outer(item))
        return made

    def bind(self, persona: Persona, outer: Iterable[Made] = ()) -> Bound:
        """Create the plugins of a persona and bind their hooks.

        Args:
            persona: The persona; its `plugins:` are the inner layers.
            outer: The outer plugins, from `make`.

        Raises:
            PersonaError: A plugin is not installed, its options are invalid, or a rule forbids the
                order.
            PluginError: A plugin is broken.
        """
        own = list[Made]()
        with self.instances.kept(own):
            return self._bind(persona, list(outer), own)

    def _bind(self, persona: Persona, outer: list[Made], own: list[Made]) -> Bound:
        problems = list[Any]()
        for use in persona.plugins:
            try:
                check_listed(self.config, use)
                own.append(self._made(use))
            except PersonaError as error:
                problems += error.problems
            except ConfigError as error:
                problems += [(use.document or persona.document).problem(str(error), use.at)]
        if problems:
            raise PersonaError(problems)
        entries = [order.Entry(one.name, one.target, one.use, of_user=True) for one in outer]
        entries += [order.Entry(one.name, one.target, one.use) for one in own]
        order.check(entries, persona)
        tools = {name: self.find("tool", name) for name in persona.tools}
        made = [*outer, *own]
        # Before a secret is looked up: a tool that is not allowed must not cause that.
        self._check_touches(persona, tools, made)
        self._check_settings(persona, tools)
        bound = Bound.of(made, tuple(tool.tool() for tool in tools.values() if tool is not None))
        closes = any(one.target in self.instances for one in made)
        return replace(
            bound,
            own=tuple(one.target for one in own),
            instances=self.instances if closes else None,
        )

    def _check_settings(self, persona: Persona, tools: Mapping[str, Pending | None]) -> None:
        """Check the settings of the plugins whose tools a persona lists.

        Raises:
            ConfigError: A secret is missing.
            PluginError: No plugin provides a tool, and the settings of one are invalid.
        """
        self.settings.look_up({self.owner("tool", n) for n, tool in tools.items() if tool})
        if None in tools.values():
            for plugin in self.all():
                if plugin.error and plugin.name in self.config.plugin_options:
                    self.usable(plugin.name)

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
        check_tools(self.config, persona, tools)

    def check_present(self, persona: Persona, names: Collection[str]) -> None:
        """Check that a request that all plugins have seen has every tool that the persona lists.

        Raises:
            ConfigError: A tool is missing.
        """
        missing = [name for name in persona.tools if name not in names]
        if missing:
            tools, them = ("tool", "it") if len(missing) == 1 else ("tools", "them")
            raise ConfigError(
                f"{persona.path}: no installed plugin provides {tools} "
                f"{', '.join(map(repr, missing))}; install one that does, or list the plugin that "
                f"adds {them} under `plugins:` (see `personakit plugins`)"
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
                check_listed(self.config, use)
            except ConfigError as error:
                problems.append(source.problem(str(error), use.at))
                continue
            if use.name not in self.installed() and self.find("plugin", use.name) is None:
                problems.append(source.problem(self._missing(use.name), use.at))
        if problems:
            raise PersonaError(problems)

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
        if isinstance(item, type):
            self.instances.add(plugin.name, instance)
        return Made(plugin.name, instance, False, plugin.origin)

    def _made(self, use: PluginUse, *, user: bool = False) -> Made:
        """Create the plugin of an entry in the list of a persona or, with `user`, of the config."""
        plugin = self.usable(use.name)
        settled = self.settled(plugin, use, user=user)
        if settled.faults:
            raise options.refusal(settled.faults, use, user=user)
        secret = functools.partial(self.settings.secret, use.name)
        instance = options.make(
            plugin.origin, plugin.target, settled.given,
            plugin=use.name, change=settled, secret=secret,
        )  # fmt: skip
        if isinstance(plugin.target, type):
            self.instances.add(use.name, instance)
        return Made(use.name, instance, use.on_error == "skip", plugin.origin, use)

    def settled(self, plugin: Plugin, use: PluginUse, *, user: bool = False) -> Settled:
        """Return the options of an entry, above those of the config's `plugin_options`.

        Args:
            plugin: The plugin.
            use: The entry.
            user: Whether the entry is the config's; a persona cannot set the user's options.
        """
        check = None if user else self.by_persona(use.document)
        beneath = self.settings.beneath(plugin.name, plugin.target)
        return user_options.settle(plugin.origin, plugin.target, use, self.config, check, beneath)

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
