"""Signatures of public names as the reference shows them."""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from personakit.attachments import Source
from personakit.base import Texts
from personakit.conversation.turns import Said
from personakit.messages import Role
from personakit.persona import Reference
from personakit.pipeline import Prompt

WIDTH = 88
LONGEST = 30
"""The most characters of a default value."""


def _plain(annotation: Any) -> str:
    """Return an annotation as code has it, without the modules of its names."""
    if isinstance(annotation, type):
        return annotation.__name__
    text = annotation if isinstance(annotation, str) else str(annotation)
    text = re.sub(r"ForwardRef\('(.*?)'\)", r"\1", text.replace("NoneType", "None"))
    text = re.sub(r"\b(?:[a-z_]\w*\.)+(?=[A-Za-z])", "", text)
    return text.replace("'", '"')


# Names of types that are not public stand for these.
ALIASES = {
    "Prompt": _plain(Prompt),
    "Reference": _plain(Reference),
    "ResponseLike": "Response",
    "Role": _plain(Role),
    "Said": _plain(Said),
    "Source": _plain(Source),
    "Texts": _plain(Texts),
    "FrozenDict": "Mapping[str, Any]",
    "Parsed_co": "T",
    "T_co": "T",
}


def shown_type(annotation: Any) -> str:
    """Return an annotation with the names that readers know."""
    if annotation is inspect.Parameter.empty:
        return ""
    text = _plain(getattr(annotation, "__forward_arg__", annotation))
    text = re.sub(r"^ClassVar\[(.*)\]$", r"\1", text)
    return re.sub(r"\b[A-Z]\w*", lambda match: ALIASES.get(match[0], match[0]), text)


def shown_signature(value: Any, name: str, *, one_line: bool = False) -> str:
    """Return the signature of a function, a method or a class, with all keyword arguments."""
    function = getattr(value, "__func__", value)
    start = "async " if inspect.iscoroutinefunction(function) else ""
    start += "classmethod " if isinstance(value, classmethod) else ""
    signature = inspect.signature(function)
    parts = [*_parts(signature, value)]
    kind = shown_type(signature.return_annotation)
    end = f" -> {kind}" if kind not in {"", "None"} and not isinstance(value, type) else ""
    line = f"{start}{name}({', '.join(parts)}){end}"
    if one_line or len(line) <= WIDTH:
        return line
    return f"{start}{name}(\n{''.join(f'    {part},{chr(10)}' for part in _filled(parts))}){end}"


def _filled(parts: list[str]) -> Iterator[str]:
    """Yield the arguments, as many to a line as there is room for."""
    row = ""
    for part in parts:
        if row and len(row) + len(part) > WIDTH - 6:
            yield row
            row = ""
        row = f"{row}, {part}" if row else part
    yield row


def parameters(signature: inspect.Signature, value: Any) -> Iterator[inspect.Parameter]:
    """Yield the public parameters, those of a TypedDict behind ``**`` one by one."""
    for place, (name, parameter) in enumerate(signature.parameters.items()):
        match = re.match(r"Unpack\[(\w+)\]", str(parameter.annotation))
        if match and parameter.kind is parameter.VAR_KEYWORD:
            for key, kind in _typed_dict(match[1]).__annotations__.items():
                yield inspect.Parameter(
                    key, parameter.KEYWORD_ONLY, default=..., annotation=shown_type(kind)
                )
        elif not name.startswith("_") and (place or name not in {"self", "cls"}):
            yield parameter


def _typed_dict(name: str) -> Any:
    """Return a TypedDict of personakit by its name, which is imported for type checkers only."""
    return next(
        vars(module)[name]
        for key, module in sorted(sys.modules.items())
        if key.startswith("personakit.") and name in vars(module)
    )


def _parts(signature: inspect.Signature, value: Any) -> Iterator[str]:
    keyword = False
    for parameter in parameters(signature, value):
        if parameter.kind is parameter.VAR_POSITIONAL:
            keyword = True
        elif parameter.kind is parameter.KEYWORD_ONLY and not keyword:
            keyword = True
            yield "*"
        yield _part(parameter, value)


def _part(parameter: inspect.Parameter, value: Any) -> str:
    stars = "**" if parameter.kind is parameter.VAR_KEYWORD else ""
    stars = "*" if parameter.kind is parameter.VAR_POSITIONAL else stars
    kind = shown_type(parameter.annotation)
    text = f"{stars}{parameter.name}{f': {kind}' if kind else ''}"
    if parameter.default is inspect.Parameter.empty:
        return text
    default = _default(parameter, value)
    return f"{text} = {default}" if kind else f"{text}={default}"


def _default(parameter: inspect.Parameter, value: Any) -> str:
    """Return a default as code; `...` for one that is too long to show."""
    default: Any = parameter.default
    for field in dataclasses.fields(value) if dataclasses.is_dataclass(value) else ():
        if field.name == parameter.name and field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
    if isinstance(default, Mapping) and not default:
        return "{}"
    text = re.sub(r"\b(?:Posix|Windows)Path\(", "Path(", repr(default))
    return "..." if default is ... or len(text) > LONGEST or text.startswith("<") else text


def argument_types(value: Any) -> dict[str, str]:
    """Return the types of the arguments of a function or a class, and of its result, by name."""
    value = getattr(value, "__func__", value)
    if hasattr(value, "__total__") or not (inspect.isroutine(value) or isinstance(value, type)):
        return {}
    signature = inspect.signature(value)
    kinds = {each.name: shown_type(each.annotation) for each in parameters(signature, value)}
    return kinds | {"return": shown_type(signature.return_annotation)}


def attribute_types(kind: Any) -> dict[str, str]:
    """Return the types of the attributes of a class that declares them, by name."""
    kinds: dict[str, Any] = {}
    for each in reversed(kind.__mro__ if isinstance(kind, type) else ()):
        kinds |= vars(each).get("__annotations__", {})
        for name, member in vars(each).items():
            if isinstance(member, property) and member.fget is not None:
                kinds[name] = inspect.signature(member.fget).return_annotation
    return {name: text for name, kind in kinds.items() if (text := shown_type(kind))}
