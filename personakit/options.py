"""The options of a plugin: the parameters of its class, checked by pydantic."""

from __future__ import annotations

import inspect
import json
import typing
from collections.abc import Mapping
from typing import Any

from personakit.errors import ConfigError, did_you_mean
from personakit.frozen import thaw


def make(origin: str, target: Any, given: Mapping[str, Any]) -> Any:
    """Return an instance of a plugin's class made with its options; a module or object itself.

    Args:
        origin: The plugin as an error message names it.
        target: What its entry point names.
        given: The options that a persona or the config gives.

    Raises:
        ConfigError: An option is unknown, missing, or not of its type.
    """
    if not isinstance(target, type):
        if given:
            raise ConfigError(f"{origin} takes no options; found {', '.join(given)}")
        return target
    known = parameters(target)
    faults = [
        f"{origin} has no option {name!r}"
        + (did_you_mean(name, known) or f" (it has: {', '.join(known) or 'none'})")
        for name in given
        if name not in known
    ]
    faults += [
        f"{origin} needs the option {name!r}"
        for name, parameter in known.items()
        if parameter.default is parameter.empty and name not in given
    ]
    values = {}
    for name in given.keys() & known.keys():
        try:
            values[name] = _checked(target, name, thaw(given[name]))
        except ValueError as error:
            faults.append(f"{origin}, option {name!r}: {error}")
    if faults:
        raise ConfigError("\n".join(faults))
    try:
        return target(**values)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{origin}: {error}") from error


def parameters(target: type) -> dict[str, inspect.Parameter]:
    """Return the parameters of a class that can be given by name."""
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {n: p for n, p in inspect.signature(target).parameters.items() if p.kind in by_name}


def _checked(target: type, name: str, value: Any) -> Any:
    """Return a value converted to the type that a class declares for an option."""
    hints = {**typing.get_type_hints(target, include_extras=True)}
    init: Any = target.__init__  # type: ignore[misc]
    hints |= typing.get_type_hints(init, include_extras=True)
    if name not in hints:
        return value
    from pydantic import TypeAdapter, ValidationError  # noqa: PLC0415

    try:
        # JSON mode: strict, yet a list becomes a tuple or set and a text an Enum or Path.
        return TypeAdapter(hints[name]).validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        at = "".join(f"[{part}]" for part in first["loc"])
        found = json.dumps(first["input"], ensure_ascii=False)
        raise ValueError(f"{at and at + ': '}{first['msg']}, found {found:.60}") from None
