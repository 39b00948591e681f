"""What a persona file may do by itself, and what only the user may allow.

A persona file may come from somebody else. So it cannot name the user's files, addresses, commands
or keys, and gets only the tools that the user allows.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, Literal, get_args

from personakit.errors import ConfigError

OptionKind = Literal[
    "file", "folder", "address", "command", "credential", "variable", "model", "persona"
]
PATHS: tuple[OptionKind, ...] = ("file", "folder", "persona")


class NotAllowed(Exception):
    """A persona names what only the user may name; the message is the reason.

    Not a ValueError, which pydantic would catch.
    """


@dataclass(frozen=True, slots=True)
class UserOption:
    """Marks an option of a plugin that only the user can set, in the config or in Python.

    Use it in the annotation of the option, or of a part of it such as the items of a list::

        folder: Annotated[str, UserOption("folder", in_persona=True)]

    A persona cannot set an option of type `pathlib.Path`, a URL or a secret of pydantic without it.

    Attributes:
        kind: What the option names: a ``file``, a ``folder``, an ``address``, a ``command``, a
            ``credential``, an environment ``variable``, a ``model`` or a ``persona``. A persona can
            set a model whose name is not the path of a file.
        in_persona: Whether a persona can name a file, folder or persona file in the folder of its
            own file; the plugin receives an absolute path. A persona's name in the library is
            allowed, too.

    Raises:
        ConfigError: The kind is unknown, or `in_persona` is set for another kind.
    """

    kind: OptionKind
    in_persona: bool = False

    def __post_init__(self) -> None:
        if self.kind not in get_args(OptionKind):
            kinds = ", ".join(get_args(OptionKind))
            raise ConfigError(f"UserOption({self.kind!r}): unknown kind; use one of {kinds}")
        if self.in_persona and self.kind not in PATHS:
            raise ConfigError(
                f"UserOption({self.kind!r}, in_persona=True): only {', '.join(PATHS)} can be named "
                f"by a persona; leave in_persona out"
            )

    @property
    def rule(self) -> str:
        """What a persona may set, as a sentence without a full stop."""
        if self.kind == "model":
            return "a persona may name a model, but not the path of one"
        if not self.in_persona:
            return "only the user may set it"
        what = "a persona by its name, or a file" if self.kind == "persona" else f"a {self.kind}"
        return f"a persona may name {what} in the folder of its own file"

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema  # noqa: PLC0415

        def check(value: Any, inner: Any, info: Any) -> Any:
            change = (info.context or {}).get("change")
            return inner(value if change is None else _each(value, change, self))

        return core_schema.with_info_wrap_validator_function(check, handler(source))

    def __get_pydantic_json_schema__(self, core: Any, handler: Any) -> dict[str, Any]:
        return {**handler(core), "x-user-option": self.rule}


def _each(value: Any, change: Change, mark: UserOption) -> Any:
    """Return a value with a change applied to each text in it, or to itself if it has none."""
    if isinstance(value, dict) and value:
        return {key: _each(item, change, mark) for key, item in value.items()}
    if isinstance(value, list) and value:
        return [_each(item, change, mark) for item in value]
    return change(mark, value)


Change = Callable[[UserOption, Any], Any]
"""Returns the value to use for an option that is the user's, or raises `NotAllowed`."""


def within(folder: Path | None, path: str, private: Iterable[Path] = ()) -> Path:
    """Return the absolute path of a file or folder that a persona file names.

    Args:
        folder: The folder of the file; None for a persona that was not read from a file.
        path: The path in it, relative to `folder`. A text such as ``file:/x`` is a path, too.
        private: Files and folders that no persona may name, except a subfolder ``personas``.

    Raises:
        ValueError: The path leads out of the folder, or into a hidden or private one.
    """
    if folder is None:
        raise ValueError(f"{path!r} is relative to nothing: the persona is not in a file")
    windows = PureWindowsPath(path)
    if PurePosixPath(path).is_absolute() or windows.drive or windows.root or path.startswith("~"):
        raise ValueError(f"{path!r} is not a path relative to {folder}")
    if "\0" in path or ".." in windows.parts:
        raise ValueError(f"{path!r} is outside of {folder}")
    root = os.path.realpath(folder)
    target = Path(os.path.realpath(Path(root, path)))
    if not target.is_relative_to(root):
        raise ValueError(f"{path!r} is a link out of {folder}: it leads to {target}")
    if any(part.startswith(".") for part in (*windows.parts, *target.relative_to(root).parts)):
        raise ValueError(f"{path!r} is hidden")
    for own in private:
        own = Path(os.path.realpath(own))  # noqa: PLW2901
        inside = target.is_relative_to(own) and not target.is_relative_to(own / "personas")
        if inside or own.is_relative_to(target):
            raise ValueError(f"{path!r} contains files of personakit itself, in {own}")
    return target


def allows(patterns: Iterable[str], name: str) -> bool:
    """Return whether a name matches a pattern; ``*`` stands for any characters."""
    patterns = [patterns] if isinstance(patterns, str) else patterns
    return any(fnmatchcase(name, pattern) for pattern in patterns)
