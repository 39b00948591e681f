"""The key file: a JSON object that maps providers to keys and that only the user may read.

::

    {"openai": "sk-…", "work": null}

The file is ``keys.json`` beside the config file, with mode 0600. A null means that the key is in
the keyring of the operating system. For a provider that also works without a key, the keyring is
searched only then.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from personakit.base import Secret, private_files, read_file
from personakit.errors import ConfigError

LARGEST = 1 << 20
"""The largest size of the file, in bytes."""

Keys = dict[str, Secret | None]


def read(path: Path) -> Keys:
    """Return the keys in the file; an empty dict if it does not exist.

    Raises:
        ConfigError: The file cannot be read, is readable by others, or is not a key file.
    """
    result = _read(path)
    if isinstance(result, str):
        raise ConfigError(result)
    return result


def put(path: Path, name: str, key: Secret | None) -> None:
    """Set the entry of one provider; the other entries stay.

    Args:
        path: The file; it is created if it is missing.
        name: The provider.
        key: Its key; None if the key is in the keyring.

    Raises:
        ConfigError: The file cannot be written or is not a key file; it stays unchanged.
    """
    _change(path, lambda keys: {**keys, name: key})


def drop(path: Path, name: str) -> None:
    """Remove the entry of one provider. Raises the same errors as `put`."""
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
    """Return the keys in the file, or a message that describes its fault.

    Nothing is raised, because an error of the JSON module contains the text of the file.
    """
    faults: list[str] = []
    advice = "expected a JSON object that maps providers to keys; correct or move it"
    try:
        data = read_file(
            path,
            LARGEST,
            examine=lambda handle: faults.append(private_files.fault(path, handle)),
        )
    except FileNotFoundError:
        return {}
    except OSError as error:
        return f"{path}: cannot be read: {error.strerror}; {advice}"
    wrong = f"{path}: {advice}"
    if any(faults):
        return faults[0]
    try:
        entries = json.loads(data.decode("utf-8-sig") or "{}")
    except (ValueError, RecursionError):
        return wrong
    if not isinstance(entries, dict):
        return wrong
    if not all(key is None or isinstance(key, str) for key in entries.values()):
        return wrong
    return {name: None if key is None else Secret(key) for name, key in entries.items()}
