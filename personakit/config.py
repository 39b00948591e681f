"""Config: the user's config file and the environment, read once.

The file is ``config.yaml`` in the user's config folder, or the file that PERSONAKIT_CONFIG names.
No config file is read from the current folder: the folder may come from somebody else, and a
config decides where keys are sent.

::

    model: openai/gpt-5-mini            # used when neither the caller nor the persona sets one
    path: [~/prompts]                   # additional folders of personas
    parameters: {temperature: 0.3}      # used when neither the caller nor the persona sets them
    plugins: [redact]                   # around every persona's own plugins
    allow_plugins: [redact, cache]      # the only plugins a persona may list; default: all
    allow_tools: [web_search]           # the tools of personas that touch files, the network, …
    plugin_options: {rag: {folder: ~/notes}}    # for personas that list the plugin
    timeout: 60                         # seconds that an upstream may stay silent; default 600
    deadline: 300                       # seconds that a whole run may take; default 1800
    providers:
      work: {base_url: "https://llm.example.com/v1", key_env: WORK_API_KEY}
    log: {max_age: 90d, max_size: 500MB, python: true}    # the run log; `off` for none
    serve: {port: 8080, personas: [chef]}    # what `personakit serve` uses; see Settings

Environment variables: PERSONAKIT_MODEL, PERSONAKIT_PATH (folders, separated as in PATH),
PERSONAKIT_PLUGINS (the only plugins that may be loaded, separated by commas), PERSONAKIT_LOG (the
file of the run log, or ``off``) and PERSONAKIT_CONFIG.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from personakit.base import (
    DEFAULT_DEADLINE,
    NAME,
    Hidden,
    brief_repr,
    describe,
    is_type,
    read_file,
)
from personakit.errors import ConfigError, PersonaError, UsageError
from personakit.persona import Checker, PlacedOptions, parameters, read_plugins, yaml
from personakit.providers import BUILT_IN, DEFAULT_ALIAS, Provider, read_aliases

APP = "personakit"
KEYS_FILE = "keys.json"
ALIASES_FILE = "aliases.json"
KEYS = tuple(
    "model path parameters plugins allow_plugins allow_tools plugin_options timeout deadline "
    "providers log serve".split()
)
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://", re.ASCII)
_NOT_OF_CONFIG = ("name", "connect", "backend", "path", "names_file", "given")
PROVIDER_KEYS = tuple(f.name for f in dataclasses.fields(Provider) if f.name not in _NOT_OF_CONFIG)


MAX_SIZE = 1_000_000_000
LOG_KEYS = ("python", "max_age", "max_size")
NONE = "none"

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800, "y": 31_536_000}
_BYTES = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}
_AMOUNT = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)\s?([A-Za-z]{1,3})\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class LogSettings:
    """The settings of the run log.

    Attributes:
        on: False to disable the log, whatever else asks for it.
        python: Whether runs from Python are logged as well.
        max_age: Seconds after which a run is deleted; None for never.
        max_size: Approximate limit in bytes; the oldest runs are deleted first. None for no limit.
    """

    on: bool = True
    python: bool = False
    max_age: float | None = None
    max_size: int | None = MAX_SIZE


def read_log(checker: Checker, value: Any) -> LogSettings:
    """Parse ``log:`` of a config; mistakes are added to the checker's problems."""
    # In YAML 1.2, `off` is a string.
    if value in (False, "off", True, "on"):
        return LogSettings(on=value in (True, "on"))
    if not isinstance(value, Mapping):
        example = "write `off`, or a mapping such as {max_age: 90d, max_size: 500MB}"
        checker.fail(f"log: expected off or a mapping, found {describe(value)}; {example}", "log")
        return LogSettings()
    checker.unknown(value, LOG_KEYS, "log")
    settings: dict[str, Any] = {}
    if "python" in value:
        settings["python"] = checker.boolean(value["python"], "log", "python")
    for key, read in (("max_age", parse_age), ("max_size", parse_size)):
        if value.get(key) == NONE:
            settings[key] = None
        elif value.get(key) is not None:
            try:
                settings[key] = read(value[key])
            except ValueError as error:
                checker.fail(f"{key}: {error}", "log", key)
    return LogSettings(**settings)


