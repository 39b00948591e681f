"""Files: when one has changed, which there are in a folder, and where a word stands in one."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from personakit.errors import PersonaError, Problem

if TYPE_CHECKING:
    pass


_KEY = re.compile(r"\s*(?:- )?[\w-]+:")
_EXPRESSION = re.compile(r"\{[{%].*?(?:[%}]\}|\Z)")

State = tuple[int, int, int] | None


def state_of(file: Path) -> State:
    """Return what changes when a file does; None when there is no such file.

    Raises:
        PersonaError: The file cannot be looked at.
    """
    try:
        stat = file.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise PersonaError([Problem(f"cannot be read: {error}", str(file))]) from None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


def walk(folder: Path, endings: tuple[str, ...], left_out: Collection[str]) -> Iterator[Path]:
    """Yield the files of a folder and those below it, but for hidden ones, in order.

    Args:
        folder: The folder.
        endings: How their names end.
        left_out: The names of folders to leave out.
    """
    for here, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name[0] != "." and name not in left_out)
        for name in sorted(names):
            if name.endswith(endings) and name[0] != ".":
                yield Path(here, name)


def locate(lines: Sequence[str], first: int, subject: str) -> tuple[int, int] | None:
    """Return where a word stands in a text of a file; None when it does not.

    Jinja knows the lines of a template, no columns; and in a text that YAML folds, a line of the
    template is several of the file.

    Args:
        lines: The lines of the file.
        first: The line on which to begin, counted from 1; the text ends where its indent does.
        subject: The word. One that begins with a dot is a field, also as ``["field"]``.

    Returns:
        Line and column, both counted from 1.
    """
    if subject.startswith("."):
        word = re.compile(rf"(?:\.\s*|\[\s*['\"])({re.escape(subject[1:])})(?!\w)")
    else:
        spaced = re.escape(subject).replace(r"\ ", r"\s+").replace(r"\|", r"\s*\|\s*")
        word = re.compile(rf"(?<![\w.])({spaced})(?!\w)")
    for number in _block(lines, first):
        line = lines[number - 1]
        for expression in _EXPRESSION.finditer(line):
            if found := word.search(line, expression.start(), expression.end()):
                return number, found.start(1) + 1
        if found := word.search(line):
            return number, found.start(1) + 1
    return None


def _block(lines: Sequence[str], first: int) -> Iterator[int]:
    """Yield the numbers of the lines of a text from one of them on."""
    if first > len(lines):
        return
    yield first
    start = lines[first - 1]
    least = _indent(start) + (1 if _KEY.match(start) else 0)
    for number in range(first + 1, len(lines) + 1):
        line = lines[number - 1]
        if line.strip() and _indent(line) < least:
            return
        yield number


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))
