"""Options that only the user may set: found in a plugin's types, checked in a persona's list."""

from __future__ import annotations

import dataclasses
import os
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from personakit.base import NAME
from personakit.frozen import thaw
from personakit.permissions import PATHS, UserOption, within
from personakit.plugins import options

Change = Callable[[UserOption, str], str]

_PATH = UserOption("file", in_persona=True)


class NotAllowed(ValueError):
    """A persona sets an option, or a part of one, that is the user's; the message is the reason."""


def changed(declared: Any, value: Any, change: Change) -> Any:
    """Return the value of an option with `change` applied to each text that is the user's.

    Args:
        declared: The type of the option, with its annotations.
        value: The value as written in YAML.
        change: Called with the mark and the text; returns the text to use.
    """
    mark = _mark(declared)
    if mark is not None:
        return _each(value, lambda text: change(mark, text))
    origin, arguments = typing.get_origin(declared), typing.get_args(declared)
    if origin is typing.Annotated:
        return changed(arguments[0], value, change)
    if origin in (typing.Union, types.UnionType):
        return _of_first(arguments, value, change)
    if isinstance(value, Mapping):
        kinds = _fields(declared)
        inner = arguments[1] if len(arguments) == 2 else None
        return {key: changed(kinds.get(key, inner), item, change) for key, item in value.items()}
    if isinstance(value, list | tuple) and arguments:
        return [changed(arguments[0], item, change) for item in value]
    return value


def all_changed(
    target: Any, given: Mapping[str, Any], change: Change
) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Return options with the user's ones changed, and those refused with the reason."""
    if not given or not isinstance(target, type):
        return dict(given), []
    known = options.parameters(target)
    values, refused = {}, []
    for name, value in given.items():
        try:
            kind = options.declared(target, name) if name in known else Any
            values[name] = changed(kind, thaw(value), change)
        except NameError:
            values[name] = value  # reported when the option is read
        except NotAllowed as reason:
            refused.append((name, str(reason)))
    return values, refused


def _of_first(kinds: Iterable[Any], value: Any, change: Change) -> Any:
    """Return the value changed as the first type of a union that has a mark for it."""
    for kind in kinds:
        note = Note()
        changed(kind, value, note)
        if note.texts:
            return changed(kind, value, change)
    return value


@dataclasses.dataclass
class Note:
    """A change that changes nothing, and notes the marks and their texts."""

    texts: list[tuple[UserOption, str]] = dataclasses.field(default_factory=list)

    def __call__(self, mark: UserOption, text: str) -> str:
        """Note a text and return it."""
        self.texts.append((mark, text))
        return text


def by_persona(
    folder: str | None, private: Iterable[Path], is_file: Callable[[str], bool]
) -> Change:
    """Return the change for a persona's options; it raises `NotAllowed`.

    Args:
        folder: The folder of the persona's file; None if it has none.
        private: The folders of personakit itself.
        is_file: Returns whether a model's name is the path of a file.
    """
    base = None if folder is None else Path(folder)

    def change(mark: UserOption, text: str) -> str:
        if mark.kind == "model":
            if is_file(text):
                raise NotAllowed(f"{text!r} is the path of a file; {mark.rule}")
            return text
        if not mark.in_persona or mark.kind not in PATHS:
            raise NotAllowed(f"found {text!r}; {mark.rule}")
        if mark.kind == "persona" and NAME.match(text.partition("@")[0]) and "/" not in text:
            return text
        try:
            return str(within(base, text, private))
        except ValueError as error:
            raise NotAllowed(f"{error}; {mark.rule}") from None

    return change


def by_user(folder: str | None) -> Change:
    """Return the change for the config's options: paths are relative to the config file.

    Args:
        folder: The folder of the config file; None for a config made in Python.
    """

    def change(mark: UserOption, text: str) -> str:
        name = mark.kind == "persona" and NAME.match(text.partition("@")[0])
        if mark.kind not in PATHS or name:
            return text
        # Path.joinpath keeps an absolute path.
        path = os.path.expandvars(os.path.expanduser(text))  # noqa: PTH111
        return path if folder is None else str(Path(folder, path))

    return change


def _each(value: Any, change: Callable[[str], str]) -> Any:
    """Return a value with a change applied to each text in it that is not empty."""
    if isinstance(value, Mapping):
        return {key: _each(item, change) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_each(item, change) for item in value]
    if not value:
        return value
    text = change(value if isinstance(value, str) else str(value))
    return text if isinstance(value, str) else value


def _mark(declared: Any) -> UserOption | None:
    """Return the mark of a type, not of its parts."""
    if typing.get_origin(declared) is typing.Annotated:
        notes = typing.get_args(declared)[1:]
        mark = next((note for note in notes if isinstance(note, UserOption)), None)
        return mark or _mark(typing.get_args(declared)[0])
    is_path = isinstance(declared, type) and issubclass(declared, os.PathLike)
    return _PATH if is_path else None


def _fields(declared: Any) -> dict[str, Any]:
    """Return the types of the fields of a class: a dataclass, TypedDict or pydantic model."""
    of_class = isinstance(declared, type) and (
        dataclasses.is_dataclass(declared)
        or typing.is_typeddict(declared)
        or hasattr(declared, "model_fields")
    )
    if not of_class:
        return {}
    try:
        return typing.get_type_hints(declared, include_extras=True)
    except (NameError, TypeError):
        return {}  # pydantic reports the type when it reads the option