def parse_age(text: Any) -> float:
    """Return an age such as ``90d`` in seconds.

    Raises:
        ValueError: The text is not an age.
    """
    return _amount(text, _SECONDS, "an age such as 90d, 12h or 2w")


def parse_size(text: Any) -> int:
    """Return a size such as ``500MB`` in bytes.

    Raises:
        ValueError: The text is not a size.
    """
    return int(_amount(text, _BYTES, "a size such as 500MB or 2GB"))


def _amount(text: Any, units: Mapping[str, int], wanted: str) -> float:
    match = _AMOUNT.match(text) if isinstance(text, str) else None
    unit = None
    if match is not None:
        unit = units.get(match[2]) or units.get(match[2].upper()) or units.get(match[2].lower())
    if match is None or unit is None or float(match[1]) == 0:
        raise ValueError(f"expected {wanted}, found {describe(text)}")
    return float(match[1]) * unit


@dataclass(frozen=True, slots=True)
class Config:
    """The user's settings.

    Attributes:
        model: The model used when neither the caller nor the persona sets one.
        path: Folders of personas, searched before those of installed packages.
        parameters: Parameters used when neither the caller nor the persona sets them.
        plugins: Plugins around every persona's own plugins, as in a persona's `plugins:`.
        allow_plugins: Patterns of the only plugins that personas may list; None for all.
        allow_tools: Patterns of the tools that personas may use although they touch something.
        plugin_options: Options by plugin, for personas that list it and do not set them.
        timeout: Seconds that an upstream may stay silent; None for the client's default (600).
        deadline: Seconds that a whole run may take; None for no limit.
        providers: Providers by name: the built-in ones and the user's own.
        log: The settings of the run log.
        serve: What `serve:` says, unchecked; `Settings.of` of the server checks it.
        select: The names of the plugins that may be loaded; None for all.
        environ: The environment, for keys and base URLs.
        file: The file that was read; empty if there is none.
        keys_file: The file with the user's keys; None to read no such file.
        keyring: Whether to look for keys in the keyring of the operating system.
        aliases: The user's short names of models, each with its model.
        aliases_file: The file that they were read from; None to read no such file.
    """

    model: str | None = None
    path: tuple[Path, ...] = (Path("personas"),)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    plugins: tuple[Any, ...] = field(default=(), repr=False)
    allow_plugins: frozenset[str] | None = None
    allow_tools: frozenset[str] = frozenset()
    plugin_options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)
    timeout: float | None = None
    deadline: float | None = DEFAULT_DEADLINE
    providers: Mapping[str, Provider] = field(default_factory=lambda: BUILT_IN)
    log: LogSettings = field(default_factory=LogSettings)
    serve: Mapping[str, Any] = field(default_factory=dict, repr=False)
    select: frozenset[str] | None = None
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    file: str = ""
    keys_file: Path | None = None
    keyring: bool = False
    aliases: Mapping[str, str] = field(default_factory=dict)
    aliases_file: Path | None = None

    __repr__ = brief_repr

    def __post_init__(self) -> None:
        if self.model:
            object.__setattr__(self, "model", self.resolve(self.model))

    @classmethod
    def read(cls, environ: Mapping[str, str] | None = None) -> Config:
        """Read the user's config file and the environment.

        Args:
            environ: The environment; None for that of the process, including later changes. With
                any other environment the keyring of the operating system is not used.

        Raises:
            ConfigError: The file or that of the aliases is invalid, or PERSONAKIT_CONFIG names a
                missing file.
        """
        keyring = environ is None
        env = environ = Hidden(os.environ if environ is None else environ)
        folder = user_folder(env)
        named = env.get("PERSONAKIT_CONFIG")
        file = expanded(named) if named else folder / "config.yaml"
        data: dict[str, Any] = {}
        source = ""
        if named or os.path.lexists(file):
            source = str(file)
            data, fault = _data(file, named=bool(named))
            if fault:
                raise ConfigError(fault)
        listed = env.get("PERSONAKIT_PATH", "").split(os.pathsep)
        path = [Path("personas"), *(expanded(entry) for entry in listed if entry)]
        path += [folder / "personas", *data.get("path", ())]
        if env.get("PERSONAKIT_LOG", "").lower() in ("off", "0", "false", "no"):
            data["log"] = LogSettings(on=False)
        selected = env.get("PERSONAKIT_PLUGINS")
        chosen = None if selected is None else {name.strip() for name in selected.split(",")}
        aliases = read_aliases(folder / ALIASES_FILE, data.get("providers", BUILT_IN))
        return cls(
            model=env.get("PERSONAKIT_MODEL") or data.get("model") or aliases.get(DEFAULT_ALIAS),
            path=tuple(path),
            select=None if chosen is None else frozenset(chosen - {""}),
            environ=env,
            file=source,
            keys_file=folder / KEYS_FILE,
            keyring=keyring,
            aliases=aliases,
            aliases_file=folder / ALIASES_FILE,
            **{key: data[key] for key in KEYS[2:] if key in data},
        )

    def resolve(self, model: str) -> str:
        """Return the model of an alias; any other model as it is.

        Raises:
            UsageError: It is not a string.
        """
        if not isinstance(model, str):
            raise UsageError(f"model must be a string, found {type(model).__name__}")
        return self.aliases.get(model, model)

    @property
    def folder(self) -> str | None:
        """The absolute path of the folder of the config file; None if there is no file."""
        return os.path.dirname(os.path.abspath(self.file)) if self.file else None  # noqa: PTH100, PTH120

    @property
    def private(self) -> tuple[Path, ...]:
        """The config file and the folders of personakit, which no persona may name."""
        env = self.environ
        folders = [Path(self.file)] if self.file else []
        with contextlib.suppress(RuntimeError):  # a user without a home folder
            folders += [user_folder(env), data_folder(env), state_folder(env)]
        cache = user_cache(env)
        return (*folders, *([cache] if cache else ()))


