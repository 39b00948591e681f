"""Reading a persona and those that it extends, from any folder of a library or by plugins."""

from __future__ import annotations

import heapq
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from personakit.base import LOADED, NAME, State, is_stream, state_of
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
    """A reader of a persona and those that it extends.

    Files have paths; a persona that a plugin loads has a reference such as ``db:chef``, a str.

    Attributes:
        roots: Returns the folders in which the parents of a file are searched.
        text: Returns the YAML of a persona that a plugin loads.
        states: The state of each file that was read.
        texts: The YAML of each persona that a plugin loaded.
        asked: Whether a persona that a plugin loads was needed.
        stack: What is being read, each extended by the one before it.
        looked: The mark of each file that was searched for as a parent; None if it did not exist.
        beyond: Whether the search path was searched for a parent.
    """

    def __init__(
        self,
        roots: Callable[[str], Iterator[Path]],
        text: Callable[[str], str | bytes],
        texts: Mapping[str, str | bytes] | None = None,
    ) -> None:
        self.roots, self.text = roots, text
        self.states: dict[Path, State] = {}
        self.texts: dict[str, str | bytes] = {}
        self.asked = False
        self._given = texts or {}
        self.stack: list[Path | str] = []
        self.made: dict[Path | str, Persona | PersonaError] = {}
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

    def load(self, reference: str) -> Persona:
        """Return a persona that a plugin loads; a parent does not need `system`."""
        from personakit.persona import examine, yaml  # noqa: PLC0415

        self.asked = True
        text = self._given.get(reference)
        self.texts[reference] = text = self.text(reference) if text is None else text
        self.stack.append(reference)
        try:
            document = yaml.parse(text, reference, loaded=True)
            is_parent = len(self.stack) > 1
            persona, problems = examine(document, parents=self.parent, abstract=is_parent)
        finally:
            self.stack.pop()
        if problems or persona is None:
            raise PersonaError(problems)
        return persona

    def _once(self, file: Path | str) -> Persona:
        """Read a parent, once even if several personas extend it."""
        result = self.made.get(file)
        if result is None:
            try:
                result = self.load(file) if isinstance(file, str) else self.read(file)
            except PersonaError as error:
                result = error
            self.made[file] = result
        if isinstance(result, PersonaError):
            raise result
        return result

    def parent(self, reference: str) -> Persona:
        """Return the persona that the current one extends.

        A file may extend a file of the same name later in the search path.
        """
        if len(self.stack) > MAX_DEPTH:
            raise UsageError(f"the limit is {MAX_DEPTH} files that extend one another")
        if LOADED.match(reference):
            return self._loaded(reference)
        last = self.stack[-1] if self.stack else ""
        reading = "" if isinstance(last, str) else str(last)
        around = False
        for place, root in enumerate(self.roots(reading)):
            self.beyond |= place > 0
            file = os.path.abspath(root / (reference + ENDING))  # noqa: PTH100
            self.looked.setdefault(file, mark_of(file))
            found = inside(root, reference + ENDING)
            if found is None:
                continue
            # Not ==: a file can have several paths, relative, absolute or through a link.
            if not any(isinstance(one, Path) and _is_same(found, one) for one in self.stack):
                return self._once(found)
            around = True
        if around:
            raise self._cycle(reference)
        names = {name for root in self.roots(reading) for name in names_in(root)}
        hint = did_you_mean(reference, nearest(reference, names))
        raise PersonaNotFound(f"no persona {reference!r} in the library{hint}")

    def _loaded(self, reference: str) -> Persona:
        """Return a parent that a plugin loads, if the current persona may name it.

        What follows the scheme may stand for anything, so a file from elsewhere may not choose it.
        """
        last = self.stack[-1] if self.stack else None
        scheme = reference.partition(":")[0]
        if isinstance(last, str) and last.partition(":")[0] != scheme:
            raise UsageError(
                f"{reference} is not allowed: {last} may extend personas of the library and of "
                f"its own scheme"
            )
        if not isinstance(last, str) and not self._is_of_library(last):
            place = "this text is" if last is None or is_stream(last) else f"{last} is"
            raise UsageError(
                f"{reference} is not allowed: only a persona in a folder of your library may "
                f"extend one that a plugin loads, and {place} in none; move it to one, such as "
                f"./personas, or add its folder to `path:` of the config file"
            )
        if reference in self.stack:
            raise self._cycle(reference)
        return self._once(reference)

    def _is_of_library(self, file: Path | None) -> bool:
        if file is None or is_stream(file):
            return False
        # As named: a link to a file is in the folder of the link.
        place = Path(os.path.realpath(file.parent))
        return any(place.is_relative_to(os.path.realpath(root)) for root in self.roots(""))

    def _cycle(self, reference: str) -> UsageError:
        names = [one if isinstance(one, str) else one.stem for one in self.stack]
        return UsageError(f"found a cycle: {' -> '.join(names)} -> {reference}")


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
    try:
        return entry.name.endswith(ENDING) and entry.is_file()
    except OSError:  # such as of a link to itself, which must not hide the others
        return False


def nearest(word: str, names: Iterable[str]) -> Iterable[str]:
    """Return at most 1,000 names, those whose letters are most similar to those of a word.

    Searching 100,000 names for a hint takes seconds.
    """
    listed = list(names)
    letters = set(word)
    return heapq.nsmallest(1000, listed, key=lambda name: len(letters ^ set(name)))
