"""Plugin options: the parameters of a plugin's class, validated by pydantic."""

from __future__ import annotations

import builtins
import dataclasses
import inspect
import json
import sys
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from personakit.base import Secret, described, scrub
from personakit.errors import (
    ConfigError,
    PersonaError,
    PersonakitError,
    PluginError,
    Problem,
    UsageError,
    did_you_mean,
)
from personakit.frozen import thaw
from personakit.permissions import Change, NotAllowed, UserOption
from personakit.persona import Document, PluginUse

CREDENTIAL = UserOption("credential")
Find = Callable[[str, str, bool], Secret | None]
"""Looks up the secret of an option: called with its name, the text that the user set (empty for
none) and whether it is required."""
USERS = "PK034"
"""The code of an option that only the user may set."""


class Fault(NamedTuple):
    """What is wrong with an option.

    Attributes:
        option: The option's name.
        message: The message, for the author of the persona or the user.
        code: The code of `personakit lint`.
        unknown: Whether the plugin has no such option.
    """

    option: str
    message: str
    code: str = "PK031"
    unknown: bool = False

    def problem(self, use: PluginUse, document: Document) -> Problem:
        """Return the problem with its position in the file that lists the plugin."""
        key = self.unknown and self.option in use.options
        return document.problem(self.message, use.place(self.option), key=key, code=self.code)


def refusal(faults: Sequence[Fault], use: PluginUse, *, user: bool) -> UsageError:
    """Return the error for the options of an entry, each with its position.

    Args:
        faults: What is wrong with the options.
        use: The entry.
        user: Whether the entry is the config's, not a persona's.
    """
    if use.document is None:
        return ConfigError("\n".join(fault.message for fault in faults))
    problems = [fault.problem(use, use.document) for fault in faults]
    return ConfigError("\n".join(map(str, problems))) if user else PersonaError(problems)


def make(
    origin: str,
    target: Any,
    given: Mapping[str, Any],
    *,
    plugin: str = "",
    change: Change | None = None,
    secret: Find | None = None,
) -> Any:
    """Return an instance of a plugin's class with its options; return other targets unchanged.

    Args:
        origin: The plugin's name in error messages.
        target: The class, module or object that the entry point names.
        given: The options from a persona or the config.
        plugin: The plugin's name.
        change: See `read`.
        secret: See `read`.

    Raises:
        ConfigError: An option is unknown or missing, has a wrong type, or the class rejects it.
        PluginError: The class raised another error.
    """
    if not isinstance(target, type):
        if given:
            raise ConfigError(f"{origin} accepts no options, found {', '.join(given)}")
        return target
    values, faults = read(origin, target, given, change, secret)
    if faults:
        raise ConfigError("\n".join(fault.message for fault in faults))
    secrets = [value for value in values.values() if isinstance(value, Secret)]
    outer = sys.exception()
    try:
        return target(**values)
    except (TypeError, ValueError, PersonakitError) as error:
        scrub(error, secrets, outer)
        raise ConfigError(f"{origin}: {error}") from error
    except Exception as error:
        scrub(error, secrets, outer)
        message = f"{type(error).__name__}: {error}"
        raise PluginError(f"{origin} cannot be created: {message}", plugin=plugin) from error


def read(
    origin: str,
    target: type,
    given: Mapping[str, Any],
    change: Change | None = None,
    secret: Find | None = None,
) -> tuple[dict[str, Any], list[Fault]]:
    """Return the converted options of a class, and what is wrong with them.

    Args:
        origin: The plugin's name in messages.
        target: The class.
        given: The options.
        change: Called with the mark and the value of each option that is the user's; returns the
            value to use, or raises `NotAllowed`.
        secret: Looks up the secrets; None to look up none, and to miss none.
    """
    known = parameters(target)
    keys = secrets_of(target)
    faults = [
        Fault(
            name,
            f"{origin} has no option {name!r}"
            + (did_you_mean(name, known) or f" (it has: {', '.join(known) or 'none'})"),
            unknown=True,
        )
        for name in given
        if name not in known
    ]
    faults += [
        Fault(name, f"{origin} needs the option {name!r}")
        for name, parameter in known.items()
        if parameter.default is parameter.empty and name not in given and name not in keys
    ]
    values = {}
    for name in given.keys() & known.keys():
        try:
            values[name] = _checked(target, name, thaw(given[name]), change, secret)
        except NotAllowed as error:
            faults.append(Fault(name, f"{origin}, option {name!r}: {error}", USERS))
        except ValueError as error:
            faults.append(Fault(name, f"{origin}, option {name!r}: {error}"))
    if secret is not None:
        for name in keys.keys() - given.keys():
            found = secret(name, "", keys[name])
            if found is not None:
                values[name] = found
    return values, faults