def user_folder(environ: Mapping[str, str]) -> Path:
    """Return the user's config folder, as the platform defines it."""
    return _folder(environ, "XDG_CONFIG_HOME", ".config", "user_config_path")


def data_folder(environ: Mapping[str, str]) -> Path:
    """Return the user's data folder, as the platform defines it."""
    return _folder(environ, "XDG_DATA_HOME", ".local/share", "user_data_path")


def state_folder(environ: Mapping[str, str]) -> Path:
    """Return the user's state folder, as the platform defines it."""
    return _folder(environ, "XDG_STATE_HOME", ".local/state", "user_state_path")


def user_cache(environ: Mapping[str, str]) -> Path | None:
    """Return the user's cache folder, as the platform defines it.

    None for a user without a home folder, such as in a container.
    """
    try:
        return _folder(environ, "XDG_CACHE_HOME", ".cache", "user_cache_path")
    except RuntimeError:
        return None


def _folder(environ: Mapping[str, str], variable: str, default: str, kind: str) -> Path:
    """Return a folder of the user; `kind` is its name in platformdirs."""
    # platformdirs takes 20 ms to import; on Linux its rule is one line.
    if os.name != "posix" or Path("/System/Library").exists():
        import platformdirs  # noqa: PLC0415

        folder: Path = getattr(platformdirs, kind)(APP, appauthor=False)
        return folder
    base = environ.get(variable, "")
    home = environ.get("HOME") or Path.home()
    return Path(base) / APP if base.strip() else Path(home) / default / APP


