"""Config: the user's config file and the environment, read once, at the edge.

The file is ``config.yaml`` in the user's config folder, or the one that PERSONAKIT_CONFIG names.
No file of the current folder is read: a folder may be somebody else's, and a config says where
keys go.

::

    model: openai/gpt-5-mini            # used when neither the caller nor the persona names one
    path: [~/work/personas]             # further folders of personas
    parameters: {temperature: 0.3}      # used when neither the caller nor the persona sets them
    plugins: [redact]                   # around every persona's own
    providers:
      work: {base_url: "https://llm.example.com/v1", key_env: WORK_API_KEY}

Environment: PERSONAKIT_MODEL, PERSONAKIT_PATH (folders, separated as in PATH), PERSONAKIT_PLUGINS
(the only plugins that may be loaded, separated by commas) and PERSONAKIT_CONFIG.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from personakit import document
from personakit.errors import ConfigError, PersonaError, did_you_mean
from personakit.providers import BUILT_IN, Provider

APP = "personakit"
KEYS = ("model", "path", "parameters", "plugins", "providers")
PROVIDER_KEYS = tuple(
    f.name for f in dataclasses.fields(Provider) if f.name not in ("name", "connect", "path")
)


@dataclass(frozen=True, slots=True)
class Config:
    """What the user has set up.

    Attributes:
        model: The model when neither the caller nor the persona names one.
        path: Folders of personas, before those of installed packages.
        parameters: Parameters that the caller and the persona leave open.
        plugins: Plugins around every persona's own, as in a persona's `plugins:`.
        providers: Providers by name: the built-in ones and the user's own.
        select: The names of the plugins that may be loaded; None for all.
        environ: The environment that keys and addresses are taken from.
        file: The file it was read from; empty for none.
    """

    model: str | None = None
    path: tuple[Path, ...] = (Path("personas"),)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    plugins: tuple[Any, ...] = ()
    providers: Mapping[str, Provider] = field(default_factory=lambda: BUILT_IN)
    select: frozenset[str] | None = None
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    file: str = ""

    @classmethod
    def read(cls, environ: Mapping[str, str] | None = None) -> Config:
        """Read the user's config file and the environment.

        Args:
            environ: The environment; None for the process's own, followed as it changes.

        Raises:
            ConfigError: The file is wrong, or the one that PERSONAKIT_CONFIG names is missing.
        """
        env = os.environ if environ is None else environ
        folder = user_folder(env)
        named = env.get("PERSONAKIT_CONFIG")
        file = Path(named).expanduser() if named else folder / "config.yaml"
        data: dict[str, Any] = {}
        if named or file.is_file():
            data = _Reader(file).read()
        listed = env.get("PERSONAKIT_PATH", "").split(os.pathsep)
        path = [Path("personas"), *(Path(entry).expanduser() for entry in listed if entry)]
        path += [folder / "personas", *data.pop("path", ())]
        selected = env.get("PERSONAKIT_PLUGINS")
        chosen = None if selected is None else {name.strip() for name in selected.split(",")}
        return cls(
            model=env.get("PERSONAKIT_MODEL") or data.pop("model", None),
            path=tuple(path),
            select=None if chosen is None else frozenset(chosen - {""}),
            environ=env,
            file=str(file) if data else "",
            **{key: data[key] for key in ("parameters", "plugins", "providers") if key in data},
        )


def user_folder(environ: Mapping[str, str]) -> Path:
    """Return the folder of the user's config file, by the rules of the platform."""
    # platformdirs takes 20 ms to import; on Linux its rule is one line.
    if os.name == "posix" and not Path("/System/Library").exists():
        base = environ.get("XDG_CONFIG_HOME", "")
        return Path(base) / APP if base.strip() else Path.home() / ".config" / APP
    import platformdirs  # noqa: PLC0415

    return platformdirs.user_config_path(APP, appauthor=False)


class _Reader:
    """Checks a config file key by key."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.faults: list[str] = []
        try:
            self.document = document.parse(file.read_bytes(), str(file))
        except OSError as error:
            raise ConfigError(
                f"{file}: cannot be read: {error.strerror}; PERSONAKIT_CONFIG names it"
            ) from None
        except PersonaError as error:
            raise ConfigError(str(error)) from None

    def fail(self, message: str, *at: str | int, key: bool = False) -> None:
        self.faults.append(str(self.document.problem(message, at, key=key)))

    def read(self) -> dict[str, Any]:
        data = {} if self.document.data is None else self.document.data
        if not isinstance(data, dict):
            self.fail("a config file is a mapping")
            data = {}
        for key in data.keys() - set(KEYS):
            self.fail(f"unknown key {key!r}{did_you_mean(key, KEYS)}", key, key=True)
        found: dict[str, Any] = {key: data[key] for key in KEYS if data.get(key) is not None}
        wanted = {
            "model": str,
            "path": list,
            "parameters": dict,
            "plugins": list,
            "providers": dict,
        }
        for key in list(found):
            if not isinstance(found[key], wanted[key]):
                kind = {str: "a string", list: "a list", dict: "a mapping"}[wanted[key]]
                self.fail(f"{key}: expected {kind}", key)
                del found[key]
        if "path" in found:
            found["path"] = [Path(str(entry)).expanduser() for entry in found["path"]]
        if "providers" in found:
            own = {name: self.provider(name, given) for name, given in found["providers"].items()}
            found["providers"] = {**BUILT_IN, **own}
        if self.faults:
            raise ConfigError("\n".join(self.faults))
        return found

    def provider(self, name: str, given: Any) -> Provider:
        at = ("providers", name)
        base = BUILT_IN.get(name, Provider(name))
        if not isinstance(given, dict):
            self.fail(f"provider {name!r}: expected a mapping with `base_url`", *at)
            return base
        values = dict(given)
        for key in given.keys() - set(PROVIDER_KEYS):
            hint = did_you_mean(key, PROVIDER_KEYS) or f" (known: {', '.join(PROVIDER_KEYS)})"
            self.fail(f"unknown key {key!r}{hint}", *at, key, key=True)
            del values[key]
        if "headers" in values:
            pairs = values["headers"] if isinstance(values["headers"], dict) else {}
            values["headers"] = tuple((key, str(value)) for key, value in pairs.items())
        for key, value in values.items():
            kind = type(getattr(base, key))
            if not isinstance(value, kind):
                self.fail(f"{key}: expected {kind.__name__}, found {value!r}", *at, key)
        if not (values.get("base_url") or base.base_url or values.get("base_url_env")):
            self.fail(f"provider {name!r} has no `base_url`", *at)
        return dataclasses.replace(base, **{"key_required": bool(base.key_env), **values})
