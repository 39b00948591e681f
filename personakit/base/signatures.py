"""Signatures of functions and types, as the JSON Schema that a model or an API is given."""

from __future__ import annotations

import inspect
import json
import re
import types
import typing
from collections.abc import Callable
from typing import Any

from personakit.errors import ConfigError


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
            f"{origin}: {str(error).partition(chr(10))[0]}; give its parameters types that JSON "
            f"can hold"
        ) from None
    schema.pop("title", None)
    for property_ in schema.get("properties", {}).values():
        property_.pop("title", None)

    def check(given: dict[str, Any]) -> dict[str, Any]:
        try:
            made = model.model_validate_json(json.dumps(given))
        except ValidationError as error:
            found = error.errors(include_url=False, include_input=False)
            said = (f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in found)
            raise ValueError("; ".join(said)) from None
        return {name.removeprefix("of_"): getattr(made, name) for name in fields}

    return schema, check


def _fields(function: Callable[..., Any], origin: str) -> dict[str, Any]:
    """Return the fields of a pydantic model that stands for a function's arguments."""
    from pydantic import Field  # noqa: PLC0415

    fields: dict[str, Any] = {}
    hints = _hints(function)
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise ConfigError(
                f"{origin}: parameter {str(parameter)!r} cannot be given by name; a tool's "
                f"parameters have names of their own"
            )
        default = ... if parameter.default is parameter.empty else parameter.default
        hint = hints.get(name, Any)
        description = described(function, name) or _noted(hint)
        # A description of None would take the place of one that the type brings.
        more: dict[str, Any] = {"description": description} if description else {}
        # As fields of a model, `_x` is refused and `schema` is in the way of the model's own.
        fields[f"of_{name}"] = (hint, Field(default, alias=name, **more))
    return fields


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


def described(target: Any, name: str) -> str:
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