def expanded(path: str) -> Path:
    """Return a path that a user wrote, in which ``~`` is a home folder.

    Raises:
        ConfigError: The user after the ``~`` does not exist.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise ConfigError(f"{path}: there is no such user") from None


def _data(file: Path, *, named: bool) -> tuple[dict[str, Any], str]:
    """Return the values of a config file, and an error message that is empty on success.

    It does not raise: the frames of a traceback would hold the keys in the file.
    """
    try:
        return _Reader(file, named=named).read(), ""
    except (PersonaError, ConfigError) as error:
        return {}, str(error)


class _Reader(Checker):
    """Checks a config file key by key."""

    def __init__(self, file: Path, *, named: bool) -> None:
        try:
            super().__init__(yaml.parse(read_file(file, yaml.MAX_BYTES), str(file), file=file))
        except OSError as error:
            hint = "; PERSONAKIT_CONFIG names this file" if named else ""
            raise ConfigError(f"{file}: cannot be read: {error.strerror}{hint}") from None

    def read(self) -> dict[str, Any]:
        data = {} if self.document.data is None else self.document.data
        if not isinstance(data, dict):
            self.fail("a config file must be a mapping", code="PK011")
            data = {}
        self.unknown(data, KEYS)
        readers: dict[str, Callable[[Any], Any]] = {
            "model": lambda value: self.text(value, "model") or None,
            "path": self.path,
            "parameters": self.parameters,
            "plugins": lambda value: read_plugins(self, value),
            "allow_plugins": lambda value: frozenset(self.texts(value, "allow_plugins")),
            "allow_tools": lambda value: frozenset(self.texts(value, "allow_tools")),
            "plugin_options": lambda value: PlacedOptions.read(self, value),
            "timeout": lambda value: self.seconds(value, "timeout"),
            "deadline": lambda value: self.seconds(value, "deadline"),
            "providers": self.providers,
            "log": lambda value: read_log(self, value),
            "serve": lambda value: PlacedOptions.at(self, value, "serve"),
        }
        values = {key: readers[key](data[key]) for key in KEYS if data.get(key) is not None}
        if self.problems:
            self.problems.sort(key=lambda problem: (problem.line, problem.column))
            raise ConfigError("\n".join(map(str, self.problems)))
        return values

    def path(self, value: Any) -> list[Path]:
        folders = []
        for index, entry in enumerate(self.list(value, "path")):
            try:
                folders.append(expanded(self.text(entry, "path", index)))
            except ConfigError as error:
                self.fail(f"path: {error}", "path", index)
        return folders

    def parameters(self, value: Any) -> dict[str, Any]:
        values = self.mapping(value, "parameters")
        for name, setting in values.items():
            fault = parameters.fault(name, setting)
            if fault:
                self.fail(fault, "parameters", name, key=name not in parameters.ALLOWED)
        return values

    def seconds(self, value: Any, key: str) -> float | None:
        if is_type(value, "number") and value > 0:
            return float(value)
        self.fail(f"{key}: expected a number of seconds above 0, found {describe(value)}", key)
        return None

    def providers(self, value: Any) -> dict[str, Provider]:
        own = self.mapping(value, "providers")
        return {**BUILT_IN, **{name: self.provider(name, given) for name, given in own.items()}}

    def provider(self, name: str, given: Any) -> Provider:
        at = ("providers", name)
        base = BUILT_IN.get(name, Provider(name, key_required=False))
        if not NAME.match(name):
            self.fail(
                f"invalid provider name {name[:80]!r}: use a-z, 0-9, '_' and '-'", *at, key=True
            )
        if not isinstance(given, dict):
            self.fail(f"provider {name!r}: expected a mapping with `base_url`", *at)
            return base
        self.unknown(given, PROVIDER_KEYS, *at)
        kept = {key: self.value(base, key, given[key]) for key in PROVIDER_KEYS if key in given}
        if not kept and name not in BUILT_IN:
            self.fail(f"provider {name!r} has no `base_url`", *at)
        kept["given"] = frozenset(kept)
        # A user's provider that names a key requires it.
        kept.setdefault("key_required", base.key_required or bool(kept.get("key_env")))
        return dataclasses.replace(base, **kept)

    def value(self, base: Provider, key: str, value: Any) -> Any:
        """Return the value of one key; errors do not show it, because it may be a secret."""
        at = ("providers", base.name, key)
        if key == "headers":
            pairs = self.mapping(value, *at) if isinstance(value, dict) else {}
            if not isinstance(value, dict) or not all(isinstance(v, str) for v in pairs.values()):
                self.fail("headers: expected a mapping of strings; quote numbers", *at)
            return tuple((header, str(given)) for header, given in pairs.items())
        wanted = str if key == "api_key" else type(getattr(base, key))
        is_below = isinstance(value, int) and value < 0
        if not isinstance(value, wanted) or is_below or (wanted is int and value is True):
            kind = {bool: "true or false", int: "an integer of 0 or more"}.get(wanted, "a string")
            self.fail(f"{key}: expected {kind}", *at)
            return getattr(base, key)
        if key == "base_url" and not _ADDRESS.match(value):
            self.fail("base_url: expected a URL such as https://example.com/v1", *at)
        return value
