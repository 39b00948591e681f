"""Reading a persona file and those that it extends, which may be in any folder of a library."""

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
    """Return a file below a folder, or None when there is none.

    Raises:
        UsageError: The path, or a link on it, leads out of the folder.
    """
    file = root / relative
    if not file.is_file():
        return None
    if not Path(os.path.realpath(file)).is_relative_to(os.path.realpath(root)):
        raise UsageError(f"{relative!r} leads out of the library folder {root}")
    return file


class Loader:
    """Reads a file and those that it extends.

    Attributes:
        roots: Returns the folders that what a file extends is looked for in.
        states: The state of each file that was read.
        looked: The mark of each file that was looked for because one extends it.
        beyond: Whether one was looked for on the search path.
    """

    def __init__(self, roots: Callable[[str], Iterator[Path]]) -> None:
        self.roots = roots
        self.states: dict[Path, State] = {}
        self.stack: list[Path] = []
        self.made: dict[Path, Persona | PersonaError] = {}
        self.looked: dict[str, Mark | None] = {}
        self.beyond = False

    def read(self, file: Path) -> Persona:
        """Read a file; one that another extends needs no `system`."""
        from personakit.persona import Persona  # noqa: PLC0415

        if file.is_dir():
            raise PersonaError([Problem("is a folder; name a file in it", str(file))])
        self.states[file] = state_of(file)
        self.stack.append(file)
        try:
            return Persona.read(file, parents=self.parent, abstract=len(self.stack) > 1)
        finally:
            self.stack.pop()

    def _once(self, file: Path) -> Persona:
        """Read a file that several others may extend."""
        made = self.made.get(file)
        if made is None:
            try:
                made = self.read(file)
            except PersonaError as error:
                made = error
            self.made[file] = made
        if isinstance(made, PersonaError):
            raise made
        return made

    def parent(self, reference: str) -> Persona:
        """Return the persona that the file being read extends.

        A file may extend one of its own name further along the search path.
        """
        if len(self.stack) > MAX_DEPTH:
            raise UsageError(f"more than {MAX_DEPTH} files extend one another; that is the limit")
        reading = str(self.stack[-1]) if self.stack else ""
        around = False
        for place, root in enumerate(self.roots(reading)):
            self.beyond |= place > 0
            file = os.path.abspath(root / (reference + ENDING))  # noqa: PTH100
            self.looked.setdefault(file, mark_of(file))
            found = inside(root, reference + ENDING)
            if found is None:
                continue
            # One file may be reached by several paths: relative, absolute, through a link.
            if not any(found.samefile(file) for file in self.stack):
                return self._once(found)
            around = True
        if around:
            files = " -> ".join(file.stem for file in self.stack)
            raise UsageError(f"a cycle: {files} -> {reference}")
        known = {name for root in self.roots(reading) for name in names_in(root)}
        hint = did_you_mean(reference, nearest(reference, known))
        raise PersonaNotFound(f"no persona {reference!r} in the library (not found){hint}")


def names_in(folder: Path) -> list[str]:
    """Return the names of the persona files of a folder, in no order."""
    try:
        with os.scandir(folder) as entries:
            names = [e.name[: -len(ENDING)] for e in entries if _is_yaml(e)]
    except OSError:
        return []
    return [name for name in names if NAME.match(name)]


def _is_yaml(entry: os.DirEntry[str]) -> bool:
    return entry.name.endswith(ENDING) and entry.is_file()


def nearest(word: str, names: Iterable[str]) -> Iterable[str]:
    """Return the names that a hint is looked for in; of very many, those of the same letters.

    Comparing with each of 100,000 takes seconds.
    """
    listed = list(names)
    letters = set(word)
    return heapq.nsmallest(1000, listed, key=lambda name: len(letters ^ set(name)))
