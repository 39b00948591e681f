"""The tools of installed plugins that a user gives a persona by name or pattern."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field

from personakit.errors import ConfigError, did_you_mean
from personakit.permissions import allows
from personakit.persona import Persona
from personakit.plugins.bound import Bound
from personakit.plugins.manager import Plugins
from personakit.tools import Tool

_WILD = frozenset("*?[")
_SHOWN = 40


@dataclass(slots=True)
class ToolSearch:
    """Finds the tools of installed plugins.

    Some plugins must start a process or connect to find their tools, such as those of MCP servers.
    They are asked only for a name or pattern that nothing else matches.

    Attributes:
        plugins: The installed plugins.
        bound: The plugins of the persona that gets the tools.
        faults: Why the tools of some plugins could not be listed.
    """

    plugins: Plugins
    bound: Bound
    faults: list[str] = field(default_factory=list)
    _listed: dict[str, tuple[Tool, str]] | None = None

    def given(
        self,
        persona: Persona,
        patterns: Iterable[str],
        known: Collection[str],
        added: Callable[[], Collection[str]],
    ) -> list[Tool]:
        """Return the tools that match a name or pattern and that the persona does not list.

        Args:
            persona: The persona that gets the tools.
            patterns: Names of tools; ``*`` stands for any characters.
            known: The names of the tools that the caller adds itself.
            added: Returns the names of the tools that the hooks of plugins add to a request; called
                only if nothing else matches.

        Raises:
            ConfigError: A name or pattern matches no tool.
        """
        result: dict[str, Tool] = {}
        for pattern in patterns:
            names = self.registered(pattern)
            for name in names:
                if name not in known and name not in persona.tools:
                    result[name] = self.plugins.find("tool", name).tool()
            if names or any(allows([pattern], name) for name in (*persona.tools, *known)):
                continue
            listed = {n: tool for n, (tool, _) in self.listed().items() if allows([pattern], n)}
            result |= listed
            if not listed and not any(allows([pattern], name) for name in added()):
                raise ConfigError(self._missing(pattern, persona, known))
        return list(result.values())

    def registered(self, pattern: str = "*") -> list[str]:
        """Return the names of the registered tools that match a name or pattern."""
        if not _WILD & set(pattern):
            return [pattern] if self.plugins.find("tool", pattern) is not None else []
        return [name for name in self.plugins.every("tool") if allows([pattern], name)]

    def listed(self) -> dict[str, tuple[Tool, str]]:
        """Return the tools that plugins find when asked, each with the name of the plugin.

        The plugins are those with `tools_touch` and a method `tools`: the persona's with their
        options, and each other installed one with those of the config.
        """
        if self._listed is None:
            self._listed = {}
            owners = {layer.plugin: getattr(layer.function, "__self__", None)
                      for layer in (*self.bound.chat, *self.bound.tool)}  # fmt: skip
            for plugin in self.plugins.all():
                if hasattr(plugin.target, "tools_touch") and plugin.name not in owners:
                    owners[plugin.name] = None
            for name, owner in owners.items():
                self._ask(name, owner)
        return self._listed

    def _ask(self, name: str, owner: object | None) -> None:
        """Add the tools of a plugin; note its fault, which matters only if a tool is missing."""
        assert self._listed is not None
        try:
            owner = owner or self.plugins.make([name])[0].target
            find = getattr(owner, "tools", None)
            if hasattr(owner, "tools_touch") and callable(find):
                for tool in find():
                    self._listed.setdefault(tool.name, (tool, name))
        except Exception as error:
            self.faults.append(f"plugin {name!r} cannot list its tools: {error}")

    def _missing(self, pattern: str, persona: Persona, known: Collection[str]) -> str:
        owners = {name: self.plugins.owner("tool", name) for name in self.registered()}
        owners |= {name: plugin for name, (_, plugin) in self.listed().items()}
        names = [*persona.tools, *known, *owners]
        hint = did_you_mean(pattern, names)
        parts = []
        if persona.tools:
            parts.append(f"tools of {persona.name}: {', '.join(persona.tools)}")
        shown = [f"{name} ({plugin})" for name, plugin in sorted(owners.items())]
        more = [f"and {len(shown) - _SHOWN} more"] if len(shown) > _SHOWN else []
        parts.append(
            f"installed tools: {', '.join((*shown[:_SHOWN], *more))}" if shown
            else "no installed plugin provides tools (`personakit plugins` lists the plugins)"
        )  # fmt: skip
        broken = [plugin.name for plugin in self.plugins.all() if plugin.error]
        if broken:
            parts.append(f"broken plugins: {', '.join(broken)} (see `personakit plugins`)")
        more_about = "; ".join((*parts, *self.faults))
        return f"-T {pattern}: no tool of this name{hint or ';'} {more_about}"
