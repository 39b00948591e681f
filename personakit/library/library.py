"""The library: where personas come from, by name along a search path or by file path."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from personakit.base import NAME, State, entry_points, state_of
from personakit.errors import PersonaError, PersonaNotFound, UsageError, did_you_mean
from personakit.library.index import ENDING, Parents, mark_of
from personakit.library.loader import Loader, inside, names_in, nearest
from personakit.library.summaries import Entry, Progress, Shelf, Summary, folder_of, summary_of

if TYPE_CHECKING:
    from personakit.persona import Persona

CACHE = "library"
ENTRY_POINTS = "personakit.personas"
_SCHEME = re.compile(r"([a-z][a-z0-9+-]+):(.*)\Z", re.DOTALL)
_PATH = re.compile(r"[/\\]|\.ya?ml\Z|\.json\Z|\A~")


def shipped() -> Path:
    """Return the folder of the personas that ship with personakit."""
    here = Path(__file__).parent.parent
    packed = here / "personas"
    return packed if packed.is_dir() else here.parent / "personas"


def packaged() -> Iterator[Path]:
    """Yield the folders that installed packages bring.

    A package names its folder with an entry point of the group ``personakit.personas`` whose value
    is a package, such as ``acme = "acme_personas"``; the package is found, not imported.
    """
    for point in entry_points(ENTRY_POINTS):
        from importlib import util  # noqa: PLC0415

        try:
            spec = util.find_spec(point.value.partition(".")[0])
        except (ImportError, ValueError):
            # A broken package is no reason to lose the personas of the others.
            continue
        for folder in (spec and spec.submodule_search_locations) or ():
            yield Path(folder, *point.value.split(".")[1:])


@dataclass(slots=True)
class Library:
    """Personas along a search path.

    Attributes:
        path: Folders, searched in order before those of installed packages and the one that ships.
        loader: Returns the function of a ``scheme:``, or None; plugins contribute them.
        cache: The user's cache, where the indexes of folders are kept; None to do without.
    """

    path: tuple[Path, ...] = ()
    loader: Callable[[str], Callable[[str], str | bytes] | None] = lambda scheme: None
    cache: Path | None = None
    _read: dict[Path, tuple[dict[Path, State], Persona]] = field(default_factory=dict)
    _packaged: tuple[Path, ...] | None = None

    def folders(self) -> Iterator[Path]:
        """Yield the folders of the search path, in order; some may not exist."""
        yield from self.path
        if self._packaged is None:
            # Looking through the installed distributions takes 2 ms.
            self._packaged = (*packaged(), shipped())
        yield from self._packaged

    def load(self, reference: str | Path) -> Persona:
        """Return a persona.

        Args:
            reference: A name, a file's path (it has a slash or an ending), or ``scheme:rest``.

        Raises:
            PersonaNotFound: There is none; the message says what comes near.
            PersonaError: Its file is wrong.
        """
        from personakit.base import RESERVED  # noqa: PLC0415

        text = os.fspath(reference)
        if NAME.match(text) and not RESERVED.match(text):
            return self._by_name(text)
        scheme = _SCHEME.match(text)
        # Not Path.exists, which raises for a name that is too long.
        if scheme and not os.path.exists(text):  # noqa: PTH110
            return self._by_scheme(text, *scheme.groups())
        if isinstance(reference, Path) or _PATH.search(text):
            return self._by_path(text)
        raise PersonaNotFound(
            f"{text[:80]!r} is no persona's name (a-z, 0-9, '_', '-') and no path of a file"
            f"{self._hint(text.lower())}; `personakit list` shows the names"
        )

    def _by_name(self, name: str) -> Persona:
        for folder in self.folders():
            found = self._cached(folder / (name + ENDING))
            if found is None:
                continue
            return _named(found, name)
        for folder in self.folders():
            if (folder / f"{name}.yml").is_file():
                raise PersonaNotFound(f"no persona {name!r}; rename {folder / name}.yml to .yaml")
        where = _shown(self.folders())
        hint = self._hint(name) or "; `personakit list` shows what there is"
        raise PersonaNotFound(f"no persona {name!r} in {where}{hint}")

    def _by_path(self, text: str) -> Persona:
        try:
            file = Path(text).expanduser()
        except RuntimeError:
            raise PersonaNotFound(f"no file {text}; there is no such user") from None
        found = self._cached(file)
        if found is not None:
            return found
        near = did_you_mean(
            file.name, [name + ENDING for name in nearest(file.stem, names_in(file.parent))]
        )
        if file.name == text and file.stem in self.names():
            near = f"; the persona {file.stem!r} of the library is loaded without an ending"
        hint = near or ("" if file.parent.is_dir() else f"; there is no folder {file.parent}")
        raise PersonaNotFound(f"no file {text}{hint}")

    def _by_scheme(self, text: str, scheme: str, rest: str) -> Persona:
        function = self.loader(scheme)
        if function is None:
            raise PersonaNotFound(f"no file {text}, and no plugin loads {scheme}: personas")
        # What comes from elsewhere may extend what is here, but reads no file beside itself.
        from personakit.persona import Persona  # noqa: PLC0415

        return Persona.parse(function(rest), text, parents=Loader(self.roots).parent)

    def _cached(self, file: Path) -> Persona | None:
        """Return the persona of a file, read again when it or a parent has changed."""
        known = self._read.get(file)
        if known is not None and all(state_of(f) == state for f, state in known[0].items()):
            return known[1]
        self._read.pop(file, None)
        if state_of(file) is None:
            return None
        reading = Loader(self.roots)
        made = reading.read(file)
        self._read[file] = (reading.states, made)
        return made

    def parents(self, *files: Path) -> Callable[[str], Persona]:
        """Return what finds the personas that a file extends.

        Args:
            files: The file, after those that extend it; none for one that is not there yet.
        """
        reading = Loader(self.roots)
        reading.stack += files
        return reading.parent

    def roots(self, path: str) -> Iterator[Path]:
        """Yield the folders that a file's `extends` and includes are looked for in."""
        if Path(path).is_file():
            yield Path(path).parent
        yield from self.folders()

    def partial(self, name: str, path: str) -> Path:
        """Return the file that a template includes.

        Args:
            name: What the template says, such as ``partials/tone.md``.
            path: The file of the template.

        Raises:
            UsageError: There is no such file in the library, or it is outside.
        """
        parts = name.split("/")
        if not all(parts) or "\\" in name or ".." in parts or ":" in name or "\0" in name:
            raise UsageError(
                f"include {name[:80]!r} is not allowed: write a path inside the library, "
                f"such as partials/tone.md"
            )
        for root in self.roots(path):
            found = inside(root, name)
            if found is not None:
                return found
        where = _shown(self.roots(path))
        raise UsageError(f"no file {name!r} to include in {where}")

    def names(self) -> list[str]:
        """Return the names that can be loaded, without reading the files."""
        return sorted({name for folder in self.folders() for name in names_in(folder)})

    def personas(self) -> Iterator[Persona | PersonaError]:
        """Yield every persona by name, the first of each; for a wrong file its error."""
        first: dict[str, Path] = {}
        for folder in self.folders():
            for name in names_in(folder):
                first.setdefault(name, folder / (name + ENDING))
        for name, file in sorted(first.items()):
            try:
                found = self._cached(file)
                if found is not None:
                    yield _named(found, name)
            except PersonaError as error:
                yield error

    def _hint(self, word: str) -> str:
        return did_you_mean(word, nearest(word, self.names()))

    def summaries(
        self, progress: Progress = lambda done, total: None
    ) -> Iterator[Summary | PersonaError]:
        """Yield what a list shows of every persona; of a file that is wrong, its error.

        Only files that have changed since the last time are read, whoever listed them then; the
        order is that of `personas`.

        Args:
            progress: Told how many files of how many have been read, folder by folder.
        """
        folders = list(self.folders())
        path = [os.path.abspath(folder) for folder in folders]  # noqa: PTH100
        cache = None if self.cache is None else self.cache / CACHE
        shelf = Shelf(cache, path, self._entry, progress)
        found = {row[0]: row for folder in reversed(folders) for row in shelf.rows(folder)}
        for name in sorted(found):
            yield summary_of(found[name])

    def _entry(self, file: Path) -> Entry | None:
        """Return what a list shows of a file; None when it has gone."""
        reading = Loader(self.roots)
        try:
            found = _named(reading.read(file), file.stem)
        except PersonaError as error:
            if mark_of(file) is None:
                return None
            # What no line is to blame for may be the disk's fault, and what a parent has part in
            # may go away with a file that nobody has looked for yet.
            own = not reading.looked and all(problem.line for problem in error.problems)
            return Entry(error, lasts=own)
        parents = Parents(reading.beyond, tuple(reading.looked.items()))
        summary = Summary(found.name, found.description, found.version, found.tags, folder_of(file))
        return Entry(summary, parents if parents.marks else None)


def _shown(folders: Iterable[Path]) -> str:
    """Return the folders that exist, each once, as an error message names them."""
    return ", ".join(dict.fromkeys(str(folder) for folder in folders if folder.is_dir()))


def _named(found: Persona, name: str) -> Persona:
    """Return a persona, checked to have the name of its file."""
    if found.name != name:
        fault = f"name: found {found.name!r} in a file called {name!r}; use one name"
        raise PersonaError([found.document.problem(fault, ("name",))])
    return found
