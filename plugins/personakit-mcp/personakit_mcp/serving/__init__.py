"""Personas as prompts, resources and tools of an MCP server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from personakit_mcp.serving.application import server
    from personakit_mcp.serving.offer import Caller, Serving
    from personakit_mcp.serving.stdio import serve_stdio

__all__ = ["Caller", "Serving", "serve_stdio", "server"]

_HOME = {"Caller": "offer", "Serving": "offer", "serve_stdio": "stdio", "server": "application"}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib  # noqa: PLC0415

    # Importing the library of MCP takes most of a second.
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
