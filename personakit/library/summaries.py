"""Summaries of personas for a list, cached in indexes of their folders."""

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

MAX_TEXT = 20_000
"""The most characters of a text in an index. A longer one is made each time."""
Progress = Callable[[int, int], None]


class Summary(NamedTuple):
    """A summary of a persona; the attributes are those of `Persona`."""

    name: str
    description: str
    version: str
    tags: Sequence[str]
    folder: str

    @property
    def path(self) -> str:
        """The path of its file, as the user wrote it; its name if a plugin loads it."""
        return self.name if ":" in self.name else f"{self.folder}{self.name}{ENDING}"


class Listing(NamedTuple):
    """A text that was made of a persona, such as its entry in a list.

    Attributes:
        name: The name of the persona.
        text: The text.
        version: A number that changes with the files of the persona.
    """

    name: str
    text: str
    version: int


class Entry(NamedTuple):
    """The result of reading a file.

    Attributes:
        found: The summary or the text of the persona, or the error of the file.
        parents: The other files on which the result depends.
        lasts: Whether the result stays the same until one of these files changes.
    """

    found: Summary | Listing | PersonaError
    parents: Parents | None = None
    lasts: bool = True


@dataclass(slots=True)
class Shelf:
    """A reader of folders of personas, which uses and updates their indexes.

    Attributes:
        cache: The folder of the indexes; None for no indexes.
        path: The search path, as absolute paths.
        read: Reads a file; returns None if it no longer exists.
        progress: Called with the numbers of read files and of files to read.
        stamp: What the rows depend on besides the files and this package.
        held: The indexes that this process keeps, by folder; None to keep none.
    """

    cache: Path | None
    path: list[str]
    read: Callable[[Path], Entry | None]
    progress: Progress
    stamp: str = ""
    held: dict[Path, Index] | None = None
    _marks: dict[str, Mark | None] = field(default_factory=dict)

    def rows(self, folder: Path) -> list[Row]:
        """Return the rows of a folder, sorted by name; `summary_of` converts them."""
        rows = self._fresh(folder)
        begin = folder_of(folder / "x")
        if self.held is not None:
            return [[*row[:-1], begin] for row in rows]
        for row in rows:
            row[-1] = begin
        return rows

    def _fresh(self, folder: Path) -> list[Row]:
        now = scan(folder)
        held = {} if self.held is None else self.held
        if not now.names:
            held.pop(folder, None)
            return []
        at = os.path.abspath(folder)  # noqa: PTH100
        cache = Cached(self.cache, at, self.stamp) if self.cache else None
        old = held.get(folder) or (cache and cache.load()) or Index()
        stale = self._stale(old)
        if not stale and old.names == now.names and old.marks == now.marks:
            held[folder] = old
            return old.rows
        new = Index(path=self.path)
        try:
            fresh = self._kept(now, old, stale)
            self._fill(folder, now, new, old, fresh)
        finally:
            # After an interruption, too: the next call continues from here.
            new.rows.sort(key=operator.itemgetter(0))
            held[folder] = new
            if cache is not None and new != old:
                cache.save(new)
        return new.rows

    def _stale(self, old: Index) -> set[int]:
        """Return the positions of the parents that have changed, counted from 1."""
        same = old.path == self.path
        return {
            place
            for place, parents in enumerate(old.parents, 1)
            if (parents.beyond and not same) or any(map(self._is_changed, parents.marks))
        }

    def _is_changed(self, marked: tuple[str, Mark | None]) -> bool:
        file, mark = marked
        if file not in self._marks:
            self._marks[file] = mark_of(file)
        return self._marks[file] != mark

    @staticmethod
    def _kept(now: Index, old: Index, stale: set[int]) -> dict[str, Row]:
        """Return the rows that are still valid, by name."""
        before, marks = dict(old.marked()), dict(now.marked())
        return {
            row[0]: row
            for row in old.rows
            if row[-1] not in stale and marks.get(row[0]) == before.get(row[0], NEVER)
        }

    def _fill(
        self, folder: Path, now: Index, new: Index, old: Index, fresh: dict[str, Row]
    ) -> None:
        """Fill the new index, reading the files without a fresh row."""
        todo = sum(NAME.match(name) is not None for name in now.names) - len(fresh)
        done = 0
        ended: BaseException | None = None
        for name, mark in now.marked():
            row = fresh.get(name)
            if row is not None or not NAME.match(name):
                new.add(name, mark, row, old.parents_of(row) if row else None)
            elif ended is None:
                try:
                    self.progress(done, todo)
                    self._read(folder, name, mark, new)
                    done += 1
                except BaseException as error:
                    ended = error
        if todo:
            self.progress(todo, todo)
        if ended is not None:
            raise ended

    def _read(self, folder: Path, name: str, mark: Mark, index: Index) -> None:
        """Read a file and add it to an index."""
        now = time.time_ns()
        entry = self.read(folder / (name + ENDING))
        if entry is None:
            return
        others = entry.parents.marks if entry.parents else ()
        settled = all(has_settled(each, now) for each in (mark, *(m for _, m in others)))
        kept = mark if entry.lasts and settled else NEVER
        row = _row(name, entry.found, str(folder / (name + ENDING)))
        index.add(name, kept, row, entry.parents)


def error_of(row: Row) -> PersonaError | None:
    """Return the error of a row, with the path as the user wrote it; None if it has none."""
    if row[1] is not None:
        return None
    path = f"{row[-1]}{row[0]}{ENDING}"
    return PersonaError([Problem(p[0], p[1] or path, *p[2:]) for p in row[2]])


def summary_of(row: Row) -> Summary | PersonaError:
    """Return the summary or the error of a row, with the path as the user wrote it."""
    if row[1] is None and (error := error_of(row)):
        return error
    # Saves 0.5 µs over Summary(*row), for up to 100,000 rows.
    return tuple.__new__(Summary, row)


def folder_of(file: Path) -> str:
    """Return the part of a path before the file's name."""
    return str(file)[: -len(file.name)]


def _row(name: str, found: Summary | Listing | PersonaError, path: str) -> Row:
    """Return a row for the index, without the position of its parents."""
    if isinstance(found, Listing):
        text = found.text if len(found.text) <= MAX_TEXT else ""
        return [name, text, found.version, 0]
    if isinstance(found, Summary):
        return [*found[:-1], 0]
    problems = [
        # The folder may have another path next time: a relative one, or one through a link.
        [p.message, "" if p.path == path else p.path, p.line, p.column, p.code]
        for p in found.problems
    ]
    return [name, None, problems, 0]
