"""Summaries: what a list shows of each persona, read where a file has changed since the last."""

from __future__ import annotations

import operator
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from personakit.base import NAME
from personakit.errors import PersonaError, Problem
from personakit.library.index import (
    ENDING,
    NEVER,
    Cached,
    Index,
    Mark,
    Parents,
    Row,
    has_settled,
    mark_of,
    scan,
)

Progress = Callable[[int, int], None]


class Summary(NamedTuple):
    """What a list shows of a persona; the attributes are those of `Persona`."""

    name: str
    description: str
    version: str
    tags: Sequence[str]
    folder: str

    @property
    def path(self) -> str:
        """The file it was read from, as the user would name it."""
        return f"{self.folder}{self.name}{ENDING}"


class Entry(NamedTuple):
    """What was found in a file.

    Attributes:
        found: The summary, or what is wrong with the file.
        parents: What it depends on besides the file.
        lasts: Whether the same is found as long as none of these changes.
    """

    found: Summary | PersonaError
    parents: Parents | None = None
    lasts: bool = True


@dataclass(slots=True)
class Shelf:
    """Reads folders of personas with the help of their indexes.

    Attributes:
        cache: The folder of the indexes; None to do without.
        path: The search path, as absolute paths.
        read: Reads a file; None when it has gone.
        progress: Told how many files of how many have been read.
    """

    cache: Path | None
    path: list[str]
    read: Callable[[Path], Entry | None]
    progress: Progress
    _marks: dict[str, Mark | None] = field(default_factory=dict)

    def rows(self, folder: Path) -> list[Row]:
        """Return what there is in a folder, by name; `summary_of` makes it out."""
        rows = self._fresh(folder)
        begin = folder_of(folder / "x")
        for row in rows:
            row[-1] = begin
        return rows

    def _fresh(self, folder: Path) -> list[Row]:
        found = scan(folder)
        if not found.names:
            return []
        cached = Cached(self.cache, os.path.abspath(folder)) if self.cache else None  # noqa: PTH100
        known = (cached and cached.load()) or Index()
        stale = self._stale(known)
        if not stale and known.names == found.names and known.marks == found.marks:
            return known.rows
        made = Index(path=self.path)
        try:
            fresh = self._kept(found, known, stale)
            self._fill(folder, found, made, known, fresh)
        finally:
            # Also when it is broken off: the next time goes on from here.
            made.rows.sort(key=operator.itemgetter(0))
            if cached is not None and made != known:
                cached.save(made)
        return made.rows

    def _stale(self, known: Index) -> set[int]:
        """Return the places of the parents that are not what they were."""
        same = known.path == self.path
        return {
            place
            for place, parents in enumerate(known.parents, 1)
            if (parents.beyond and not same) or any(map(self._is_changed, parents.marks))
        }

    def _is_changed(self, noted: tuple[str, Mark | None]) -> bool:
        file, mark = noted
        if file not in self._marks:
            self._marks[file] = mark_of(file)
        return self._marks[file] != mark

    @staticmethod
    def _kept(found: Index, known: Index, stale: set[int]) -> dict[str, Row]:
        """Return the rows that are still right, by name."""
        noted, now = dict(known.marked()), dict(found.marked())
        return {
            row[0]: row
            for row in known.rows
            if row[-1] not in stale and now.get(row[0]) == noted.get(row[0], NEVER)
        }

    def _fill(
        self, folder: Path, found: Index, made: Index, known: Index, fresh: dict[str, Row]
    ) -> None:
        """Fill an index, reading the files whose rows are not fresh."""
        todo = sum(NAME.match(name) is not None for name in found.names) - len(fresh)
        done = 0
        ended: BaseException | None = None
        for name, mark in found.marked():
            row = fresh.get(name)
            if row is not None or not NAME.match(name):
                made.add(name, mark, row, known.parents_of(row) if row else None)
            elif ended is None:
                try:
                    self.progress(done, todo)
                    self._read(folder, name, mark, made)
                    done += 1
                except BaseException as error:
                    ended = error
        if todo:
            self.progress(todo, todo)
        if ended is not None:
            raise ended

    def _read(self, folder: Path, name: str, mark: Mark, made: Index) -> None:
        """Read a file into an index."""
        now = time.time_ns()
        entry = self.read(folder / (name + ENDING))
        if entry is None:
            return
        others = entry.parents.marks if entry.parents else ()
        settled = all(has_settled(each, now) for each in (mark, *(m for _, m in others)))
        kept = mark if entry.lasts and settled else NEVER
        made.add(name, kept, _row(name, entry.found, str(folder / (name + ENDING))), entry.parents)


def summary_of(row: Row) -> Summary | PersonaError:
    """Return what a row says, with the path that the user would name."""
    if row[1] is None:
        path = f"{row[-1]}{row[0]}{ENDING}"
        return PersonaError([Problem(p[0], p[1] or path, *p[2:]) for p in row[2]])
    # Half a microsecond less than Summary(*row), 100,000 times.
    return tuple.__new__(Summary, row)


def folder_of(file: Path) -> str:
    """Return the folder of a file as it stands before the file's name in its path."""
    return str(file)[: -len(file.name)]


def _row(name: str, found: Summary | PersonaError, path: str) -> Row:
    """Return a row as JSON has it, without the place of its parents."""
    if isinstance(found, Summary):
        return [*found[:-1], 0]
    problems = [
        # The folder may be called otherwise the next time: by a relative path, or through a link.
        [p.message, "" if p.path == path else p.path, p.line, p.column, p.code]
        for p in found.problems
    ]
    return [name, None, problems, 0]
