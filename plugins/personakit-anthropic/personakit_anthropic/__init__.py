"""The wire `anthropic`: Anthropic's models through their own API, without its SDK."""

from __future__ import annotations

from typing import TYPE_CHECKING

from personakit import hookimpl

if TYPE_CHECKING:
    from personakit import Registry

__all__ = ["Anthropic"]


class Anthropic:
    """The plugin that contributes the wire `anthropic`, which the provider of that name uses."""

    @staticmethod
    @hookimpl
    def setup(registry: Registry) -> None:
        """Contribute the wire `anthropic`."""
        from personakit_anthropic.wire import Messages  # noqa: PLC0415

        registry.wire("anthropic", Messages())
