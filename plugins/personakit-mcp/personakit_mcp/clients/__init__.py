"""The programs that use the server: its entry in their config files."""

from __future__ import annotations

from personakit_mcp.clients.command import install

__all__ = ["install"]
