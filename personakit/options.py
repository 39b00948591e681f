"""The options of a plugin: the parameters of its class, checked by pydantic."""

from __future__ import annotations

import builtins
import dataclasses
import inspect
import json
import re
import sys
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any

from personakit.errors import ConfigError, PersonakitError, PluginError, did_you_mean
from personakit.frozen import thaw


def make(origin: str, target: Any, given: Mapping[str, Any], *, plugin: str = "") -> Any:
    """Return an instance of a plugin's class made with its options; a module or object itself.

    Args:
        origin: The plugin as an error message names it.
        target: What its entry point names.
        given: The options that a persona or the config gives.
        plugin: The plugin's name.

    Raises:
        ConfigError: An option is unknown, missing, or not of its type, or the class refuses it.
        PluginError: The class failed in another way.
    """
    if not isinstance(target, type):
        if given:
            raise ConfigError(f"{origin} takes no options; found {', '.join(given)}")
        return target
    values, faults = read(origin, target, given)
    if faults:
        raise ConfigError("\n".join(message for _, message in faults))
    try:
        return target(**values)
    except (TypeError, ValueError, PersonakitError) as error:
        raise ConfigError(f"{origin}: {error}") from error
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
        raise PluginError(f"{origin} cannot be made: {said}", plugin=plugin) from error


def read(
    origin: str, target: type, given: Mapping[str, Any]
) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Return the options for a class, converted, and what is wrong: pairs of option and message."""
    known = parameters(target)
    faults = [
        (
            name,
            f"{origin} has no option {name!r}"
            + (did_you_mean(name, known) or f" (it has: {', '.join(known) or 'none'})"),
        )
        for name in given
        if name not in known
    ]
    faults += [
        (name, f"{origin} needs the option {name!r}")
        for name, parameter in known.items()
        if parameter.default is parameter.empty and name not in given
    ]
    values = {}
    for name in given.keys() & known.keys():
        try:
            values[name] = _checked(target, name, thaw(given[name]))
        except ValueError as error:
            faults.append((name, f"{origin}, option {name!r}: {error}"))
    return values, faults


def parameters(target: type) -> dict[str, inspect.Parameter]:
    """Return the parameters of a class that can be given by name."""
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {n: p for n, p in inspect.signature(target).parameters.items() if p.kind in by_name}


def _checked(target: type, name: str, value: Any) -> Any:
    """Return a value converted to the type that a class declares for an option."""
    from pydantic import PydanticUserError, TypeAdapter, ValidationError  # noqa: PLC0415

    try:
        wanted = TypeAdapter(_declared(target, name))
    except (NameError, PydanticUserError) as error:
        said = str(error).partition("\n")[0]
        raise ValueError(f"its type cannot be used at run time: {said}") from None
    try:
        # JSON mode: strict, yet a list becomes a tuple or set and a text an Enum or Path.
        return wanted.validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        at = "".join(f"[{part}]" for part in first["loc"])
        found = json.dumps(first["input"], ensure_ascii=False)
        raise ValueError(f"{at and at + ': '}{first['msg']}, found {found:.60}") from None


def _declared(target: type, name: str) -> Any:
    """Return the type that a class declares for an option; of its other types none is looked up."""
    of_class = dataclasses.is_dataclass(target)
    for owner in target.__mro__ if of_class else (target.__init__, *target.__mro__):  # type: ignore[misc]
        written = inspect.get_annotations(owner)
        if name in written:
            alone = types.SimpleNamespace(__annotations__={name: written[name]})
            names = vars(sys.modules.get(owner.__module__, builtins))
            return typing.get_type_hints(alone, names, include_extras=True)[name]
    return Any


def schema(target: type, prefix: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the JSON Schema of each parameter of a class, and the definitions that they refer to.

    Args:
        target: A plugin's class.
        prefix: What the names of the definitions begin with.
    """
    from pydantic import PydanticUserError, TypeAdapter  # noqa: PLC0415

    found: dict[str, Any] = {}
    shared: dict[str, Any] = {}
    for name, parameter in parameters(target).items():
        template = f"#/$defs/{prefix}.{name}.{{model}}"
        try:
            made = TypeAdapter(_declared(target, name)).json_schema(ref_template=template)
        except (NameError, PydanticUserError):
            made = {}  # a type that JSON Schema has no word for
        for model, definition in made.pop("$defs", {}).items():
            shared[f"{prefix}.{name}.{model}"] = definition
        made.setdefault("description", _described(target, name) or f"The option {name}.")
        default = _default(target, parameter)
        if default is not parameter.empty and _plain(default):
            made["default"] = default
        found[name] = made
    return found, shared


