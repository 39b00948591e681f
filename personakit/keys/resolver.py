"""Find the key of a provider.

The first of these places that has a key is used:

1. the key that the caller passes for this run (``--key-file``) or types in a notebook;
2. the provider's ``api_key`` in the config file; ``scheme:rest`` uses the scheme of a plugin;
3. the environment variable that the provider names;
4. in a notebook, the secrets of the service that it runs in, by the scheme of a plugin;
5. the keyring of the operating system;
6. the key file, ``keys.json`` beside the config file.

The slow places are the schemes of plugins and the last three. They are searched only when no
earlier place has a key; the result is cached for five minutes, or until the provider rejects the
key.
"""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from personakit.base import SCHEME, Secret
from personakit.config import Config
from personakit.errors import ConfigError, PersonakitError, spelled
from personakit.keys import keyfile, keyring
from personakit.providers import Provider

ENV, KEYRING = "env", "keyring"
"""The schemes of an environment variable and of an entry of the keyring."""
SCHEMES = ("literal", ENV, KEYRING)
"""The schemes that need no plugin."""
LITERAL = "literal"
"""The scheme of a key with a colon that is written in the config file itself."""
TYPED: dict[str, Secret] = {}
"""The keys that were typed in this process, by provider; every runner uses them."""
_SERVICES = {"colab": "google.colab", "kaggle": "kaggle_secrets", "naas": "naas"}
"""The schemes of services for notebooks, and the modules by which a notebook of each is known."""
_KEEP = 300.0
"""Seconds for which the result of a slow place is cached."""
_LISTED = 1.0
"""Seconds after which the keys of all providers are looked at again."""


@dataclass(frozen=True, slots=True)
class OptionKey:
    """The secret of a plugin's option, looked up as the key of a provider.

    Attributes:
        plugin: The plugin's name.
        option: The option's name.
        key_required: Whether it must have a value.
        api_key: The value in the config, as that of a provider; empty for none.
    """

    plugin: str
    option: str
    key_required: bool = True
    api_key: Secret = field(default=Secret(""), repr=False)
    connect: None = None

    @property
    def name(self) -> str:
        """The name of its entry in the keyring and in the key file: ``weather.api_key``."""
        return f"{self.plugin}.{self.option}"

    @property
    def key_env(self) -> str:
        """The environment variable that holds it: ``WEATHER_API_KEY``."""
        return self.name.upper().replace("-", "_").replace(".", "_")


Wanted = Provider | OptionKey


class Found(NamedTuple):
    """A key and a description of the place it comes from."""

    key: Secret
    place: str


