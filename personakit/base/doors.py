"""Lazy exports of a package: each name is loaded from its module on first use (PEP 562)."""

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
        names: For each module of the package, its public names, separated by spaces.
        modules: The modules that are exported themselves, such as ``deadline`` for
            ``deadline.left()``.
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
