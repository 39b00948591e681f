"""What only the user may set or allow: options, and the plugins and tools of personas."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from personakit.base import NAME, SCHEME
from personakit.config import Config
from personakit.errors import ConfigError, spelled
from personakit.permissions import PATHS, Change, NotAllowed, UserOption, allows, within
from personakit.persona import Persona, PluginUse
from personakit.plugins import options


def by_persona(folder: str | None, config: Config, is_file: Callable[[str], bool]) -> Change:
    """Return the check of a persona's options; it raises `NotAllowed`.

    Args:
        folder: The folder of the persona's file; None if it has none.
        config: The user's settings, with the aliases of models and the private files.
        is_file: Returns whether a model's name is the path of a file.
    """
    base = None if folder is None else Path(folder)

    def change(mark: UserOption, value: Any) -> Any:
        if mark.kind == "model" and isinstance(value, str):
            if is_file(value):
                raise NotAllowed(f"{value!r} is the path of a file; {mark.rule}")
            # The alias is the user's, so its model may be a file.
            return config.resolve(value)
        if not mark.in_persona or not isinstance(value, str) or not value:
            raise NotAllowed(f"found {value!r}; {mark.rule}")
        if mark.kind == "persona" and _is_name(value):
            return value
        try:
            return str(within(base, value, config.private))
        except ValueError as error:
            raise NotAllowed(f"{error}; {mark.rule}") from None

    return change


def by_user(folder: str | None, config: Config) -> Change:
    """Return the change of the config's options: paths are relative to the config file.

    Args:
        folder: The folder of the config file; None for a config made in Python.
        config: The user's settings, with the aliases of models.
    """

    def change(mark: UserOption, value: Any) -> Any:
        if mark.kind == "model" and isinstance(value, str):
            return config.resolve(value)
        if mark.kind not in PATHS or not isinstance(value, str) or not value:
            return value
        scheme = value.partition(":")[0]
        if mark.kind == "persona" and (_is_name(value) or SCHEME.match(scheme)):
            return value
        path = os.path.expandvars(os.path.expanduser(value))  # noqa: PTH111
        # An absolute path is kept.
        return path if folder is None else str(Path(folder, path))

    return change


def merged(config: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of the config with a persona's own above them, key by key."""
    result = dict(config)
    for key, value in own.items():
        beneath = result.get(key)
        both = isinstance(beneath, Mapping) and isinstance(value, Mapping)
        result[key] = merged(beneath, value) if both else value  # type: ignore[arg-type]
    return result


@dataclasses.dataclass(slots=True)
class Settled:
    """The options of an entry, and the change that makes the user's ones usable.

    Attributes:
        given: The options of the entry, above those of the config's `plugin_options`.
        of_persona: What the persona's values become, as (mark, value, result).
        of_user: The values of the user.
        user: The change of the user's values.
        faults: What is wrong with the options.
        paths: The paths that they name.
    """

    given: Mapping[str, Any]
    of_persona: list[tuple[UserOption, Any, Any]]
    of_user: list[Any]
    user: Change
    faults: list[options.Fault] = dataclasses.field(default_factory=list)
    paths: list[str] = dataclasses.field(default_factory=list)

    def __call__(self, mark: UserOption, value: Any) -> Any:
        """Return the value to use.

        Raises:
            NotAllowed: The value is neither a checked one of the persona nor the user's.
        """
        checked = [done for of, given, done in self.of_persona if (of, given) == (mark, value)]
        if not checked and value not in self.of_user:
            raise NotAllowed(f"found {value!r}; {mark.rule}")
        result = checked[0] if checked else self.user(mark, value)
        if mark.kind in PATHS and isinstance(result, str) and result not in ("", *self.paths):
            self.paths.append(result)
        return result


def settle(
    origin: str,
    target: Any,
    use: PluginUse,
    config: Config,
    check: Change | None,
    beneath: Mapping[str, Any],
) -> Settled:
    """Return the options of an entry in a list of plugins.

    Args:
        origin: The plugin's name in messages.
        target: The plugin's class, module or object.
        use: The entry.
        config: The user's settings.
        check: The check of a persona's options; None for an entry of the config.
        beneath: The options of the config's `plugin_options`.
    """
    given = merged(beneath, use.options)
    if check is None:
        folder = use.document.folder if use.document else None
        return Settled(given, [], [*leaves(given)], by_user(folder or config.folder, config))
    settled = Settled(given, [], [*leaves(beneath)], by_user(config.folder, config))
    if not isinstance(target, type):
        return settled

    def checked(mark: UserOption, value: Any) -> Any:
        result = check(mark, value)
        settled.of_persona.append((mark, value, result))
        return result

    line = functools.partial(_line, config, use.name)
    _, faults = options.read(origin, target, use.options, checked)
    refused = [fault for fault in faults if fault.code == options.USERS]
    values, faults = options.read(origin, target, given, settled)
    known = {fault.option for fault in refused}
    settled.faults += [
        _explained(fault, use, beneath, config) for fault in faults if fault.option not in known
    ]
    refused += _unmarked(origin, use, values, settled.paths)
    for fault in refused:
        message = f"{fault.message}; if you trust it, set it {line(fault.option)}"
        settled.faults.append(fault._replace(message=message))
    return settled


