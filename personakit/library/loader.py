"""Reading a persona file and the files that it extends, from any folder of a library."""

from __future__ import annotations

import heapq
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from personakit.base import NAME, State, state_of
from personakit.errors import PersonaError, PersonaNotFound, Problem, UsageError, did_you_mean
from personakit.library.index import ENDING, Mark, mark_of

if TYPE_CHECKING:
    from personakit.persona import Persona

MAX_DEPTH = 16


def inside(root: Path, relative: str) -> Path | None:
    """Return a file below a folder; None if it does not exist.

    Raises:
        UsageError: The path, or a link in it, points outside the folder, or to no file.
    """
    file = root / relative
    # A folder, a FIFO or a broken link is an error that names it, when it is read or here.
    if state_of(file) is None:
        return None
    if not Path(os.path.realpath(file)).is_relative_to(os.path.realpath(root)):
        raise UsageError(f"{relative!r} is outside the library folder {root}")
    return file


class Loader:
    """A reader of a persona file and the files that it extends.

    Attributes:
        roots: Returns the folders in which the parents of a file are searched.
        states: The state of each file that was read.
        looked: The mark of each file that was searched for as a parent; None if it did not exist.
        beyond: Whether the search path was searched for a parent.
    """

    def __init__(self, roots: Callable[[str], Iterator[Path]]) -> None:
        self.roots = roots
        self.states: dict[Path, State] = {}
        self.stack: list[Path] = []
        self.made: dict[Path, Persona | PersonaError] = {}
        self.looked: dict[str, Mark | None] = {}
        self.beyond = False

    def read(self, file: Path) -> Persona:
        """Read a file; a parent does not need `system`."""
        from personakit.persona import Persona  # noqa: PLC0415

        if file.is_dir():
            raise PersonaError(
                [Problem("expected a file, found a folder; name a file in it", str(file))]
            )
        self.states[file] = state_of(file)
        self.stack.append(file)
        try:
            return Persona.read(file, parents=self.parent, abstract=len(self.stack) > 1)
        finally:
            self.stack.pop()

    def _once(self, file: Path) -> Persona:
        """Read a parent, once even if several files extend it."""
        result = self.made.get(file)
        if result is None:
            try:
                result = self.read(file)
            except PersonaError as error:
                result = error
            self.made[file] = result
        if isinstance(result, PersonaError):
            raise result
        return result

    def parent(self, reference: str) -> Persona:
        """Return the persona that the current file extends.

        A file may extend a file of the same name later in the search path.
        """
        if len(self.stack) > MAX_DEPTH:
            raise UsageError(f"the limit is {MAX_DEPTH} files that extend one another")
        reading = str(self.stack[-1]) if self.stack else ""
        around = False
        for place, root in enumerate(self.roots(reading)):
            self.beyond |= place > 0
            file = os.path.abspath(root / (reference + ENDING))  # noqa: PTH100
            self.looked.setdefault(file, mark_of(file))
            found = inside(root, reference + ENDING)
            if found is None:
                continue
            # Not ==: a file can have several paths, relative, absolute or through a link.
            if not any(_is_same(found, file) for file in self.stack):
                return self._once(found)
            around = True
        if around:
            files = " -> ".join(file.stem for file in self.stack)
            raise UsageError(f"found a cycle: {files} -> {reference}")
        names = {name for root in self.roots(reading) for name in names_in(root)}
        hint = did_you_mean(reference, nearest(reference, names))
        raise PersonaNotFound(f"no persona {reference!r} in the library{hint}")


def _is_same(first: Path, second: Path) -> bool:
    try:
        return first.samefile(second)
    except (OSError, ValueError):
        # One of them is a text that is not saved.
        return os.path.realpath(first) == os.path.realpath(second)


def names_in(folder: Path) -> list[str]:
    """Return the names of the persona files of a folder, unsorted."""
    try:
        with os.scandir(folder) as entries:
            names = [e.name[: -len(ENDING)] for e in entries if _is_yaml(e)]
    except OSError:
        return []
    return [name for name in names if NAME.match(name)]


def _is_yaml(entry: os.DirEntry[str]) -> bool:
    return entry.name.endswith(ENDING) and entry.is_file()


def nearest(word: str, names: Iterable[str]) -> Iterable[str]:
    """Return at most 1,000 names, those whose letters are most similar to those of a word.

    Searching 100,000 names for a hint takes seconds.
    """
    listed = list(names)
    letters = set(word)
    return heapq.nsmallest(1000, listed, key=lambda name: len(letters ^ set(name)))
