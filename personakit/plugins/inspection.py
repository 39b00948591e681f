"""Inspecting a plugin: which hooks it has, and whether they are hooks."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pluggy

from personakit.errors import PluginError, did_you_mean
from personakit.hookspecs import PROJECT, Specs
from personakit.registry import Registry

HOOKS = ("setup", "chat", "tool", "observe")
MARK = f"{PROJECT}_impl"


def examine(name: str, target: Any) -> tuple[str, ...]:
    """Return the hooks that a class, module or object has.

    Raises:
        PluginError: A hook has a wrong name, wrong arguments or a wrong form.
    """
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
                f"its hook {other!r} has another name: call it {caller.name}", plugin=name
            )
        wrapper = implementation.wrapper or implementation.hookwrapper
        if wrapper or inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise PluginError(
                f"hook {caller.name!r} is a generator or wrapper; personakit runs plain functions: "
                f"write `async def {caller.name}(request, send)` and `await send(request)`",
                plugin=name,
            )
        ordered = [key for key in ("tryfirst", "trylast") if getattr(implementation, key)]
        if ordered:
            raise PluginError(
                f"hook {caller.name!r} asks for a place of its own, but the order is that of the "
                f"persona's list; take {ordered[0]} out of its @hookimpl",
                plugin=name,
            )
        found.append(caller.name)
    if not found:
        hooks = ", ".join(HOOKS)
        raise PluginError(f"it has no hook; mark one of {hooks} with @hookimpl", plugin=name)
    return tuple(sorted(found, key=HOOKS.index))


def _explain(error: pluggy.PluginValidationError, target: Any) -> str:
    message = " ".join(str(error).split())
    if message.startswith("unknown hook"):
        name = message.split("'")[1]
        return f"unknown hook {name!r}{did_you_mean(name, HOOKS)} (hooks: {', '.join(HOOKS)})"
    for hook in HOOKS:
        if f"hook {hook!r}" in message:
            wanted = inspect.signature(getattr(Specs, hook))
            allowed = ", ".join(name for name in wanted.parameters if name != "self")
            given = inspect.signature(getattr(target, hook))
            return f"hook {hook}{given} names other arguments than {hook}({allowed})"
    return message


def setup_of(target: Any) -> Callable[[Registry], None]:
    """Return the setup hook of a plugin, bound."""
    if not isinstance(target, type) or not _is_method(target, "setup"):
        return target.setup  # type: ignore[no-any-return]
    raise PluginError(
        "its setup hook is a method, but setup runs before any options are known; "
        "put @staticmethod above its @hookimpl and leave out `self`"
    )


def _is_method(target: type, name: str) -> bool:
    return not isinstance(inspect.getattr_static(target, name), staticmethod | classmethod)
