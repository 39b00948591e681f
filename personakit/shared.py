"""The runner that the functions of the package share, imported and created on first use."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from personakit.runner import Runner

F = TypeVar("F", bound=Callable[..., Any])


def default() -> Runner:
    """Return the shared runner, which is created on first use."""
    from personakit.runner import Runner, default_runner  # noqa: PLC0415

    # A cache does not keep two threads from creating a runner each.
    with Runner._sharing:
        return default_runner()


def is_loaded() -> bool:
    """Return whether the shared runner is there; its imports take a while."""
    # A thread may be importing the module, which then has only some of its names.
    made = getattr(sys.modules.get("personakit.runner"), "default_runner", None)
    return made is not None and made.cache_info().currsize > 0


async def loaded() -> Runner:
    """Return the shared runner, which is created in a thread."""
    if is_loaded():
        return default()
    import asyncio  # noqa: PLC0415

    return await asyncio.to_thread(default)


class _Behind:
    """What `inspect` finds behind a function of the package: the method of the shared runner."""

    def __init__(self, name: str) -> None:
        self._name = name

    @property
    def __wrapped__(self) -> Any:
        from personakit.runner import Runner  # noqa: PLC0415

        return getattr(Runner, self._name)

    @property
    def __signature__(self) -> Any:
        import inspect  # noqa: PLC0415

        whole = inspect.signature(self.__wrapped__)
        return whole.replace(parameters=[*whole.parameters.values()][1:])


def as_runner(function: F) -> F:
    """Show the options of a function one by one, as the method of the runner does."""
    function.__wrapped__ = _Behind(function.__name__)  # type: ignore[attr-defined]
    return function