def secrets_of(target: type) -> dict[str, bool]:
    """Return the options of a class that are a `Secret`, and whether each is required."""
    found = {}
    for name, parameter in parameters(target).items():
        try:
            declared = _declared(target, name)
        except (NameError, AttributeError):  # an error of the option, once it is given
            continue
        kinds = (declared, *typing.get_args(declared))
        if any(kind is Secret or Secret in typing.get_args(kind) for kind in kinds):
            found[name] = parameter.default is parameter.empty
    return found


def parameters(target: type) -> dict[str, inspect.Parameter]:
    """Return the parameters of a class that can be passed by name."""
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {n: p for n, p in inspect.signature(target).parameters.items() if p.kind in by_name}


def _checked(
    target: type, name: str, value: Any, change: Change | None, secret: Find | None
) -> Any:
    """Return a value converted to the type that a class declares for an option."""
    given: list[Secret] = []

    def written(one: Any) -> str:
        if not isinstance(one, Secret):
            raise ValueError(f"expected plain data, found {type(one).__name__}")
        given.append(one)
        return f"\0{len(given) - 1}"

    def find(text: str) -> Secret | None:
        own = given[int(text[1:])] if text[:1] == "\0" else None
        if change is not None:
            try:
                change(CREDENTIAL, own or text)
            except NotAllowed:  # whose message has the value
                raise NotAllowed(CREDENTIAL.rule) from None
        if own is not None or secret is None:
            return own or Secret(text)
        return secret(name, text, True)

    from pydantic import PydanticUserError, TypeAdapter, ValidationError  # noqa: PLC0415

    try:
        wanted = TypeAdapter(_declared(target, name))
    except (NameError, PydanticUserError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"its type cannot be used at run time: {reason}") from None
    try:
        # Strict JSON mode still converts lists to tuples or sets, and strings to Enum or Path.
        context = {"change": change, "secret": find}
        data = json.dumps(value, default=written)
        return wanted.validate_json(data, strict=True, context=context)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        at = "".join(f"[{part}]" for part in first["loc"])
        if _holds_secret(wanted):
            raise ValueError(f"{at and at + ': '}{first['msg']}") from None
        found = json.dumps(first["input"], ensure_ascii=False)
        raise ValueError(f"{at and at + ': '}{first['msg']}, found {found:.60}") from None


def _holds_secret(wanted: Any) -> bool:
    """Return whether a value of a type may contain a secret, which no message shows."""
    from pydantic import PydanticUserError  # noqa: PLC0415

    try:
        return "writeOnly" in json.dumps(wanted.json_schema())
    except PydanticUserError:
        return True


def _declared(target: type, name: str) -> Any:
    """Return the type that a class declares for an option; other types stay unresolved."""
    of_class = dataclasses.is_dataclass(target)
    for owner in target.__mro__ if of_class else (target.__init__, *target.__mro__):  # type: ignore[misc]
        written = inspect.get_annotations(owner)
        if name in written:
            alone = types.SimpleNamespace(__annotations__={name: written[name]})
            names = vars(sys.modules.get(owner.__module__, builtins))
            return typing.get_type_hints(alone, names, include_extras=True)[name]
    return Any


def schema(target: type, prefix: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the JSON Schema of each parameter of a class, and the definitions they refer to.

    Args:
        target: A plugin's class.
        prefix: The prefix of the names of the definitions.
    """
    from pydantic import PydanticUserError, TypeAdapter  # noqa: PLC0415

    schemas: dict[str, Any] = {}
    shared: dict[str, Any] = {}
    for name, parameter in parameters(target).items():
        template = f"#/$defs/{prefix}.{name}.{{model}}"
        try:
            option = TypeAdapter(_declared(target, name)).json_schema(ref_template=template)
        except (NameError, PydanticUserError):
            option = {}  # the type has no JSON Schema
        for model, definition in option.pop("$defs", {}).items():
            shared[f"{prefix}.{name}.{model}"] = definition
        option.setdefault("description", described(target, name) or f"The option {name}.")
        default = _default(target, parameter)
        if default is not parameter.empty and _plain(default):
            option["default"] = default
        schemas[name] = option
    return schemas, shared


def _default(target: type, parameter: inspect.Parameter) -> Any:
    """Return the default of a parameter, or the result of a dataclass field's factory."""
    if dataclasses.is_dataclass(target):
        for field in dataclasses.fields(target):
            if field.name == parameter.name and field.default_factory is not dataclasses.MISSING:
                return field.default_factory()
    return parameter.default


def _plain(value: Any) -> bool:
    """Return whether a value can be written as JSON."""
    try:
        return bool(json.dumps(value))
    except (TypeError, ValueError):
        return False
