"""The installed plugins: found by entry point, without importing them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from personakit.config import Config
from personakit.plugins.inspection import notify_unknown

if TYPE_CHECKING:
    from importlib import metadata


@dataclass(slots=True)
class Plugin:
    """An installed plugin.

    Attributes:
        name: The name that personas list it under.
        distribution: The package that provides it; empty for a plugin passed in code.
        version: The version of the package.
        target: The class, module or object; None if it is not loaded or is broken.
        hooks: The names of its hooks.
        error: Why it is broken; empty if it is not.
    """

    name: str
    distribution: str = ""
    version: str = ""
    target: Any = None
    hooks: tuple[str, ...] = ()
    error: str = ""
    load: Callable[[], Any] | None = None

    @property
    def origin(self) -> str:
        """The plugin's name in error messages."""
        package = f" (of {self.distribution} {self.version})" if self.distribution else ""
        return f"plugin {self.name!r}{package}"


def listed(points: Iterable[metadata.EntryPoint], config: Config) -> dict[str, Plugin]:
    """Return the plugins that entry points name and the config selects, by name."""
    plugins: dict[str, Plugin] = {}
    points = sorted(points, key=lambda point: point.name)
    notify_unknown(config, tuple(point.name for point in points))
    for point in points:
        if config.select is not None and point.name not in config.select:
            continue
        dist = point.dist
        plugin = Plugin(
            point.name, dist.name if dist else "", dist.version if dist else "", load=point.load
        )
        twin = plugins.get(point.name)
        if twin is not None and twin.distribution != plugin.distribution:
            twin.error = (
                f"two packages provide plugin {point.name!r}: {twin.distribution} and "
                f"{plugin.distribution}; uninstall one"
            )
            continue
        plugins[point.name] = plugin
    return plugins
