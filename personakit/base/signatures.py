"""JSON Schemas of functions and types, as sent to a model or an API."""

from __future__ import annotations

import inspect
import json
import re
import types
import typing
from collections.abc import Callable
from typing import Any

from personakit.errors import ConfigError

_MOST_FAULTS = 10_000
_UNKNOWN = "Unable to generate pydantic-core schema for "


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the types of a function's parameters; the return type may not exist at run time."""
    names = getattr(inspect.unwrap(function), "__globals__", None)
    if names is None:
        return typing.get_type_hints(function, include_extras=True)
    written = {name: t for name, t in inspect.get_annotations(function).items() if name != "return"}
    alone = types.SimpleNamespace(__annotations__=written)
    return typing.get_type_hints(alone, names, include_extras=True)


def plain(value: Any) -> Any:
    """Convert a value to JSON types: a pydantic model, a dataclass, a date.

    Raises:
        TypeError: The value cannot be converted to JSON.
    """
    from pydantic import TypeAdapter  # noqa: PLC0415

    try:
        return TypeAdapter(Any).dump_python(value, mode="json")
    except ValueError:
        raise TypeError(f"{type(value).__name__} cannot be converted to JSON") from None


def arguments(
    function: Callable[..., Any], origin: str
) -> tuple[dict[str, Any], Callable[[dict[str, Any]], dict[str, Any]]]:
    """Return the JSON Schema of a function's arguments, and a function that validates them.

    Args:
        function: A function with type hints.
        origin: The name of the function in error messages.

    Raises:
        ConfigError: A parameter cannot be passed by name, or its type has no JSON Schema.
    """
    from pydantic import (  # noqa: PLC0415
        ConfigDict,
        PydanticUserError,
        ValidationError,
        create_model,
    )

    try:
        fields = _fields(function, origin)
        model = create_model("arguments", __config__=ConfigDict(extra="forbid"), **fields)
        schema = model.model_json_schema()
    except (NameError, TypeError, PydanticUserError) as error:
        raise ConfigError(
            f"{origin}: {str(error).partition(chr(10))[0]}; annotate its parameters with types "
            f"that JSON can represent"
        ) from None
    schema.pop("title", None)
    for property_ in schema.get("properties", {}).values():
        property_.pop("title", None)

    def check(given: dict[str, Any]) -> dict[str, Any]:
        try:
            values = model.model_validate_json(json.dumps(given))
        except ValidationError as error:
            errors = error.errors(include_url=False, include_input=False)
            messages = (f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in errors)
            raise ValueError("; ".join(messages)) from None
        return {name.removeprefix("of_"): getattr(values, name) for name in fields}

    return schema, check


def _fields(function: Callable[..., Any], origin: str) -> dict[str, Any]:
    """Return the fields of a pydantic model of a function's arguments."""
    from pydantic import Field  # noqa: PLC0415

    fields: dict[str, Any] = {}
    hints = _hints(function)
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise ConfigError(
                f"{origin}: parameter {str(parameter)!r} cannot be passed by name; "
                f"replace it with named parameters"
            )
        default = ... if parameter.default is parameter.empty else parameter.default
        hint = hints.get(name, Any)
        description = described(function, name) or _noted(hint)
        # A description of None would override the one that the type provides.
        more: dict[str, Any] = {"description": description} if description else {}
        # pydantic rejects a field `_x`, and `schema` would shadow an attribute of the model.
        fields[f"of_{name}"] = (hint, Field(default, alias=name, **more))
    return fields


def _noted(hint: Any) -> str:
    """Return the text in ``Annotated[int, "The first number."]``."""
    return next((note for note in getattr(hint, "__metadata__", ()) if isinstance(note, str)), "")


def typed(
    kind: Any, bounded: Callable[[Any, Callable[[str], Any]], Callable[[str], Any]]
) -> tuple[dict[str, Any], Callable[[str], Any]]:
    """Return the JSON Schema of a type, and a function that parses a JSON text into it.

    Args:
        kind: A pydantic model, a dataclass, a TypedDict or any other type that pydantic supports.
        bounded: Returns the function that validates a JSON text, given pydantic's core schema of
            the type and pydantic's own function.

    Raises:
        ConfigError: The argument is not a type, or the type has no JSON Schema.
    """
    from pydantic import PydanticUserError, TypeAdapter, ValidationError  # noqa: PLC0415

    try:
        adapter = TypeAdapter(kind)
        schema = adapter.json_schema()
        validate = bounded(adapter.core_schema, adapter.validate_json)
    except (NameError, PydanticUserError, TypeError, AttributeError, ValueError) as error:
        raise ConfigError(f"output: {_not_read(kind, error)}") from None

    def make(text: str) -> Any:
        try:
            return validate(text)
        except ValidationError as error:
            # Each fault is a dict with the value.
            if error.error_count() > _MOST_FAULTS:
                raise ValueError(f"it has {error.error_count():,} faults") from None
            errors = error.errors(include_url=False, include_context=False)[:5]
            raise ValueError("\n".join(map(_fault, errors))) from None

    return schema, make


def _not_read(kind: Any, error: Exception) -> str:
    """Return why a type cannot be read from JSON, and what can."""
    accepted = (
        "a pydantic model, a dataclass, a TypedDict, a type such as list[int], or a mapping with a "
        "JSON Schema"
    )
    reason, _, rest = str(error).partition("\n")[0].partition(_UNKNOWN)
    if not rest:
        is_type = isinstance(kind, type) or not isinstance(error, AttributeError)
    else:
        # The rest of pydantic's message is advice for the fields of models.
        unknown = rest.partition(". Set `")[0]
        is_type = isinstance(kind, type) or unknown != repr(kind)
        reason = f"pydantic has no schema for {unknown:.80}"
    if not is_type:
        return f"expected {accepted}, found {kind!r:.80}, which is not a type"
    return f"{kind!r:.80} cannot be read from JSON: {reason}; use {accepted}"


def _fault(error: Any) -> str:
    """Return one of pydantic's errors as a line with its JSON path."""
    path = "".join(f"[{at}]" if isinstance(at, int) else f".{at}" for at in error["loc"])
    shown = json.dumps(error["input"], ensure_ascii=False, default=str)
    return f"- ${path}: {error['msg']}, found {shown:.60}"


def described(target: Any, name: str) -> str:
    """Return the description of a parameter from the Google-style docstring of `target`."""
    lines = inspect.cleandoc(target.__doc__ or "").split("\n")
    heads = [i for i, line in enumerate(lines) if re.match(rf"\s+{name}(?: \(.*\))?: ", line)]
    if not heads:
        return ""
    first = lines[heads[0]]
    indent = len(first) - len(first.lstrip())
    parts = [first.partition(": ")[2]]
    for line in lines[heads[0] + 1 :]:
        if len(line) - len(line.lstrip()) <= indent:
            break
        parts.append(line.strip())
    return " ".join(parts)