def _explained(
    fault: options.Fault, use: PluginUse, beneath: Mapping[str, Any], config: Config
) -> options.Fault:
    """Return a fault with the place in the config that it is about, if it is not the persona's."""
    if fault.option in use.options:
        return fault
    if fault.option in beneath:
        place = f"{config.file or 'the config'}: plugin_options: "
        return fault._replace(message=place + fault.message)
    way = _line(config, use.name, fault.option)
    return fault._replace(message=f"{fault.message}; set it here, or {way}")


def _line(config: Config, plugin: str, option: str) -> str:
    """Return where the user sets an option."""
    way = f"`plugin_options: {{{plugin}: {{{option}: …}}}}`"
    return f"in {config.file or 'the config file'}: {way}"


def _unmarked(
    origin: str, use: PluginUse, values: Mapping[str, Any], paths: list[str]
) -> Iterator[options.Fault]:
    """Yield the options of a persona that are paths, URLs or secrets and have no mark."""
    for name in use.options.keys() & values.keys():
        texts = [text for text in leaves(use.options[name]) if isinstance(text, str)]
        text = unmarked(values[name], texts, paths)
        if text:
            reason = f"found {text!r}; only the user may set it"
            yield options.Fault(name, f"{origin}, option {name!r}: {reason}", options.USERS)


def check_tools(config: Config, persona: Persona, tools: Mapping[str, Collection[str]]) -> None:
    """Check that the user allows the tools that touch something; see `Plugins.check_tools`."""
    allowed = config.allow_tools
    refused = {n: what for n, what in tools.items() if what and not allows(allowed, n)}
    if not refused:
        return
    listed = " and ".join(f"{name!r} ({', '.join(what)})" for name, what in refused.items())
    first = next(iter(refused))
    once = spelled(
        terminal=f"to allow it for one run, add `-T {first}`; for every run, write ",
        python="to allow it, write ",
        service="to allow it, the operator writes ",
    )
    raise ConfigError(
        f"{persona.path}: the persona may not use {listed}: a tool that touches something "
        f"outside of the run needs the user's permission; {once}"
        f"`allow_tools: [{', '.join(refused)}]` in {config.file or 'the config file'} "
        f"(allowed now: {', '.join(sorted(allowed)) or 'none'})"
    )


def check_listed(config: Config, use: PluginUse) -> None:
    """Check that the user allows a persona to list a plugin.

    Raises:
        ConfigError: It is not allowed.
    """
    allowed = config.allow_plugins
    if allowed is not None and not allows(allowed, use.name):
        listed = ", ".join(sorted(allowed)) or "none"
        raise ConfigError(
            f"plugin {use.name!r} may not be listed by a persona: `allow_plugins` of the "
            f"config file allows {listed}"
        )


def leaves(value: Any) -> Iterator[Any]:
    """Yield the values in plain data, keys of mappings included."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield key
            yield from leaves(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from leaves(item)
    else:
        yield value


def unmarked(value: Any, texts: Iterable[str], paths: Iterable[str]) -> str:
    """Return a text of a persona that an unmarked option turns into a path, a URL or a secret.

    Args:
        value: The value of an option, as the plugin gets it.
        texts: The texts in the persona's value.
        paths: The paths that marked options name.

    Returns:
        The text; empty if there is none.
    """
    written = {_normal(text): text for text in texts}
    for one in _objects(value):
        text = None
        if isinstance(one, os.PathLike):
            text = os.fspath(one)
        elif hasattr(one, "get_secret_value"):
            text = one.get_secret_value()
        elif hasattr(one, "unicode_string"):
            text = one.unicode_string()
        if isinstance(text, str) and text not in paths and _normal(text) in written:
            return written[_normal(text)]
    return ""


def _normal(text: str) -> str:
    """Return a text as it is spelled by a path and by a URL."""
    return os.path.normpath(text) if text else text


def _objects(value: Any) -> Iterator[Any]:
    """Yield a value and those in it: in collections, dataclasses and pydantic models."""
    yield value
    if isinstance(value, Mapping):
        parts: Iterable[Any] = (*value.keys(), *value.values())
    elif isinstance(value, list | tuple | set | frozenset):
        parts = value
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        parts = [getattr(value, field.name, None) for field in dataclasses.fields(value)]
    elif hasattr(type(value), "model_fields"):
        parts = vars(value).values()
    else:
        return
    for part in parts:
        yield from _objects(part)


def _is_name(text: str) -> bool:
    return "/" not in text and NAME.match(text.partition("@")[0]) is not None
