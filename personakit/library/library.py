"""The library: loading personas by name along a search path, by file path, or by plugins."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from personakit.base import (
    LOADED,
    NAME,
    SCHEME,
    brief_repr,
    is_file,
    is_stream,
    state_of,
)
from personakit.errors import PersonaError, PersonaNotFound, UsageError, did_you_mean, spelled
from personakit.library.folders import file_of, named, packaged, shipped, shown
from personakit.library.index import ENDING, Parents, has_settled, mark_of
from personakit.library.lists import Lists, Read
from personakit.library.loader import Loader, inside, names_in, nearest
from personakit.library.matching import unmatched
from personakit.library.sources import MAX_KEPT, Sources, declared
from personakit.library.summaries import Listing, Progress, Summary

if TYPE_CHECKING:
    from personakit.persona import Persona
    from personakit.registry import PersonaSource

_PATH = re.compile(r"[/\\]|\.ya?ml\Z|\.json\Z|\A~")


DEFINED: dict[str, Persona] = {}
"""The personas that cells of a notebook have defined, by name; every library finds them first."""


@dataclass(slots=True)
class Library:
    """Personas along a search path.

    Attributes:
        path: Folders, searched in order before those of installed packages and of personakit.
        loader: Returns what a plugin has registered for a ``scheme:``, or None.
        cache: The user's cache folder, for the indexes of folders; None for no indexes.
        private: Folders whose files no template may include.
        schemes: Returns the schemes whose personas are listed.
        own: The folders of `path` that the caller of a runner names, which should exist.
    """

    path: tuple[Path, ...] = ()
    loader: Callable[[str], PersonaSource | None] = field(default=lambda scheme: None, repr=False)
    cache: Path | None = None
    private: tuple[Path, ...] = ()
    schemes: Callable[[], Iterable[str]] = field(default=declared, repr=False)
    own: tuple[Path, ...] = field(default=(), repr=False)
    _read: dict[Path, Read] = field(default_factory=dict)
    _loaded: dict[str, Read] = field(default_factory=dict)
    _lists: Lists = field(init=False)
    _sources: Sources = field(init=False)
    _packaged: tuple[Path, ...] | None = None

    def __post_init__(self) -> None:
        self._sources = Sources(self.loader)
        self._lists = Lists(lambda: Loader(self.roots, self._sources.text), self._current)

    __repr__ = brief_repr

    def folders(self) -> Iterator[Path]:
        """Yield the folders of the search path, in order; some may not exist."""
        yield from self.path
        yield from self.packaged

    @property
    def packaged(self) -> tuple[Path, ...]:
        """The folders of installed packages, and last that of personakit."""
        if self._packaged is None:
            # Searching the installed distributions takes 2 ms.
            self._packaged = (*packaged(), shipped())
        return self._packaged

    def load(self, reference: str | Path) -> Persona:
        """Return a persona.

        Args:
            reference: A name, a file path (with a slash or an extension), or ``scheme:rest`` for
                a persona that a plugin loads.

        Raises:
            PersonaNotFound: The persona does not exist; the message suggests similar names.
            PersonaError: Its file is invalid.
        """
        from personakit.base import RESERVED  # noqa: PLC0415

        text = os.fspath(reference)
        if NAME.match(text) and not RESERVED.match(text):
            return self._by_name(text)
        scheme, colon, _ = text.partition(":")
        if isinstance(reference, str) and colon and SCHEME.match(scheme):
            # A file in the current folder must not take the place of a persona of a plugin.
            # Not Path.exists, which raises for a name that is too long.
            known = self._sources.kept(text) or self._sources.find(scheme)
            if known or not os.path.exists(text):  # noqa: PTH110
                return self._by_scheme(text)
        if isinstance(reference, Path) or _PATH.search(text):
            return self._by_path(text)
        raise PersonaNotFound(
            f"{text[:80]!r} is neither a persona name (a-z, 0-9, '_', '-') nor a file path"
            f"{self._hint(text.lower())}; {self._listing()} shows the names"
        )

    def _by_name(self, name: str) -> Persona:
        if (defined := DEFINED.get(name)) is not None:
            return defined
        for folder in self.folders():
            persona = self._cached(file_of(folder, name))
            if persona is None:
                continue
            return named(persona, name)
        for folder in self.folders():
            if (folder / f"{name}.yml").is_file():
                raise PersonaNotFound(f"no persona {name!r}; rename {folder / name}.yml to .yaml")
        where = shown(self.folders())
        hint = self._hint(name) or f"; {self._listing()} shows the personas"
        missing = "".join(f"; the folder {at} does not exist" for at in self.own if not at.is_dir())
        raise PersonaNotFound(f"no persona {name!r} in {where}{missing}{hint}")

    def _by_path(self, text: str) -> Persona:
        try:
            file = Path(text).expanduser()
        except RuntimeError:
            raise PersonaNotFound(f"no file {text}: the user in this path does not exist") from None
        persona = self._cached(file)
        if persona is not None:
            return persona
        others = [name for name in names_in(file.parent) if name + ENDING != file.name]
        beside = Path(text)
        near = did_you_mean(
            file.stem,
            nearest(file.stem, others),
            lambda name: str(beside.with_name(name + ENDING)),
        )
        if file.name == text and file.stem in self.names():
            near = f"; load the persona {file.stem!r} of the library without a file extension"
        listing = f"; {self._listing()} shows the personas"
        there = file.parent.is_dir()
        hint = near or (listing if there else f"; the folder {file.parent} does not exist")
        raise PersonaNotFound(f"no file {text}{hint}")

    def _by_scheme(self, reference: str) -> Persona:
        texts = {reference: self._sources.text(reference)}
        known = self._loaded.get(reference)
        if known is None or not self._is_fresh(known, texts):
            reading = Loader(self.roots, self._sources.text, texts)
            persona = reading.load(reference)
            known = Read(reading.states, reading.texts, persona)
        self._loaded.pop(reference, None)
        for oldest in list(self._loaded)[: len(self._loaded) - MAX_KEPT + 1]:
            self._loaded.pop(oldest, None)
        self._loaded[reference] = known
        return known.persona

    def kept(self, reference: str | os.PathLike[str]) -> Persona | None:
        """Return a persona that a plugin loaded and that is kept; None for any other."""
        read = self._loaded.get(os.fspath(reference))
        is_kept = read is not None and all(map(self._sources.kept, read.texts))
        return read.persona if read is not None and is_kept else None

    def _cached(self, file: Path) -> Persona | None:
        read = self._current(file)
        return read.persona if read else None

    def _current(self, file: Path) -> Read | None:
        """Return the persona of a file; read it again if it or a parent has changed."""
        cached = self._read.get(file)
        texts: dict[str, str | bytes] = {}
        same = cached and all(state_of(f) == state for f, state in cached.states.items())
        if cached is not None and same and (not cached.texts or self._is_fresh(cached, texts)):
            return cached
        self._read.pop(file, None)
        if state_of(file) is None:
            return None
        now, mark = time.time_ns(), mark_of(file)
        reading = Loader(self.roots, self._sources.text, texts)
        persona = reading.read(file)
        marks = (mark, *reading.looked.values())
        lasts = not reading.asked and all(has_settled(each, now) for each in marks)
        parents = Parents(reading.beyond, tuple(reading.looked.items())) if reading.looked else None
        read = Read(reading.states, reading.texts, persona, parents, lasts)
        self._read[file] = read
        return read

    def _is_fresh(self, read: Read, texts: dict[str, str | bytes]) -> bool:
        """Return whether a persona is still made of the same texts.

        Args:
            read: The persona.
            texts: The texts that were loaded before; those that are loaded now are added.
        """
        if any(state_of(file) != state for file, state in read.states.items()):
            return False
        for reference, text in read.texts.items():
            if reference not in texts:
                try:
                    texts[reference] = self._sources.text(reference)
                except UsageError:
                    return False  # it is raised again, with its place in the file
            if texts[reference] != text:
                return False
        return True

    def provides(self, reference: str) -> bool:
        """Return whether a plugin provides the scheme of a reference."""
        return bool(LOADED.match(reference) and self._sources.find(reference.partition(":")[0]))

    def text(self, reference: str) -> str | bytes:
        """Return the YAML of a persona that a plugin loads, which may be invalid.

        Raises:
            PersonaNotFound: No plugin has it.
            PersonaError: The plugin failed.
        """
        return self._sources.text(reference)

    def listed(self, scheme: str | None = None) -> Iterator[Summary | PersonaError]:
        """Yield the personas that plugins list, in order; for a plugin that fails, its error.

        Args:
            scheme: The only scheme; None for all `schemes`.
        """
        for name in sorted(self.schemes()) if scheme is None else [scheme]:
            try:
                for reference, description in self._sources.listed(name).items():
                    yield Summary(reference, description, "", (), "")
            except PersonaError as error:
                yield error

    def file(self, name: str) -> Path | None:
        """Return the file of a persona's name, which may be invalid; None if there is none."""
        files = (folder / (name + ENDING) for folder in self.folders())
        return next((file for file in files if file.is_file()), None)

    def parents(self, *files: Path | str) -> Callable[[str], Persona]:
        """Return a function that finds the personas that another extends.

        Args:
            files: Its file, or its reference if a plugin loads it, preceded by those that extend
                it; empty for a text.
        """
        reading = Loader(self.roots, self._sources.text)
        reading.stack += files
        return reading.parent

    def roots(self, path: str) -> Iterator[Path]:
        """Yield the folders in which a file's `extends` and includes are searched."""
        if is_file(path) and not is_stream(path):
            yield Path(path).parent
        yield from self.folders()

    def partial(self, name: str, path: str) -> Path:
        """Return the file that a template includes.

        Args:
            name: The name in the template, such as ``partials/tone.md``.
            path: The file of the template.

        Raises:
            PersonaNotFound: The library does not contain the file.
            UsageError: The path is not allowed, or it is outside the library.
        """
        from personakit.permissions import within  # noqa: PLC0415

        parts = name.split("/")
        if not all(parts) or "\\" in name or ".." in parts or ":" in name or "\0" in name:
            raise UsageError(
                f"include {name[:80]!r} is not allowed: write a path inside the library, "
                f"such as partials/tone.md"
            )
        for root in self.roots(path):
            file = inside(root, name)
            if file is None:
                continue
            try:
                within(root, name, self.private)
            except ValueError as error:
                raise UsageError(f"include is not allowed: {error}") from None
            return file
        where = shown(self.roots(path))
        raise PersonaNotFound(
            f"no file {name!r} to include in {where}; create it, or correct the name"
        )

    def names(self) -> list[str]:
        """Return the names that can be loaded, without reading the files."""
        return sorted({*DEFINED, *(n for folder in self.folders() for n in names_in(folder))})

    def unmatched(self, patterns: Iterable[str], among: Sequence[str] = ("*",)) -> Iterator[str]:
        """Yield a message for each name or pattern, such as ``code-*``, that matches no persona.

        Those of plugins, as ``scheme:rest``, count as matched: to list them may take a server.

        Args:
            patterns: Names and patterns.
            among: Names and patterns of the personas that are offered.
        """
        # Reading the names takes time, and any persona matches an asterisk.
        if given := [pattern for pattern in patterns if pattern != "*"]:
            where, listing = shown(self.folders()), self._listing()
            yield from unmatched(given, among, self.names(), where, listing)

    def personas(self) -> Iterator[Persona | PersonaError]:
        """Yield the first persona of each name, in order; for an invalid file its error."""
        first: dict[str, Path] = {}
        for folder in self.folders():
            for name in names_in(folder):
                first.setdefault(name, folder / (name + ENDING))
        for name, file in sorted(first.items()):
            try:
                persona = self._cached(file)
                if persona is not None:
                    yield named(persona, name)
            except PersonaError as error:
                yield error

    def _hint(self, word: str) -> str:
        return did_you_mean(word, nearest(word, self.names()))

    def _listing(self) -> str:
        """Return how the user lists the personas."""
        return spelled(
            terminal="`personakit list`",
            magic="`%persona`",
            python=f"`{'runner' if self.own else 'personakit.Runner()'}.library.names()`",
        )

    def summaries(
        self, progress: Progress = lambda done, total: None
    ) -> Iterator[Summary | PersonaError]:
        """Yield the summary of every persona; for an invalid file its error.

        Only files that have changed since they were last listed are read. The order is that of
        `personas`.

        Args:
            progress: Called with the numbers of read files and of files to read, per folder.
        """
        return self._lists.summaries(list(self.folders()), self.cache, progress)

    def listings(
        self, kind: str, stamp: str, describe: Callable[[Persona], str]
    ) -> Iterator[Listing | PersonaError]:
        """Yield a text for every persona, such as its entry in a list, or the error of its file.

        A text of at most 20,000 characters is kept in the cache as long as the files of the persona
        do not change. One that depends on what a plugin loads is made each time. The order is that
        of `personas`.

        Args:
            kind: The name of a folder in the cache, such as ``mcp-prompts``.
            stamp: What the texts depend on besides the persona, such as the version of the caller.
            describe: Returns the text of a persona, which must not be empty.
        """
        return self._lists.listings(list(self.folders()), self.cache, kind, stamp, describe)
