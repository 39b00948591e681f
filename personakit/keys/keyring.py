"""The keyring of the operating system. This is the only module that imports keyring.

The package is an extra, ``pip install 'personakit[keyring]'``, and slow: it is imported only when
no faster place has the key. The service is ``personakit`` and the user is the provider's name, so
that other keyring programs find the entries.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from personakit.base import Secret, install_command

SERVICE = "personakit"
NONE = "this machine has no keyring"


def get(name: str) -> tuple[Secret | None, str]:
    """Return a provider's key, if any, and the problem if the keyring could not be read."""
    key, problem = _ask(lambda ring: _secret(ring.get_password(SERVICE, name)))
    return (key if isinstance(key, Secret) else None), problem


def put(name: str, key: Secret) -> str:
    """Store a provider's key; return the problem, or an empty string on success."""
    _, problem = _ask(lambda ring: ring.set_password(SERVICE, name, key.reveal()))
    if problem:
        return problem
    # Some backends accept a key without storing it.
    stored, problem = get(name)
    return "" if stored == key else problem or f"its backend ({backend()}) does not store keys"


def remove(name: str) -> tuple[bool, str]:
    """Remove a provider's key; return whether it was removed, and the problem if any."""
    key, problem = get(name)
    if key is None:
        return False, problem
    _, problem = _ask(lambda ring: ring.delete_password(SERVICE, name))
    return not problem, problem


def backend() -> str:
    """Return the name of the keyring, such as ``SecretService Keyring``; empty if there is none."""
    name, _ = _ask(lambda ring: ring.get_keyring().name)
    return str(name or "")


def installed() -> bool:
    """Return whether the keyring package is installed, without importing it."""
    import importlib.util  # noqa: PLC0415

    return importlib.util.find_spec("keyring") is not None


def _secret(password: str | None) -> Secret | None:
    return Secret(password) if password else None


def _ask(question: Callable[[Any], Any]) -> tuple[Any, str]:
    """Return the answer of the keyring, and the problem if any.

    Nothing is raised, because the frames of backends contain keys in variables.
    """
    try:
        import keyring  # noqa: PLC0415
    except ImportError:
        command = install_command("personakit[keyring]")
        return None, f"keyring is not installed; run: {command}"
    try:
        return question(keyring), ""
    # Backends raise the errors of D-Bus, of the platform's libraries and of their own.
    except Exception as error:
        return None, _reason(error)


def _reason(error: Exception) -> str:
    kind = type(error).__name__
    if kind == "NoKeyringError":
        return NONE
    if kind in ("KeyringLocked", "LockedException"):
        return "it is locked"
    return f"it failed with {kind}"
