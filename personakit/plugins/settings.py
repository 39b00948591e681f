"""What a plugin gets from its user: the settings of what `setup` contributes, secrets, a folder."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from personakit import config as folders
from personakit.base import NAME, Later, Secret, private_files
from personakit.config import Config
from personakit.errors import ConfigError
from personakit.keys import Keys, OptionKey
from personakit.persona import PlacedOptions
from personakit.plugins import options, user_options


@dataclass(slots=True)
class Settings:
    """The user's settings of plugins, and the secrets among their options.

    Attributes:
        config: The user's settings.
        keys: Looks up secrets.
    """

    config: Config
    keys: Keys
    _classes: dict[str, type] = field(default_factory=dict)
    _later: dict[str, list[Secret]] = field(default_factory=dict)

    def secret(self, plugin: str, option: str, text: str, required: bool) -> Secret | None:
        """Return the secret of an option; None if it is missing and not required.

        Raises:
            ConfigError: It is required and missing, or a place cannot be read.
        """
        return self.keys.option(OptionKey(plugin, option, required, Secret(text)))

    def make(self, plugin: str, target: Any, settings: type) -> Any:
        """Return an instance of a class with the settings of a plugin; see `Registry.options`.

        Args:
            plugin: The plugin's name.
            target: The plugin's class, module or object, whose own options are left out.
            settings: The class.
        """
        self._classes[plugin] = settings
        given = self.config.plugin_options.get(plugin, {})
        known = options.parameters(settings)
        own = options.parameters(target) if isinstance(target, type) else {}
        mine = {name: value for name, value in given.items() if name in known or name not in own}
        origin = f"plugin {plugin!r}"

        def later(option: str, text: str, required: bool) -> Secret | None:
            if not (text or required):
                return self.secret(plugin, option, text, required)
            find = functools.partial(self.secret, plugin, option, text, required)
            secret = Later(find)  # type: ignore[arg-type]
            self._later.setdefault(plugin, []).append(secret)
            return secret

        change = user_options.by_user(self.config.folder, self.config)
        _, faults = options.read(origin, settings, mine, change)
        if faults:
            raise ConfigError("\n".join(_placed(fault, plugin, given) for fault in faults))
        return options.make(origin, settings, mine, plugin=plugin, change=change, secret=later)

    def class_of(self, plugin: str) -> type | None:
        """Return the class of a plugin's settings; None if its `setup` has asked for none."""
        return self._classes.get(plugin)

    def beneath(self, plugin: str, target: Any) -> Mapping[str, Any]:
        """Return the options of the config for a plugin's own class, without those of `make`."""
        given = self.config.plugin_options.get(plugin, {})
        settings = self.class_of(plugin)
        if settings is None:
            return given
        own = options.parameters(target) if isinstance(target, type) else {}
        of_setup = options.parameters(settings)
        return {n: value for n, value in given.items() if n in own or n not in of_setup}

    def look_up(self, plugins: Collection[str]) -> None:
        """Look up the secrets of plugins whose tools a run gets.

        Raises:
            ConfigError: One is missing.
        """
        for plugin in plugins:
            for secret in self._later.get(plugin, ()):
                secret.reveal()

    def keys_of(self, plugin: str, target: Any) -> list[OptionKey]:
        """Return the secrets among the options of a plugin."""
        classes = (target if isinstance(target, type) else None, self._classes.get(plugin))
        found = {}
        for one in filter(None, classes):
            for name, required in options.secrets_of(one).items():
                given = self.config.plugin_options.get(plugin, {}).get(name, "")
                value = Secret(given) if isinstance(given, str | Secret) else Secret("")
                found[name] = OptionKey(plugin, name, required, value)
        return [*found.values()]


def _placed(fault: options.Fault, plugin: str, given: Mapping[str, Any]) -> str:
    """Return the message of a fault, with its place in the config file."""
    if not isinstance(given, PlacedOptions):
        return fault.message
    at = ("plugin_options", plugin, fault.option)
    return str(given.document.problem(fault.message, at, key=fault.unknown))


def data_folder(
    plugin: str, kind: Literal["data", "state", "cache"] = "data", *, create: bool = True
) -> Path:
    """Return the folder for the files of a plugin; a missing one is created with mode 0700.

    The folder is ``personakit/PLUGIN`` in the user's folder of that kind, as the platform defines
    it: on Linux below ``~/.local/share``, ``~/.local/state`` or ``~/.cache``.

    Args:
        plugin: The plugin's name: lower-case letters, digits, ``-`` and ``_``.
        kind: ``data`` for what must not be lost, ``state`` for what one machine notes, ``cache``
            for what can be deleted at any time.
        create: False for its path alone: an instance of a plugin is made where nothing runs, too.

    Raises:
        ConfigError: The name is invalid, or the folder cannot be created.
    """
    places: dict[str, Callable[[Mapping[str, str]], Path | None]] = {
        "data": folders.data_folder, "state": folders.state_folder, "cache": folders.user_cache
    }  # fmt: skip
    if not NAME.match(str(plugin)) or kind not in places:
        raise ConfigError(
            f"data_folder({plugin!r:.80}, {kind!r:.20}): expected the name of a plugin (a-z, 0-9, "
            f"'-' and '_') and one of data, state and cache"
        )
    try:
        parent = places[kind](os.environ)
    except RuntimeError:
        parent = None
    if parent is None:
        raise ConfigError(f"the user has no home folder for the {kind} of {plugin}; set HOME")
    try:
        if create:
            private_files.make_folder(parent / plugin)
    except OSError as error:
        raise ConfigError(f"{parent / plugin}: cannot be created: {error.strerror}") from None
    return parent / plugin
