"""Start the server."""

from __future__ import annotations

import contextvars
import dataclasses
import functools
import importlib.util
import os
import secrets
import time
from typing import TYPE_CHECKING

from personakit.base import counted, install_command
from personakit.errors import ConfigError, UsageError
from personakit.ledger import Ledger
from personakit.server.serving.lines import Say
from personakit.server.serving.lines import say as print_line
from personakit.server.serving.sockets import Address, addresses, allow_files, close, listen, url

if TYPE_CHECKING:
    from personakit.ledger import Key
    from personakit.server.settings import Settings

PACKAGES = ("uvicorn", "httptools", "prometheus_client")
"""What the server imports, of the extra `serve`."""
_FILES = 1000  # of libraries, databases and personas


def serve(settings: Settings, *, say: Say | None = None) -> int:
    """Serve personas until SIGTERM or Ctrl-C, and return the exit code.

    The running requests have `settings.grace` seconds; a second signal ends the server at once.
    Call it in the main thread of a process that ends with it: the process ends ten seconds after
    the last request, whatever its other threads do.

    Args:
        settings: What is served.
        say: Prints a line; None for standard error. The first line has the address.

    Returns:
        0 after a signal, 128 and its number after a second one, 1 if the server failed.

    Raises:
        ConfigError: The host, the port or the number of workers cannot be used here, or other
            machines could reach a server without keys.
        UsageError: The packages of the extra `serve` are missing.
    """
    check_installed()
    if settings.workers > 1 and os.name != "posix":
        raise ConfigError("several workers need Linux or macOS; serve with one: --workers 1")
    wanted = addresses(settings.host, settings.port)
    keys = _keys(settings, wanted)
    is_open = not keys and all(each.is_loopback for each in wanted)
    settings = dataclasses.replace(settings, open=is_open, secret=secrets.token_bytes(32))
    # A stream has a connection to the client and one to the upstream.
    allow_files(2 * settings.limits.connections + _FILES)
    sockets = listen(settings.host, wanted)
    line = say or print_line
    also = " and /mcp" if settings.mcp else ""
    text = f"serving {url(settings.host, sockets)}{also} ({_shown(keys)}); Ctrl-C ends it"

    def ready() -> None:
        line(text)

    from personakit.server.serving.supervisor import Supervisor  # noqa: PLC0415
    from personakit.server.serving.worker import serve_alone  # noqa: PLC0415

    try:
        if settings.workers == 1:
            # In a context without the variables of the caller, as in a worker.
            alone = functools.partial(serve_alone, ready=ready, say=line)
            return contextvars.Context().run(alone, settings, sockets)
        return Supervisor(settings, sockets, ready=ready, say=line).run()
    finally:
        close(sockets)


def check_installed() -> None:
    """Raise UsageError if a package of the extra `serve` is missing."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        command = install_command("personakit[serve]")
        raise UsageError(
            f"personakit serve needs {', '.join(missing).replace('_', '-')}, which "
            f"{'is' if len(missing) == 1 else 'are'} not installed; install the extra: {command}"
        )


def _shown(keys: list[Key]) -> str:
    """Return who can use the server, as a text."""
    if not keys:
        return "no key is needed"
    valid = _valid(keys)
    none = "no key is valid, so every request is refused: personakit serve keys new NAME"
    return counted(valid, "key") if valid else none


def _valid(keys: list[Key]) -> int:
    now = time.time()
    return sum(key.revoked is None and not key.expired(now) for key in keys)


def _keys(settings: Settings, wanted: list[Address]) -> list[Key]:
    """Return the keys, also those that are not valid.

    Raises:
        ConfigError: Other machines could reach it, and no key can be used.
    """
    ledger = Ledger(settings.ledger)
    try:
        keys = ledger.keys()
    finally:
        ledger.close()
    if not _valid(keys) and not all(each.is_loopback for each in wanted):
        why = "every key is revoked or expired" if keys else "there is no key"
        raise ConfigError(
            f"host {settings.host} is reached from other machines, and {why}; make a key with "
            f"`personakit serve keys new NAME`, or serve this machine alone with --host 127.0.0.1"
        )
    return keys
