"""The provider `local`: a small model in a child process, with no key and no network."""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING

from personakit import Endpoint, hookimpl
from personakit_local.models import EMBEDDED, parse
from personakit_local.pool import Pool

if TYPE_CHECKING:
    from personakit import Registry

__all__ = ["Local", "connect"]


class Local:
    """The plugin: it contributes the provider and changes no persona's prompt."""

    @staticmethod
    @hookimpl
    def setup(registry: Registry) -> None:
        """Contribute the provider `local`; nothing is started yet.

        Args:
            registry: Takes the provider.
        """
        # The small model ignores tools without a word: better that personakit refuses them.
        registry.provider("local", connect=connect, tools=False, default_model=EMBEDDED)


def connect(model: str) -> Endpoint:
    """Return where a model is served, having started its server if it is not up.

    Args:
        model: ``""`` or ``"smollm2-135m-instruct"`` for the embedded weights, else the path of a
            GGUF file.

    Returns:
        The address on loopback, its key and the model's name.

    Raises:
        ConfigError: The model, the wheel, the weights or a setting is wrong or missing.
        BackendError: The server did not start.
    """
    return _pool().endpoint(parse(model, os.environ))


@cache
def _pool() -> Pool:
    return Pool()