@dataclass(slots=True)
class Keys:
    """The keys of providers, searched in the order of the places above.

    Attributes:
        config: The user's configuration.
        contributed: Returns what a plugin contributes, by kind and name; None for nothing.
        owner: Returns the name of the plugin that contributes it.
        given: Keys that the caller passes, by provider.
    """

    config: Config
    contributed: Callable[[str, str], Any]
    owner: Callable[[str, str], str]
    given: dict[str, Secret] = field(default_factory=dict)
    _kept: dict[str, tuple[float, Found | None]] = field(default_factory=dict)
    _used: set[Secret] = field(default_factory=set, repr=False)
    _environment: dict[str, tuple[str | None, Secret]] = field(default_factory=dict, repr=False)
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _listed: tuple[float, frozenset[Secret]] = field(default=(-math.inf, frozenset()), repr=False)

    def find(self, provider: Provider) -> Secret | None:
        """Return the key of a provider; None if it has no key and does not require one.

        Raises:
            ConfigError: The key is missing or cannot be sent, or a place cannot be read.
        """
        cached = self._environment.get(provider.name)
        # No variable here contains the plain key: a traceback may show all of them.
        same = cached is not None and cached[0] == self.config.environ.get(provider.key_env)
        passed = provider.name in self.given or provider.name in TYPED
        if cached is not None and same and not passed:
            return cached[1]
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

    def option(self, wanted: OptionKey) -> Secret | None:
        """Return the secret of a plugin's option; None if it has none and does not require one.

        Raises:
            ConfigError: The secret is missing, or a place cannot be read.
        """
        found = self._at_hand(wanted)
        if found is None:
            found = self._contributed(wanted) if wanted.api_key else self._stored(wanted)
        if found is None:
            return None
        self._used.add(found.key)
        return found.key

    def at_hand(self, provider: Provider) -> bool:
        """Return whether `find` needs neither a process nor a file nor the keyring."""
        return self._at_hand(provider) is not None or self._fresh(provider) is not None

    def known(self) -> set[Secret]:
        """Return every key that was or may be in use, without searching a slow place.

        One that was in use is always there; a new one of a variable that nobody has used yet may be
        missing for a second.
        """
        now = time.monotonic()
        read, listed = self._listed
        # A server asks for each row of its log, and a look at all providers takes 0.1 ms.
        if now - read > _LISTED:
            listed = frozenset(self._configured())
            self._listed = now, listed
        # A copy, because other threads may add keys.
        return self._used | {*self.given.values(), *TYPED.values()} | listed

    def _configured(self) -> Iterator[Secret]:
        for provider in self.config.providers.values():
            yield from provider.secrets()
            if hand := self._at_hand(provider):
                yield hand.key

    def forget(self, provider: Provider) -> None:
        """Drop the cached key of a provider, which rejected it."""
        self._kept.pop(provider.name, None)

    def _at_hand(self, provider: Wanted) -> Found | None:
        if provider.name in self.given:
            return Found(self.given[provider.name], "--key-file")
        if provider.name in TYPED:
            return Found(TYPED[provider.name], "`%persona keys`")
        if provider.api_key:
            scheme = scheme_of(provider)
            key = _after_colon(provider) if scheme == LITERAL else Secret(provider.api_key)
            return None if scheme and scheme != LITERAL else Found(key, "api_key")
        return environment(self.config, provider)

    def _asked(self, provider: Provider) -> Found | None:
        """Return the key from a slow place; only one thread searches at a time."""
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

    def _contributed(self, provider: Wanted) -> Found:
        scheme = scheme_of(provider)
        if scheme in (ENV, KEYRING):
            return self._named(provider, scheme, _after_colon(provider).reveal())
        function = self.contributed("secret", scheme)
        if function is None:
            where = f"{self.config.file}: " if self.config.file else ""
            raise ConfigError(
                f"{where}{_place(provider)} uses the scheme {scheme!r}, "
                f"which no installed plugin provides (`personakit plugins` lists them); install "
                f"a plugin for it. If this is the key itself, write {LITERAL}: before it, or "
                f"store it with `personakit keys set {provider.name}`"
            )
        result = _called(function, _after_colon(provider).reveal())
        if isinstance(result, str):
            raise ConfigError(
                f"no key for {_title(provider)}: scheme {scheme!r} of plugin "
                f"{self.owner('secret', scheme)!r}: {result}"
            )
        return Found(result, f"{scheme}:")

    def _named(self, provider: Wanted, scheme: str, name: str) -> Found:
        """Return the key in an environment variable, or in an entry of the keyring."""
        if scheme == ENV:
            found, problem = Secret(self.config.environ.get(name, "").strip()), "is not set"
            place = f"the variable {name!r}"
        else:
            stored, problem = keyring.get(name) if self.config.keyring else (None, "is not used")
            found, place = stored or Secret(""), f"the entry {name!r} of the keyring"
            problem = problem or "does not exist"
        if found:
            return Found(found, place)
        raise _no_key(
            f"no key for {_title(provider)}: {_place(provider)} names {place}: it {problem}"
        )

    def _stored(self, provider: Wanted) -> Found | None:
        """Return the key from the keyring or the file.

        For a provider that also works without a key, the keyring is searched only if the file has
        an entry: a search can take longer than a local model takes to answer.
        """
        looked: list[str] = []
        needed = needs_key(provider)
        if needed and _in_notebook() and (found := self._from_service(provider, looked)):
            return found
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
        raise _no_key(_missing(provider, looked))

    def _from_service(self, provider: Wanted, looked: list[str]) -> Found | None:
        """Return the key from the secrets of the service in which a notebook runs."""
        for scheme, module in _SERVICES.items():
            function = self.contributed("secret", scheme) if _importable(module) else None
            if function is None:
                continue
            result = _called(function, provider.key_env)
            if not isinstance(result, str):
                return Found(result, f"{scheme}:")
            looked.append(f"{scheme}: ({result})")
        return None

    def _from_keyring(self, provider: Wanted, looked: list[str]) -> Found | None:
        if not self.config.keyring:
            return None
        key, problem = keyring.get(provider.name)
        if key:
            return Found(key, "the keyring")
        looked.append(f"the keyring ({problem or 'no entry'})")
        return None


