"""The server: personas as the models of an OpenAI-compatible API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from personakit.base import door

if TYPE_CHECKING:
    from personakit.server.application import Application as Application
    from personakit.server.application import app as app
    from personakit.server.callers.access import Caller as Caller
    from personakit.server.http import Exchange as Exchange
    from personakit.server.http import Refusal as Refusal
    from personakit.server.openapi import document as document
    from personakit.server.router import Router as Router
    from personakit.server.serving.start import check_installed as check_installed
    from personakit.server.serving.start import serve as serve
    from personakit.server.settings import Limits as Limits
    from personakit.server.settings import Settings as Settings
    from personakit.server.wording import told as told
else:
    __getattr__, __dir__, __all__ = door(
        __name__,
        {
            "application": "Application app",
            "callers.access": "Caller",
            "http": "Exchange Refusal",
            "openapi": "document",
            "router": "Router",
            "serving.start": "check_installed serve",
            "settings": "Limits Settings",
            "wording": "told",
        },
    )
