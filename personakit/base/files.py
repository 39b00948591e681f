"""Files: detecting changes, listing a folder, and locating a word in a file."""

from __future__ import annotations

import os
import re
import string
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from personakit.errors import PersonaError, Problem

_KEY = re.compile(r"\s*(?:- )?[\w-]+:")
_EXPRESSION = re.compile(r"\{[{%].*?(?:[%}]\}|\Z)")
_OF_PATHS = string.ascii_letters + string.digits + "_.[]'\""

State = tuple[int, int, int] | None


def state_of(file: Path) -> State:
    """Return a value that changes with the file; None if the file does not exist.

    Raises:
        PersonaError: The status of the file cannot be read.
    """
    try:
        stat = file.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise PersonaError([Problem(f"cannot be read: {error}", str(file))]) from None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


def walk(folder: Path, endings: tuple[str, ...], left_out: Collection[str]) -> Iterator[Path]:
    """Yield the files of a folder and its subfolders in sorted order, except hidden ones.

    Args:
        folder: The folder.
        endings: The file extensions to include.
        left_out: The names of folders to skip.
    """
    for here, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name[0] != "." and name not in left_out)
        for name in sorted(names):
            if name.endswith(endings) and name[0] != ".":
                yield Path(here, name)


def locate(lines: Sequence[str], first: int, subject: str) -> tuple[int, int] | None:
    """Return the first position of a word in a text of a file; None if it does not occur.

    For the arguments, see `occurrences`.

    Returns:
        Line and column, both counted from 1.
    """
    found = next(occurrences(lines, first, subject), None)
    return found and found[:2]


def occurrences(lines: Sequence[str], first: int, subject: str) -> Iterator[tuple[int, int, str]]:
    """Yield the positions of a word in a text of a file.

    Jinja reports the line of a template but no column; and where YAML folds lines, one line of the
    template is several lines of the file.

    Args:
        lines: The lines of the file.
        first: The first line of the text, counted from 1; the text ends where its indentation does.
        subject: The word. A leading dot stands for a field or an index, also written as
            ``["field"]``, ``[2]`` or ``attribute="field"``.

    Yields:
        Line and column, both counted from 1, and the expression before a field. What is outside
        of ``{{ }}`` and ``{% %}`` counts only in a line without an occurrence inside.
    """
    if subject.startswith("."):
        name = re.escape(subject[1:])
        word = re.compile(rf"(?:\.\s*|\[\s*['\"]?|[(=]\s*['\"])({name})(?!\w)")
    else:
        spaced = re.escape(subject).replace(r"\ ", r"\s+").replace(r"\|", r"\s*\|\s*")
        word = re.compile(rf"(?<![\w.])({spaced})(?!\w)")
    for number in _block(lines, first):
        line = lines[number - 1]
        spans = [expression.span() for expression in _EXPRESSION.finditer(line)]
        inside = [match for start, end in spans for match in word.finditer(line, start, end)]
        for match in inside or word.finditer(line):
            before = line[: match.start()]
            yield number, match.start(1) + 1, before[len(before.rstrip(_OF_PATHS)) :]


def _block(lines: Sequence[str], first: int) -> Iterator[int]:
    """Yield the line numbers of a text, beginning with its first line."""
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
