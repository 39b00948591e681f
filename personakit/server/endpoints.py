"""Endpoints of plugins, which are added to a server that is asked for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from personakit.base import install_command
from personakit.errors import UsageError

if TYPE_CHECKING:
    from personakit.runner import Runner


def contributed(runner: Runner, name: str) -> Callable[[Any], None]:
    """Return the function of a plugin that adds its endpoints, see `Registry.endpoints`.

    Args:
        runner: Its plugins are asked.
        name: The name of the endpoints; the extra of that name has the plugin.

    Raises:
        UsageError: No plugin has them.
    """
    add: Callable[[Any], None] | None = runner.plugins.find("endpoints", name)
    if add is None:
        command = install_command(f"personakit[{name}]")
        raise UsageError(
            f"personakit serve --{name} needs personakit-{name}, which is not installed, or not "
            f"selected by PERSONAKIT_PLUGINS; install it: {command}"
        )
    return add
