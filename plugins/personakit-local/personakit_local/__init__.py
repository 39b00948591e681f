"""The provider `local`: a small model in a child process, without a key or network access."""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING

from personakit import Endpoint, hookimpl
from personakit_local.models import EMBEDDED, names_file, parse
from personakit_local.pool import Pool

if TYPE_CHECKING:
    from personakit import Registry

__all__ = ["Local", "connect"]


class Local:
    """The plugin that contributes the provider `local`."""

    @staticmethod
    @hookimpl
    def setup(registry: Registry) -> None:
        """Contribute the provider `local`, without starting a server."""
        # The small model ignores tools silently, so personakit must refuse them. It cannot see.
        registry.provider(
            "local",
            connect=connect,
            names_file=names_file,
            tools=False,
            attachments=False,
            default_model=EMBEDDED,
        )


def connect(model: str) -> Endpoint:
    """Return the endpoint of a model; start its server if it is not running.

    Args:
        model: ``""`` or ``"smollm2-135m-instruct"`` for the embedded weights, else the path of a
            GGUF file.

    Returns:
        The address on loopback, its key and the model's name.

    Raises:
        ConfigError: The model, xllamacpp, the weights or a setting is invalid or missing.
        BackendError: The server did not start.
    """
    return _pool().endpoint(parse(model, os.environ))


@cache
def _pool() -> Pool:
    return Pool()
