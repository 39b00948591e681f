"""The models that providers listed, kept in the user's cache folder."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from personakit.base import is_type, private_files, read_file
from personakit.config import Config, user_cache

FILE = "models.json"
LARGEST = 32_000_000
"""The largest size of the file, in bytes."""


class Listed(NamedTuple):
    """A model that a provider listed.

    Attributes:
        name: The provider's name of the model.
        context: Its context window in tokens; None if the provider did not report it.
    """

    name: str
    context: int | None = None


class Kept(NamedTuple):
    """The models that a provider listed.

    Attributes:
        address: The address that listed them, without secrets.
        time: When, in seconds since 1970.
        models: The models.
    """

    address: str
    time: float
    models: tuple[Listed, ...]

    def is_fresh(self, address: str, lasts: float) -> bool:
        """Return whether an address listed the models within a number of seconds."""
        return self.address == address and 0 <= time.time() - self.time < lasts


def read(config: Config) -> dict[str, Kept]:
    """Return what is kept, by provider; an empty dict if there is no file, or an invalid one."""
    file = _file(config)
    if file is None:
        return {}
    try:
        entries = json.loads(read_file(file, LARGEST))
        return {name: _kept(entry) for name, entry in entries.items()}
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return {}


def write(config: Config, listed: Mapping[str, Kept]) -> None:
    """Keep the models of some providers, and those that are kept of others.

    Nothing happens if the file cannot be written.
    """
    file = _file(config)
    if file is None or not listed:
        return
    try:
        with private_files.locked(file.parent):
            if file.is_symlink():  # in a shared cache, a link may be hostile
                file.unlink()
            text = json.dumps({**read(config), **listed}, separators=(",", ":"))
            private_files.replace(file, [text.encode()])
    except OSError:
        return


def _file(config: Config) -> Path | None:
    folder = user_cache(config.environ)
    return folder / FILE if folder else None


def _kept(entry: Any) -> Kept:
    """Return an entry of the file.

    Raises:
        ValueError, TypeError: It is invalid.
    """
    address, at, models = entry
    valid = [isinstance(address, str)]
    for name, context in models:
        valid += [isinstance(name, str), context is None or is_type(context, "integer")]
    if not all(valid):
        raise ValueError
    return Kept(address, float(at), tuple(Listed(name, context) for name, context in models))
