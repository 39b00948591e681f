"""Personas in notebooks: the magic ``%%persona``, and forms."""

from __future__ import annotations

from typing import TYPE_CHECKING

from personakit.base import door

if TYPE_CHECKING:
    from personakit.notebook.extension import load_ipython_extension as load_ipython_extension
    from personakit.notebook.extension import unload_ipython_extension as unload_ipython_extension
    from personakit.notebook.typed import notebook_asker as notebook_asker
    from personakit.notebook.widgets import form as form
else:
    __getattr__, __dir__, __all__ = door(
        __name__,
        {
            "extension": "load_ipython_extension unload_ipython_extension",
            "typed": "notebook_asker",
            "widgets": "form",
        },
    )
