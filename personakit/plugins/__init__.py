"""Plugins: discovery, validation and binding to a persona's list."""

from __future__ import annotations

from typing import TYPE_CHECKING

from personakit.base import door

if TYPE_CHECKING:
    from personakit.plugins import options as options
    from personakit.plugins import order as order
    from personakit.plugins.bound import Bound as Bound
    from personakit.plugins.bound import Made as Made
    from personakit.plugins.installed import Plugin as Plugin
    from personakit.plugins.lifetime import close_now as close_now
    from personakit.plugins.manager import Plugins as Plugins
    from personakit.plugins.settings import data_folder as data_folder
    from personakit.plugins.tool_search import ToolSearch as ToolSearch
else:
    __getattr__, __dir__, __all__ = door(
        __name__,
        {
            "bound": "Bound Made",
            "installed": "Plugin",
            "lifetime": "close_now",
            "manager": "Plugins",
            "settings": "data_folder",
            "tool_search": "ToolSearch",
        },
        modules="options order",
    )
