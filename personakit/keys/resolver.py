"""Keys: where the key of a provider comes from.

The first of these that has one gives it:

1. what the caller gave for this run (``--key-file``);
2. the provider's ``api_key`` in the config file, ``scheme:rest`` for a scheme that a plugin brings;
3. the environment variable that the provider names;
4. the keyring of the operating system;
5. the file of keys, ``keys.json`` beside the config file.

The slow places, the plugins' schemes and the last two, are asked when none before them has a key;
what they say is kept for five minutes, or until the provider refuses it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from personakit.base import SCHEME, Secret
from personakit.config import Config
from personakit.errors import ConfigError, PersonakitError
from personakit.keys import keyfile, keyring
from personakit.providers import Provider

LITERAL = "literal"
"""The scheme of a key that stands in the config file itself and has a colon."""
_KEEP = 300.0
"""Seconds that a key from a slow place is used before the place is asked again."""


class Found(NamedTuple):
    """A key and the place it comes from, in words."""

    key: Secret
    place: str


@dataclass(slots=True)
class Keys:
    """Finds keys.

    Attributes:
        config: The user's set-up.
        contributed: Returns what a plugin contributes, by kind and name; None for nothing.
        owner: Returns the name of the plugin that contributes it.
        given: Keys that the caller gives, by provider.
    """

    config: Config
    contributed: Callable[[str, str], Any]
    owner: Callable[[str, str], str]
    given: dict[str, Secret] = field(default_factory=dict)
    _kept: dict[str, tuple[float, Found | None]] = field(default_factory=dict)
    _used: set[Secret] = field(default_factory=set, repr=False)
    _environment: dict[str, tuple[str | None, Secret]] = field(default_factory=dict, repr=False)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def find(self, provider: Provider) -> Secret | None:
        """Return the key of a provider; None when there is none and it needs none.

        Raises:
            ConfigError: There is no key, it cannot be sent, or its place cannot be read.
        """
        known = self._environment.get(provider.name)
        # No variable here holds the text of the key: a traceback may show them all.
        same = known is not None and known[0] == self.config.environ.get(provider.key_env)
        if known is not None and same and provider.name not in self.given:
            return known[1]
        self._used.update(provider.secrets())
        found = self._at_hand(provider) or self._asked(provider)
        if found is None:
            return None
        self._used.add(found.key)
        if fault := found.key.fault():
            raise ConfigError(f"the key of provider {provider.name!r}, from {found.place}, {fault}")
        if found.place == provider.key_env:
            text = self.config.environ.get
            self._environment[provider.name] = (text(provider.key_env), found.key)
        return found.key

    def at_hand(self, provider: Provider) -> bool:
        """Tell whether `find` answers at once: without a process, a file or the keyring."""
        return self._at_hand(provider) is not None or self._fresh(provider) is not None

    def known(self) -> set[Secret]:
        """Return every key that was or may be in use, without asking a slow place."""
        # Copied at once: other threads may be finding keys.
        found = self._used.copy() | {*self.given.values()}
        for provider in self.config.providers.values():
            found |= set(provider.secrets())
            if hand := self._at_hand(provider):
                found.add(hand.key)
        return found

    def forget(self, provider: Provider) -> None:
        """Ask the slow places again next time: the provider refused the key."""
        self._kept.pop(provider.name, None)

    def _at_hand(self, provider: Provider) -> Found | None:
        if provider.name in self.given:
            return Found(self.given[provider.name], "--key-file")
        if provider.api_key:
            scheme = scheme_of(provider)
            key = _after_colon(provider) if scheme == LITERAL else Secret(provider.api_key)
            return None if scheme and scheme != LITERAL else Found(key, "api_key")
        return environment(self.config, provider)

    def _asked(self, provider: Provider) -> Found | None:
        """Return the key from a slow place, asked once by all threads."""
        if kept := self._fresh(provider):
            return kept[1]
        with self._lock:
            if kept := self._fresh(provider):
                return kept[1]
            found = self._contributed(provider) if provider.api_key else self._stored(provider)
            self._kept[provider.name] = (time.monotonic() + _KEEP, found)
            return found

    def _fresh(self, provider: Provider) -> tuple[float, Found | None] | None:
        kept = self._kept.get(provider.name)
        return kept if kept is not None and time.monotonic() < kept[0] else None

    def _contributed(self, provider: Provider) -> Found:
        scheme = scheme_of(provider)
        function = self.contributed("secret", scheme)
        if function is None:
            where = f"{self.config.file}: " if self.config.file else ""
            raise ConfigError(
                f"{where}the `api_key` of provider {provider.name!r} names the scheme {scheme!r}, "
                f"which no plugin brings (`personakit plugins` lists them); install one that does. "
                f"If this is the key itself, write {LITERAL}: before it, or keep it with "
                f"`personakit keys set {provider.name}`"
            )
        found = _called(function, provider)
        if isinstance(found, str):
            raise ConfigError(
                f"no key for provider {provider.name!r}: scheme {scheme!r} of plugin "
                f"{self.owner('secret', scheme)!r}: {found}"
            )
        return Found(found, f"{scheme}:")

    def _stored(self, provider: Provider) -> Found | None:
        """Return the key from the keyring or the file.

        A provider that also works without a key has one in the keyring only if the file says so:
        to ask takes longer than many an answer of a model on this machine.
        """
        looked: list[str] = []
        needed = needs_key(provider)
        if needed and (found := self._from_keyring(provider, looked)):
            return found
        file = self.config.keys_file
        entries = {} if file is None else keyfile.read(file)
        if key := entries.get(provider.name):
            return Found(key, str(file))
        if not needed and provider.name in entries:
            if found := self._from_keyring(provider, looked):
                return found
            needed = True
        if not needed:
            return None
        if file is not None:
            looked.append(f"{file} ({_about(file, provider)})")
        raise ConfigError(_missing(provider, looked))

    def _from_keyring(self, provider: Provider, looked: list[str]) -> Found | None:
        if not self.config.keyring:
            return None
        key, problem = keyring.get(provider.name)
        if key:
            return Found(key, "the keyring")
        looked.append(f"the keyring ({problem or 'no entry'})")
        return None


def needs_key(provider: Provider) -> bool:
    """Tell whether a provider answers nothing without a key."""
    return provider.key_required and bool(provider.key_env)


def environment(config: Config, provider: Provider) -> Found | None:
    """Return the key in the environment variable that a provider names."""
    if not provider.key_env:
        return None
    key = Secret(config.environ.get(provider.key_env, "").strip())
    return Found(key, provider.key_env) if key else None


def scheme_of(provider: Provider) -> str:
    """Return the scheme that a provider's `api_key` names; empty for a key as it stands."""
    return _scheme(Secret(provider.api_key).reveal())


