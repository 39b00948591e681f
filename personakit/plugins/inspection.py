"""Validation of plugins and their hooks."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import pluggy

from personakit.base import notify
from personakit.config import Config
from personakit.errors import PluginError, did_you_mean
from personakit.hookspecs import PROJECT, Specs
from personakit.plugins.order import check_rules
from personakit.registry import Registry

HOOKS = ("setup", "run", "chat", "tool", "observe")
MARK = f"{PROJECT}_impl"


def examine(name: str, target: Any) -> tuple[str, ...]:
    """Return the names of the hooks of a class, module or object.

    Raises:
        PluginError: A hook has a wrong name, wrong arguments or a wrong form, or a rule about the
            order of plugins is invalid.
    """
    check_rules(name, target)
    checker = pluggy.PluginManager(PROJECT)
    checker.add_hookspecs(Specs)
    found = []
    try:
        checker.register(target, name)
        checker.check_pending()
        callers = checker.get_hookcallers(target) or []
    except pluggy.PluginValidationError as error:
        raise PluginError(_explain(error, target), plugin=name) from None
    for hook in HOOKS:
        written = inspect.getattr_static(target, hook, None)
        if hasattr(written, MARK) and not hasattr(getattr(target, hook), MARK):
            raise PluginError(f"put @staticmethod above its @hookimpl of {hook!r}", plugin=name)
    for caller in callers:
        implementation = caller.get_hookimpls()[0]
        function = getattr(target, caller.name, None)
        if not hasattr(function, MARK):
            other = implementation.function.__name__
            raise PluginError(
                f"its hook {other!r} must be called {caller.name!r}: rename it", plugin=name
            )
        wrapper = implementation.wrapper or implementation.hookwrapper
        if wrapper or inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise PluginError(
                f"hook {caller.name!r} is a generator or wrapper, expected a plain function: "
                f"write `async def {caller.name}(request, send)` and `await send(request)`",
                plugin=name,
            )
        ordered = [key for key in ("tryfirst", "trylast") if getattr(implementation, key)]
        if ordered:
            raise PluginError(
                f"hook {caller.name!r} is marked {ordered[0]}, but the order is that of the "
                f"persona's list; remove {ordered[0]} from its @hookimpl",
                plugin=name,
            )
        _check_state(name, target, caller.name, function)
        found.append(caller.name)
    if not found:
        hooks = ", ".join(HOOKS)
        raise PluginError(f"it has no hook; mark one of {hooks} with @hookimpl", plugin=name)
    return tuple(sorted(found, key=HOOKS.index))


def _check_state(name: str, target: Any, hook: str, function: Any) -> None:
    """Check that a hook that names `state` belongs to a plugin with a `State`.

    Raises:
        PluginError: It has none.
    """
    if "state" in inspect.signature(function).parameters and not callable(
        getattr(target, "State", None)
    ):
        raise PluginError(
            f"hook {hook!r} names the argument `state`, but the plugin has no class `State`, of "
            f"which each run gets an instance; add it",
            plugin=name,
        )


def _explain(error: pluggy.PluginValidationError, target: Any) -> str:
    message = " ".join(str(error).split())
    if message.startswith("unknown hook"):
        name = message.split("'")[1]
        return f"unknown hook {name!r}{did_you_mean(name, HOOKS)} (hooks: {', '.join(HOOKS)})"
    for hook in HOOKS:
        if f"hook {hook!r}" in message:
            spec = inspect.signature(getattr(Specs, hook))
            allowed = ", ".join(name for name in spec.parameters if name != "self")
            actual = inspect.signature(getattr(target, hook))
            return f"hook {hook}{actual} has unknown arguments; expected {hook}({allowed})"
    return message


def setup_of(target: Any) -> Callable[[Registry], None]:
    """Return the setup hook of a plugin, ready to be called."""
    if not isinstance(target, type) or not _is_method(target, "setup"):
        return target.setup  # type: ignore[no-any-return]
    raise PluginError(
        "its setup hook is a method, but setup runs before the options are known; "
        "put @staticmethod above its @hookimpl and remove `self`"
    )


def notify_unknown(config: Config, installed: tuple[str, ...]) -> None:
    """Notify the user of the plugins in PERSONAKIT_PLUGINS that are not installed, once.

    Args:
        config: The user's settings.
        installed: The names of all installed plugins.
    """
    if config.select and "PERSONAKIT_PLUGINS" in config.environ:
        for name in sorted(config.select.difference(installed)):
            _notify_unknown(name, installed)


@functools.cache
def _notify_unknown(name: str, installed: tuple[str, ...]) -> None:
    names = f" (installed: {', '.join(installed)})" if installed else " (no plugins are installed)"
    notify(
        f"personakit: PERSONAKIT_PLUGINS: no plugin {name!r} is installed"
        f"{did_you_mean(name, installed) or names}"
    )


def _is_method(target: type, name: str) -> bool:
    return not isinstance(inspect.getattr_static(target, name), staticmethod | classmethod)


def say(error: BaseException) -> str:
    """Return the type and the message of an error."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
