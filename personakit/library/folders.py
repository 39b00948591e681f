"""The folders of a library, and the files of personas in them."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from personakit.base import entry_points
from personakit.errors import PersonaError
from personakit.library.index import ENDING

if TYPE_CHECKING:
    from personakit.persona import Persona

ENTRY_POINTS = "personakit.personas"


def shipped() -> Path:
    """Return the folder of the personas that ship with personakit."""
    here = Path(__file__).parent.parent
    packed = here / "personas"
    return packed if packed.is_dir() else here.parent / "personas"


def packaged() -> Iterator[Path]:
    """Yield the persona folders of installed packages.

    A package names its folder with an entry point of the group ``personakit.personas`` whose value
    is a package, such as ``acme = "acme_personas"``; the package is found, not imported.
    """
    for point in entry_points(ENTRY_POINTS):
        from importlib import util  # noqa: PLC0415

        try:
            spec = util.find_spec(point.value.partition(".")[0])
        except (ImportError, ValueError):
            # A broken package must not hide the personas of other packages.
            continue
        for folder in (spec and spec.submodule_search_locations) or ():
            yield Path(folder, *point.value.split(".")[1:])


def shown(folders: Iterable[Path]) -> str:
    """Return the existing folders, each once, for an error message."""
    found: dict[str, str] = {}
    for folder in folders:
        if folder.is_dir():
            found.setdefault(os.path.realpath(folder), str(folder))
    return ", ".join(found.values())


@functools.lru_cache(maxsize=4096)
def file_of(folder: Path, name: str) -> Path:
    """Return the file of a persona; the same path each time, which keeps its text and hash."""
    return folder / (name + ENDING)


def named(persona: Persona, name: str) -> Persona:
    """Check that a persona has the name of its file; return it."""
    if persona.name != name:
        message = f"name: found {persona.name!r} in a file called {name!r}; use one name"
        raise PersonaError([persona.document.problem(message, ("name",))])
    return persona