def _default(target: type, parameter: inspect.Parameter) -> Any:
    """Return the default of a parameter; of a dataclass, what a field's factory makes."""
    if dataclasses.is_dataclass(target):
        for field in dataclasses.fields(target):
            if field.name == parameter.name and field.default_factory is not dataclasses.MISSING:
                return field.default_factory()
    return parameter.default


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the types of a function's parameters; its result's may not be there at run time."""
    names = getattr(inspect.unwrap(function), "__globals__", None)
    if names is None:
        return typing.get_type_hints(function, include_extras=True)
    written = {name: t for name, t in inspect.get_annotations(function).items() if name != "return"}
    alone = types.SimpleNamespace(__annotations__=written)
    return typing.get_type_hints(alone, names, include_extras=True)


def plain(value: Any) -> Any:
    """Return what JSON can hold for a value of another type: a model, a dataclass, a date.

    Raises:
        TypeError: There is nothing of that kind.
    """
    from pydantic import TypeAdapter  # noqa: PLC0415

    try:
        return TypeAdapter(Any).dump_python(value, mode="json")
    except ValueError:
        raise TypeError(f"{type(value).__name__} is nothing that JSON can hold") from None


def arguments(
    function: Callable[..., Any], origin: str
) -> tuple[dict[str, Any], Callable[[dict[str, Any]], dict[str, Any]]]:
    """Return the JSON Schema of a function's arguments, and what checks and converts them.

    Args:
        function: A function with type hints.
        origin: The function as an error message names it.

    Raises:
        ConfigError: A parameter cannot be given by name, or its type has no JSON Schema.
    """
    from pydantic import (  # noqa: PLC0415
        ConfigDict,
        Field,
        PydanticUserError,
        ValidationError,
        create_model,
    )

    fields: dict[str, Any] = {}
    try:
        hints = _hints(function)
        for name, parameter in inspect.signature(function).parameters.items():
            if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
                raise ConfigError(
                    f"{origin}: parameter {str(parameter)!r} cannot be given by name; a tool's "
                    f"parameters have names of their own"
                )
            default = ... if parameter.default is parameter.empty else parameter.default
            hint = hints.get(name, Any)
            said = _described(function, name) or _noted(hint)
            # A description of None would take the place of one that the type brings.
            more: dict[str, Any] = {"description": said} if said else {}
            # As fields of a model, `_x` is refused and `schema` is in the way of the model's own.
            fields[f"of_{name}"] = (hint, Field(default, alias=name, **more))
        model = create_model("arguments", __config__=ConfigDict(extra="forbid"), **fields)
        schema = model.model_json_schema()
    except (NameError, TypeError, PydanticUserError) as error:
        raise ConfigError(
            f"{origin}: {str(error).partition(chr(10))[0]}; give its parameters types that JSON "
            f"can hold"
        ) from None
    schema.pop("title", None)
    for described in schema.get("properties", {}).values():
        described.pop("title", None)

    def check(given: dict[str, Any]) -> dict[str, Any]:
        try:
            made = model.model_validate_json(json.dumps(given))
        except ValidationError as error:
            found = error.errors(include_url=False, include_input=False)
            said = (f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in found)
            raise ValueError("; ".join(said)) from None
        return {name.removeprefix("of_"): getattr(made, name) for name in fields}

    return schema, check


def _noted(hint: Any) -> str:
    """Return the text in ``Annotated[int, "The first number."]``."""
    return next((note for note in getattr(hint, "__metadata__", ()) if isinstance(note, str)), "")


def typed(kind: Any) -> tuple[dict[str, Any], Callable[[str], Any]]:
    """Return the JSON Schema of a type, and what makes a value of it out of a JSON text.

    Args:
        kind: A pydantic model, a dataclass, a TypedDict or any other type that pydantic takes.

    Raises:
        ConfigError: It is no type, or JSON has no word for it.
    """
    from pydantic import PydanticUserError, TypeAdapter, ValidationError  # noqa: PLC0415

    try:
        adapter = TypeAdapter(kind)
        schema = adapter.json_schema()
    except (NameError, PydanticUserError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"output: {kind!r:.80} cannot be read from JSON: {str(error).partition(chr(10))[0]}; "
            f"give a pydantic model, a dataclass, a TypedDict, a type such as list[int], or a JSON "
            f"Schema as a mapping"
        ) from None

    def make(text: str) -> Any:
        try:
            return adapter.validate_json(text)
        except ValidationError as error:
            found = error.errors(include_url=False, include_context=False)[:5]
            raise ValueError("\n".join(map(_fault, found))) from None

    return schema, make


def _fault(found: Any) -> str:
    """Return one of pydantic's errors as a line with its JSON path."""
    path = "".join(f"[{at}]" if isinstance(at, int) else f".{at}" for at in found["loc"])
    shown = json.dumps(found["input"], ensure_ascii=False, default=str)
    return f"- ${path}: {found['msg']}, found {shown:.60}"


def _plain(value: Any) -> bool:
    """Tell whether a value can be written as JSON."""
    try:
        return bool(json.dumps(value))
    except (TypeError, ValueError):
        return False


def _described(target: Any, name: str) -> str:
    """Return what the docstring of a class or function says of a parameter, in Google's style."""
    lines = inspect.cleandoc(target.__doc__ or "").split("\n")
    heads = [i for i, line in enumerate(lines) if re.match(rf"\s+{name}(?: \(.*\))?: ", line)]
    if not heads:
        return ""
    first = lines[heads[0]]
    indent = len(first) - len(first.lstrip())
    said = [first.partition(": ")[2]]
    for line in lines[heads[0] + 1 :]:
        if len(line) - len(line.lstrip()) <= indent:
            break
        said.append(line.strip())
    return " ".join(said)
