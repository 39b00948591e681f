"""`--functions FILE`: the public functions of a Python file, as tools."""

from __future__ import annotations

import inspect
import sys
import traceback
import types
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from personakit.base import read_file
from personakit.cli.shared import output
from personakit.cli.shared.input import unreadable
from personakit.config import expanded
from personakit.errors import UsageError
from personakit.tools import Tool

OPTION = "--functions"
LARGEST = 1_048_576
"""The largest size of a file, in bytes."""


class Function(NamedTuple):
    """A tool made from a function, and the place of the function: ``FILE:LINE``."""

    tool: Tool
    place: str


def load(files: Iterable[str]) -> dict[str, Function]:
    """Return the public functions of files by name; the files are executed.

    Raises:
        UsageError: A file cannot be read or executed, or defines no function that can be a tool;
            or two functions have the same name.
    """
    result: dict[str, Function] = {}
    for number, file in enumerate(files):
        path = expanded(file)
        for name, function in _public(_module(path, number)).items():
            made = _made(name, function, path)
            other = result.setdefault(name, made)
            if other is not made:
                raise UsageError(
                    f"{made.place}: a function {name!r} is also defined in {other.place}; rename "
                    f"one: the model calls a tool by its name"
                )
    return result


def _module(path: Path, number: int) -> types.ModuleType:
    """Execute a file as a new module and return it."""
    try:
        source = read_file(path, LARGEST)
    except OSError as error:
        raise unreadable(path, OPTION, error) from None
    try:
        code = compile(source, str(path), "exec", dont_inherit=True)
    except SyntaxError as error:
        raise UsageError(f"{path}:{error.lineno or 1}: {_reason(error)}: {error.msg}") from None
    except ValueError as error:
        raise UsageError(f"{path}: it is not Python source: {error}") from None
    module = types.ModuleType(f"personakit_functions_{number}")
    module.__file__ = str(path)
    # Standard output contains only the answer.
    vars(module)["print"] = output.aside
    # Type hints and dataclasses are evaluated in the module of that name.
    sys.modules[module.__name__] = module
    try:
        exec(code, vars(module))  # noqa: S102
    except (Exception, SystemExit) as error:
        hint = ""
        if isinstance(error, ModuleNotFoundError):
            beside = (path.parent / f"{(error.name or '').partition('.')[0]}.py").is_file()
            hint = (
                f"; to import from the folder of the file, set PYTHONPATH={path.parent}" if beside
                else f"; install it where {sys.executable} finds it"
            )  # fmt: skip
        raise UsageError(f"{_place(path, error)}: {_reason(error)}: {error}{hint}") from None
    return module


def _public(module: types.ModuleType) -> dict[str, Callable[..., Any]]:
    """Return the functions that a module defines and whose names have no underscore in front.

    Raises:
        UsageError: There is none.
    """
    result = {
        name: value
        for name, value in vars(module).items()
        if not name.startswith("_")
        and callable(value)
        and not isinstance(value, type)
        and getattr(value, "__module__", "") == module.__name__
        and getattr(value, "__name__", "") == name
    }
    if not result:
        raise UsageError(
            f"{module.__file__}: it defines no public function; write one, such as "
            f"`def weather(city: str) -> str:` (a name with an underscore in front is private, and "
            f"an imported function is not one of the file)"
        )
    return result


def _made(name: str, function: Callable[..., Any], path: Path) -> Function:
    code = getattr(inspect.unwrap(function), "__code__", None)
    place = f"{path}:{code.co_firstlineno if code else 1}"
    try:
        return Function(Tool.of(function, name=name), place)
    except UsageError as error:
        raise UsageError(f"{place}: {error}") from None
    except Exception as error:  # type hints in quotes are code of the user
        raise UsageError(
            f"{place}: the type hints of {name!r}: {_reason(error)}: {error}"
        ) from None


def _place(path: Path, error: BaseException) -> str:
    """Return the last line of a file that an error passed through, as ``FILE:LINE``."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(path)]
    return f"{path}:{lines[-1] if lines else 1}"


def _reason(error: BaseException) -> str:
    return type(error).__name__
