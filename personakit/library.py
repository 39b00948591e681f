"""The library: where personas come from, by name along a search path or by file path."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from personakit.errors import PersonaError, PersonaNotFound, Problem, did_you_mean
from personakit.persona import NAME, Persona

ENDING = ".yaml"
ENTRY_POINTS = "personakit.personas"
_SCHEME = re.compile(r"([a-z][a-z0-9+-]+):(.*)\Z", re.DOTALL)
_PATH = re.compile(r"[/\\]|\.ya?ml\Z|\.json\Z|\A~")


def shipped() -> Path:
    """Return the folder of the personas that ship with personakit."""
    here = Path(__file__).parent
    packed = here / "personas"
    return packed if packed.is_dir() else here.parent / "personas"


def packaged() -> Iterator[Path]:
    """Yield the folders that installed packages bring.

    A package names its folder with an entry point of the group ``personakit.personas`` whose value
    is a package, such as ``acme = "acme_personas"``; the package is found, not imported.
    """
    from importlib import metadata, util  # noqa: PLC0415

    for point in metadata.entry_points(group=ENTRY_POINTS):
        spec = util.find_spec(point.value.partition(".")[0])
        for folder in (spec and spec.submodule_search_locations) or ():
            yield Path(folder, *point.value.split(".")[1:])


@dataclass(slots=True)
class Library:
    """Personas along a search path.

    Attributes:
        path: Folders, searched in order before those of installed packages and the one that ships.
        loader: Returns the function of a ``scheme:``, or None; plugins contribute them.
    """

    path: tuple[Path, ...] = ()
    loader: Callable[[str], Callable[[str], str | bytes] | None] = lambda scheme: None
    _read: dict[Path, tuple[tuple[int, int, int], Persona]] = field(default_factory=dict)

    def folders(self) -> Iterator[Path]:
        """Yield the folders of the search path, in order; some may not exist."""
        yield from self.path
        yield from packaged()
        yield shipped()

    def load(self, reference: str | Path) -> Persona:
        """Return a persona.

        Args:
            reference: A name, a file's path (it has a slash or an ending), or ``scheme:rest``.

        Raises:
            PersonaNotFound: There is none; the message says what comes near.
            PersonaError: Its file is wrong.
        """
        text = os.fspath(reference)
        if NAME.match(text):
            return self._by_name(text)
        scheme = _SCHEME.match(text)
        if scheme and not Path(text).exists():
            return self._by_scheme(text, *scheme.groups())
        if isinstance(reference, Path) or _PATH.search(text):
            return self._by_path(text)
        raise PersonaNotFound(
            f"{text[:80]!r} is no persona's name (a-z, 0-9, '_', '-') and no path of a file"
            f"{did_you_mean(text.lower(), self.names())}; `personakit list` shows the names"
        )

    def _by_name(self, name: str) -> Persona:
        for folder in self.folders():
            file = folder / (name + ENDING)
            found = self._cached(file)
            if found is None:
                continue
            if found.name != name:
                fault = f"name: found {found.name!r} in a file called {name!r}; use one name"
                raise PersonaError([found.document.problem(fault, ("name",))])
            return found
        names = self.names()
        where = ", ".join(str(folder) for folder in self.folders() if folder.is_dir())
        hint = did_you_mean(name, names) or "; `personakit list` shows what there is"
        raise PersonaNotFound(f"no persona {name!r} in {where}{hint}")

    def _by_path(self, text: str) -> Persona:
        file = Path(text).expanduser()
        found = self._cached(file)
        if found is not None:
            return found
        near = did_you_mean(file.name, [p.name for p in _listed(file.parent)])
        hint = near or ("" if file.parent.is_dir() else f"; there is no folder {file.parent}")
        raise PersonaNotFound(f"no file {text}{hint}")

    def _by_scheme(self, text: str, scheme: str, rest: str) -> Persona:
        function = self.loader(scheme)
        if function is None:
            raise PersonaNotFound(f"no file {text}, and no plugin loads {scheme}: personas")
        return Persona.parse(function(rest), text)

    def _cached(self, file: Path) -> Persona | None:
        """Return the persona of a file, read again when the file has changed; None for no file."""
        try:
            stat = file.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError) as error:
            raise PersonaError([Problem(f"cannot be read: {error}", str(file))]) from None
        state = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        known = self._read.get(file)
        if known is not None and known[0] == state:
            return known[1]
        if file.is_dir():
            raise PersonaError([Problem("is a folder; name a file in it", str(file))])
        self._read.pop(file, None)
        made = Persona.read(file)
        self._read[file] = (state, made)
        return made

    def names(self) -> list[str]:
        """Return the names that can be loaded, without reading the files."""
        return sorted({file.stem for folder in self.folders() for file in _listed(folder)})

    def personas(self) -> Iterator[Persona | PersonaError]:
        """Yield every persona by name, the first of each; for a wrong file its error."""
        first: dict[str, Path] = {}
        for folder in self.folders():
            for file in _listed(folder):
                first.setdefault(file.stem, file)
        for _, file in sorted(first.items()):
            try:
                found = self._cached(file)
                if found is not None:
                    yield found
            except PersonaError as error:
                yield error


def _listed(folder: Path) -> list[Path]:
    """Return the persona files of a folder."""
    try:
        with os.scandir(folder) as entries:
            names = [e.name for e in entries if e.name.endswith(ENDING) and e.name[0] != "."]
    except OSError:
        return []
    return [folder / name for name in names if NAME.match(name.removesuffix(ENDING))]
