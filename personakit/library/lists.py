"""Lists of the personas of a library, from the indexes of its folders."""

from __future__ import annotations

import functools
import os
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from personakit.base import State
from personakit.errors import PersonaError
from personakit.library.folders import file_of, named
from personakit.library.index import ENDING, Index, Parents, mark_of
from personakit.library.loader import Loader
from personakit.library.summaries import (
    Entry,
    Listing,
    Progress,
    Shelf,
    Summary,
    error_of,
    folder_of,
    summary_of,
)

if TYPE_CHECKING:
    from personakit.persona import Persona

CACHE, LISTINGS = "library", "listings"


class Read(NamedTuple):
    """A persona that was read, and what it was made of.

    Attributes:
        states: The state of each file.
        texts: The text of each persona that a plugin loaded.
        persona: The persona.
        parents: The files that were searched for as parents; None for none.
        lasts: Whether any later change of the persona changes the mark of one of these files.
    """

    states: Mapping[Path, State]
    texts: Mapping[str, str | bytes]
    persona: Persona
    parents: Parents | None = None
    lasts: bool = False

    @property
    def version(self) -> int:
        """A number that changes with the files and texts."""
        parts = [*sorted((str(f), s) for f, s in self.states.items()), *sorted(self.texts.items())]
        return zlib.crc32(repr(parts).encode("utf-8", "surrogatepass"))


@dataclass(slots=True)
class Lists:
    """The lists of a library.

    Attributes:
        loader: Returns a new reader of files.
        current: Returns what the library has read of a file, as it is now; None if there is none.
    """

    loader: Callable[[], Loader]
    current: Callable[[Path], Read | None]
    _held: dict[tuple[str, str], dict[Path, Index]] = field(default_factory=dict)

    def summaries(
        self, folders: list[Path], cache: Path | None, progress: Progress
    ) -> Iterator[Summary | PersonaError]:
        """Yield the summaries; see `Library.summaries`."""
        shelf = Shelf(cache and cache / CACHE, _absolute(folders), self._summary, progress)
        rows = {row[0]: row for folder in reversed(folders) for row in shelf.rows(folder)}
        for name in sorted(rows):
            yield summary_of(rows[name])

    def listings(
        self,
        folders: list[Path],
        cache: Path | None,
        kind: str,
        stamp: str,
        describe: Callable[[Persona], str],
    ) -> Iterator[Listing | PersonaError]:
        """Yield a text for each persona; see `Library.listings`."""
        at = cache and cache / LISTINGS / kind
        entry = functools.partial(self._listing, describe)
        held = self._held.setdefault((kind, stamp), {})
        shelf = Shelf(at, _absolute(folders), entry, lambda done, total: None, stamp, held)
        rows = {row[0]: row for folder in reversed(folders) for row in shelf.rows(folder)}
        for name, row in sorted(rows.items()):
            if (error := error_of(row)) is not None:
                yield error
            elif row[1]:
                yield Listing(*row[:-1])
            else:
                # The index does not keep a long text.
                made = self._listing(describe, Path(row[-1], name + ENDING))
                if made is not None and not isinstance(made.found, Summary):
                    yield made.found

    def _listing(self, describe: Callable[[Persona], str], file: Path) -> Entry | None:
        """Return the entry of a file in the index of texts; None if it no longer exists."""
        file = file_of(file.parent, file.stem)
        try:
            read = self.current(file)
            if read is None:
                return None
            persona = named(read.persona, file.stem)
        except PersonaError:
            return self._summary(file)
        text = describe(persona)
        return Entry(Listing(persona.name, text, read.version), read.parents, lasts=read.lasts)

    def _summary(self, file: Path) -> Entry | None:
        """Return the index entry of a file; None if it no longer exists."""
        reading = self.loader()
        try:
            persona = named(reading.read(file), file.stem)
        except PersonaError as error:
            if mark_of(file) is None:
                return None
            # A problem without a line may be a disk error, and one that involves a parent may be
            # fixed by a new file that is not tracked.
            own = not reading.looked and all(problem.line for problem in error.problems)
            return Entry(error, lasts=own and not reading.asked)
        parents = Parents(reading.beyond, tuple(reading.looked.items()))
        summary = Summary(
            persona.name, persona.description, persona.version, persona.tags, folder_of(file)
        )
        return Entry(summary, parents if parents.marks else None, lasts=not reading.asked)


def _absolute(folders: list[Path]) -> list[str]:
    return [os.path.abspath(folder) for folder in folders]  # noqa: PTH100
