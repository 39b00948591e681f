"""The server: personas as models of an OpenAI-compatible API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from personakit.base import door

if TYPE_CHECKING:
    from personakit.server.application import Application as Application
    from personakit.server.openapi import document as document
    from personakit.server.serving.start import check_installed as check_installed
    from personakit.server.serving.start import serve as serve
    from personakit.server.settings import Settings as Settings
else:
    __getattr__, __dir__, __all__ = door(
        __name__,
        {
            "application": "Application",
            "openapi": "document",
            "serving.start": "check_installed serve",
            "settings": "Settings",
        },
    )
