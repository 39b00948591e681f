"""The keyring of the operating system. This is the only module that imports keyring.

It is an extra, ``pip install 'personakit[keyring]'``, and slow to ask: it is imported when a key is
in no faster place. The service is ``personakit`` and the user the provider's name, so that other
programs for the keyring find the entries.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from personakit.base import Secret

SERVICE = "personakit"
MISSING = "keyring is not installed; run: pip install 'personakit[keyring]'"


def get(name: str) -> tuple[Secret | None, str]:
    """Return a provider's key, and why there is none when the keyring could not be asked."""
    found, problem = _ask(lambda ring: _secret(ring.get_password(SERVICE, name)))
    return (found if isinstance(found, Secret) else None), problem


def put(name: str, key: Secret) -> str:
    """Keep a provider's key; return what is wrong, empty when it is kept."""
    _, problem = _ask(lambda ring: ring.set_password(SERVICE, name, key.reveal()))
    if problem:
        return problem
    # Some backends take everything and keep nothing.
    found, problem = get(name)
    return "" if found == key else problem or f"its backend ({backend()}) keeps nothing"


def remove(name: str) -> tuple[bool, str]:
    """Remove a provider's key; return whether there was one, and what is wrong."""
    found, problem = get(name)
    if found is None:
        return False, problem
    _, problem = _ask(lambda ring: ring.delete_password(SERVICE, name))
    return not problem, problem


def backend() -> str:
    """Return the name of the keyring, such as ``SecretService Keyring``; empty for none."""
    found, _ = _ask(lambda ring: ring.get_keyring().name)
    return str(found or "")


def installed() -> bool:
    """Tell whether there is a keyring package at all, without importing it."""
    import importlib.util  # noqa: PLC0415

    return importlib.util.find_spec("keyring") is not None


def _secret(found: str | None) -> Secret | None:
    return Secret(found) if found else None


def _ask(question: Callable[[Any], Any]) -> tuple[Any, str]:
    """Return the answer of the keyring, and what went wrong.

    No error leaves here: its frames belong to backends, which hold keys in variables.
    """
    try:
        import keyring  # noqa: PLC0415
    except ImportError:
        return None, MISSING
    try:
        return question(keyring), ""
    # Backends raise the errors of D-Bus, of the platform's libraries and of their own.
    except Exception as error:
        return None, _reason(error)


def _reason(error: Exception) -> str:
    kind = type(error).__name__
    if kind == "NoKeyringError":
        return "this machine has no keyring"
    if kind in ("KeyringLocked", "LockedException"):
        return "it is locked"
    return f"it failed with {kind}"
