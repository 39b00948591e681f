"""The plugins of one persona, with their hooks ready to be called."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from personakit.persona import PluginUse
from personakit.pipeline import Layer
from personakit.plugins.inspection import MARK
from personakit.plugins.lifetime import Instances
from personakit.tools import Tool

_ARGUMENTS = frozenset(("request", "call", "send", "persona", "state"))


class Made(NamedTuple):
    """A plugin instance, created with its options.

    Attributes:
        name: The plugin's name.
        target: The object whose hooks are bound.
        skip: Whether to skip the plugin if it fails before it sends.
        origin: The plugin's name in error messages.
        use: The entry of a persona or of the config; None if it was passed in code.
    """

    name: str
    target: Any
    skip: bool
    origin: str
    use: PluginUse | None = None


@dataclass(frozen=True, slots=True)
class Bound:
    """The plugins of one persona, created with their options.

    Attributes:
        chat: The layers around a model call, outermost first.
        tool: The layers around a tool call, outermost first.
        observers: The `observe` hooks.
        tools: The tools that the persona lists and a plugin contributes.
        run: The layers around a whole run, outermost first.
        every: The layers around each request that is sent.
        own: The instances of the persona's own plugins.
        instances: The runner's instances, if one of these has to be closed.
    """

    chat: tuple[Layer, ...] = ()
    tool: tuple[Layer, ...] = ()
    observers: tuple[Layer, ...] = ()
    tools: tuple[Tool, ...] = ()
    run: tuple[Layer, ...] = ()
    every: tuple[Layer, ...] = ()
    own: tuple[Any, ...] = ()
    instances: Instances | None = None

    def without(self, plugins: frozenset[str]) -> Bound:
        """Return a copy without some plugins."""
        kept: dict[str, Any] = {
            name: tuple(layer for layer in getattr(self, name) if layer.plugin not in plugins)
            for name in ("chat", "tool", "observers", "run")
        }
        return replace(self, **kept)

    @classmethod
    def of(cls, made: list[Made], tools: tuple[Tool, ...]) -> Bound:
        """Return the hooks of plugins, ready to be called."""
        layers: dict[str, list[Layer]] = {name: [] for name in ("run", "chat", "tool", "observe")}
        every: list[Layer] = []
        for name, plugin, skip, origin, _ in made:
            state = getattr(plugin, "State", None)
            for hook, kept in layers.items():
                function = getattr(plugin, hook, None)
                if function is None or not hasattr(function, MARK):
                    continue
                wants = _ARGUMENTS & inspect.signature(function).parameters.keys()
                layer = Layer(name, hook, function, wants, skip, origin, id(plugin), state)
                inmost = hook == "chat" and getattr(plugin, "every_call", False)
                (every if inmost else kept).append(layer)
        run, chat, tool, observers = map(tuple, layers.values())
        return cls(chat, tool, observers, tools, run, tuple(every))
