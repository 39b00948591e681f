"""The door of a room: its names, each loaded from its module when it is first used (PEP 562)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def door(
    room: str, names: Mapping[str, str], modules: str = ""
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return `__getattr__`, `__dir__` and `__all__` of a package.

    Args:
        room: The package.
        names: The public names of each of its modules, separated by spaces.
        modules: The modules that are used whole, such as ``deadline`` in ``deadline.left()``.
    """
    homes = {name: module for module, listed in names.items() for name in listed.split()}
    whole = modules.split()

    def load(name: str) -> Any:
        if name in whole:
            return import_module(f"{room}.{name}")
        module = homes.get(name)
        if module is None:
            raise AttributeError(f"module {room!r} has no attribute {name!r}")
        value = getattr(import_module(f"{room}.{module}"), name)
        setattr(sys.modules[room], name, value)
        return value

    listed = sorted([*homes, *whole])
    return load, lambda: listed, listed
