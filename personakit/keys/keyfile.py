"""The file of keys: JSON, a mapping of providers to keys, which nobody but the user may read.

::

    {"openai": "sk-…", "work": null}

It is ``keys.json`` beside the config file, of mode 0600. A null says that the key of a provider
that also works without one is in the keyring of the operating system, which is asked for it then
alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from personakit.base import Secret, private_files
from personakit.errors import ConfigError

LARGEST = 1 << 20
"""The bytes that a file of keys may have."""

Keys = dict[str, Secret | None]


def read(path: Path) -> Keys:
    """Return what the file holds; nothing when it does not exist.

    Raises:
        ConfigError: It cannot be read, others can read it, or it is no file of keys.
    """
    found = _read(path)
    if isinstance(found, str):
        raise ConfigError(found)
    return found


def put(path: Path, name: str, key: Secret | None) -> None:
    """Set the entry of one provider; what else the file holds stays.

    Args:
        path: The file; it is made where it is missing.
        name: The provider.
        key: Its key; None for one that is in the keyring.

    Raises:
        ConfigError: The file cannot be written, or is no file of keys: it stays as it was.
    """
    _change(path, lambda keys: {**keys, name: key})


def drop(path: Path, name: str) -> None:
    """Drop the entry of one provider. Raises as `put` does."""
    _change(path, lambda keys: {other: key for other, key in keys.items() if other != name})


def _change(path: Path, edit: Callable[[Keys], Keys]) -> None:
    fault = ""
    try:
        with private_files.locked(path.parent):
            private_files.replace(path, [_written(edit(read(path)))])
    except OSError as error:
        fault = f"{path}: cannot be written: {error.strerror}"
    if fault:
        raise ConfigError(fault)


def _written(keys: Mapping[str, Secret | None]) -> bytes:
    plain = {name: key and key.reveal() for name, key in sorted(keys.items())}
    return json.dumps(plain, indent=2).encode() + b"\n"


def _read(path: Path) -> Keys | str:
    """Return what the file holds, or what is wrong with it.

    It raises nothing: an error of the JSON module carries the text that it failed at.
    """
    try:
        with path.open("rb") as stream:
            if fault := private_files.fault(path, stream.fileno()):
                return fault
            data = stream.read(LARGEST + 1)
    except FileNotFoundError:
        return {}
    except OSError as error:
        return f"{path}: cannot be read: {error.strerror}"
    wrong = f"{path}: no JSON mapping of providers to keys; mend it, or move it away"
    if len(data) > LARGEST:
        return wrong
    try:
        found = json.loads(data.decode("utf-8-sig") or "{}")
    except (ValueError, RecursionError):
        return wrong
    if not isinstance(found, dict):
        return wrong
    if not all(key is None or isinstance(key, str) for key in found.values()):
        return wrong
    return {name: None if key is None else Secret(key) for name, key in found.items()}
