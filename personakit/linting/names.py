"""Checks that a persona can be found by its name and hides no other persona."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from personakit.base import is_file
from personakit.errors import Problem
from personakit.library import ENDING, Library
from personakit.persona import Persona


def check(library: Library, file: Path, persona: Persona) -> Iterator[Problem]:
    """Yield the problems of a file's name.

    A persona in a folder of the search path is found by its file's name, elsewhere by its path.
    """
    document = persona.document
    folder = os.path.realpath(file.parent)
    twin = file.with_suffix(ENDING)
    if file.suffix != ENDING and is_file(twin):
        message = f"{twin.name} in this folder hides {file.name}; remove or rename one of them"
        yield document.problem(message, code="PK041")
    packaged = folder in map(os.path.realpath, library.packaged)
    in_library = packaged or folder in map(os.path.realpath, library.path)
    if persona.name and persona.name != file.stem:
        message = (
            f"name: expected the file name {file.stem!r}, found {persona.name!r}; a library finds "
            f"a persona by its file name: rename one"
        )
        yield document.problem(message, ("name",), code="PK040" if in_library else "PK044")
    if not in_library:
        return
    if file.suffix != ENDING and not is_file(twin):
        message = f"only a {ENDING} file is found by name; rename it to {twin.name}"
        yield document.problem(message, code="PK043")
    hidden = None if packaged else _hidden(library, file)
    if hidden is not None and file.stem not in persona.extends:
        message = (
            f"this file hides the persona {file.stem!r} in {hidden.parent}; "
            f"write `extends: {file.stem}` to change that persona, or choose another name"
        )
        yield document.problem(message, ("name",), key=True, code="PK042")


def _hidden(library: Library, file: Path) -> Path | None:
    """Return the file of the same name in a package or among the shipped personas."""
    if file.suffix != ENDING:
        return None
    return next((path for other in library.packaged if (path := other / file.name).is_file()), None)
