"""The runner that the functions of the package share, imported and created on first use."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from personakit.runner import Runner


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
