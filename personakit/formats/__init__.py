"""Prompts of other tools as personas, and personas as prompts of other tools."""

from __future__ import annotations

from typing import TYPE_CHECKING

from personakit.base import door

if TYPE_CHECKING:
    from personakit.formats.draft import Draft as Draft
    from personakit.formats.exporting import Exported as Exported
    from personakit.formats.exporting import export_persona as export_persona
    from personakit.formats.files.report import Imported as Imported
    from personakit.formats.files.report import Report as Report
    from personakit.formats.files.report import Skipped as Skipped
    from personakit.formats.format import Format as Format
    from personakit.formats.format import formats as formats
    from personakit.formats.importing import import_personas as import_personas
    from personakit.formats.note import CODES as CODES
    from personakit.formats.note import Note as Note
    from personakit.formats.note import Unreadable as Unreadable
    from personakit.formats.outgoing import Outgoing as Outgoing
    from personakit.formats.sources import File as File
    from personakit.formats.templates import Builder as Builder
    from personakit.formats.templates import Text as Text
else:
    __getattr__, __dir__, __all__ = door(
        __name__,
        {
            "draft": "Draft",
            "exporting": "Exported export_persona",
            "format": "Format formats",
            "importing": "import_personas",
            "note": "CODES Note Unreadable",
            "outgoing": "Outgoing",
            "files.report": "Imported Report Skipped",
            "sources": "File",
            "templates": "Builder Text",
        },
    )
