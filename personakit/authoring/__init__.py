"""Create persona files, plugin packages, and the JSON Schema for editors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from personakit.base import door

if TYPE_CHECKING:
    from personakit.authoring import drafts as drafts
    from personakit.authoring import persona_files as persona_files
    from personakit.authoring import writer as writer
    from personakit.authoring.drafts import Draft as Draft
    from personakit.authoring.scaffold import write_plugin as write_plugin
    from personakit.authoring.schema import persona_schema as persona_schema
else:
    __getattr__, __dir__, __all__ = door(
        __name__,
        {
            "drafts": "Draft",
            "scaffold": "write_plugin",
            "schema": "persona_schema",
        },
        modules="drafts persona_files writer",
    )