def _scheme(text: str) -> str:
    before, colon, _ = text.partition(":")
    return before if colon and SCHEME.match(before) else ""


def _after_colon(provider: Provider) -> Secret:
    return Secret(Secret(provider.api_key).reveal().partition(":")[2].strip())


def _called(function: Callable[[str], Any], provider: Provider) -> Secret | str:
    """Return the key that a plugin's function gives, or what is wrong.

    It raises nothing: the frames of such an error hold keys, and its message may.
    """
    try:
        found = function(_after_colon(provider).reveal())
    except PersonakitError as error:  # written for the user
        return str(error)
    except (Exception, SystemExit) as error:
        return f"it failed with {_where(error)}"
    if hasattr(found, "close") and hasattr(found, "cr_await"):
        found.close()  # nobody awaits it
    if not isinstance(found, str | Secret):
        return f"it returned {type(found).__name__}, not a text"
    return Secret(Secret(found).reveal().strip()) or "it returned an empty text"


def _where(error: BaseException) -> str:
    """Return the type of an error and the line of the plugin that it comes from."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    if frame is None:
        return type(error).__name__
    file = Path(frame.tb_frame.f_code.co_filename).name
    return f"{type(error).__name__} at {file}:{frame.tb_lineno}"


def _about(file: Path, provider: Provider) -> str:
    return f"no {provider.name!r}" if file.exists() else "no such file"


def _missing(provider: Provider, looked: list[str]) -> str:
    ways = [f"run `personakit keys set {provider.name}`", "or choose a model that needs none"]
    if provider.key_env:
        ways.insert(0, f"set {provider.key_env}")
        looked = [f"{provider.key_env} (not set)", *looked]
    return (
        f"no key for provider {provider.name!r}: {', '.join(ways)}, such as -m local or "
        f"-m ollama/…; looked in {', '.join(looked)}"
    )