def needs_key(provider: Wanted) -> bool:
    """Return whether a provider requires a key and names a variable for it."""
    return provider.key_required and bool(provider.key_env)


def environment(config: Config, provider: Wanted) -> Found | None:
    """Return the key in the environment variable that a provider names."""
    if not provider.key_env:
        return None
    key = Secret(config.environ.get(provider.key_env, "").strip())
    return Found(key, provider.key_env) if key else None


def scheme_of(provider: Wanted) -> str:
    """Return the scheme of a provider's `api_key`; empty for a plain key."""
    return _scheme(Secret(provider.api_key).reveal())


def _scheme(text: str) -> str:
    before, colon, _ = text.partition(":")
    return before if colon and SCHEME.match(before) else ""


def _after_colon(provider: Wanted) -> Secret:
    return Secret(Secret(provider.api_key).reveal().partition(":")[2].strip())


def _called(function: Callable[[str], Any], rest: str) -> Secret | str:
    """Return the key that a plugin's function returns, or a message that describes its fault.

    Nothing is raised, because the frames of such an error contain keys, and its message may.
    """
    try:
        result = function(rest)
    except PersonakitError as error:  # written for the user
        return str(error)
    except (Exception, SystemExit) as error:
        return f"it failed with {_where(error)}"
    if hasattr(result, "close") and hasattr(result, "cr_await"):
        result.close()  # avoids the warning that it was never awaited
    if not isinstance(result, str | Secret):
        return f"it returned {type(result).__name__}, not a string"
    return Secret(Secret(result).reveal().strip()) or "it returned an empty string"


def _where(error: BaseException) -> str:
    """Return the type of an error and the line of the plugin that it comes from."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    if frame is None:
        return type(error).__name__
    file = Path(frame.tb_frame.f_code.co_filename).name
    return f"{type(error).__name__} at {file}:{frame.tb_lineno}"


def _about(file: Path, provider: Wanted) -> str:
    return f"no entry {provider.name!r}" if file.exists() else "no such file"


def _title(wanted: Wanted) -> str:
    if isinstance(wanted, OptionKey):
        return f"option {wanted.option!r} of plugin {wanted.plugin!r}"
    return f"provider {wanted.name!r}"


def _place(wanted: Wanted) -> str:
    """Return what in the config file holds the key."""
    if isinstance(wanted, OptionKey):
        return f"the option {wanted.option!r} of plugin {wanted.plugin!r}"
    return f"the `api_key` of provider {wanted.name!r}"


def _no_key(message: str) -> ConfigError:
    """Return the error for a key that no place has."""
    error = ConfigError(message)
    error._lacks_key = True
    return error


def _missing(provider: Wanted, looked: list[str]) -> str:
    """Return the message for a key that no place has; the reader of a service is not its user."""
    who = spelled(terminal="", python="", service="the operator of the server has to ")
    way = f"`personakit keys set {provider.name}`"
    if _in_notebook():
        way = f"`%persona keys {provider.name}`"
        way = spelled(python=f"`%load_ext personakit` and {way}", terminal=way)
    else:
        way += spelled(terminal="", python=" in a terminal")
    ways = [f"run {way}", "or choose a model that needs no key"]
    if provider.key_env:
        ways.insert(0, f"set {provider.key_env}")
        looked = [f"{provider.key_env} (not set)", *looked]
    if isinstance(provider, OptionKey):
        line = f"plugin_options: {{{provider.plugin}: {{{provider.option}: env:…}}}}"
        ways[-1] = f"or write `{line}` in the config file"
        return (
            f"no key for {_title(provider)}: {who}{', '.join(ways)}; looked in {', '.join(looked)}"
        )
    such = spelled(
        terminal="-m local or -m ollama/…",
        python='model="local" or model="ollama/…"',
        service="local or ollama/…",
    )
    return (
        f"no key for provider {provider.name!r}: {who}{', '.join(ways)}, such as {such}; looked in "
        f"{', '.join(looked)}"
    )


def _importable(module: str) -> bool:
    from importlib.util import find_spec  # noqa: PLC0415

    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):  # of its parent
        return False


def _in_notebook() -> bool:
    """Return whether the process is a shell of IPython, such as the kernel of a notebook."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", None)
    return shell is not None and shell() is not None
