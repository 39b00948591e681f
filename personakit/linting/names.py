"""Whether a persona is found by its name, and hides no other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from personakit.errors import Problem
from personakit.library import ENDING, Library, packaged, shipped
from personakit.persona import Persona


def check(library: Library, file: Path, persona: Persona) -> Iterator[Problem]:
    """Yield what is wrong with the name of a file.

    In a folder of the search path a persona is found by it, elsewhere by its path.
    """
    document = persona.document
    folder = _real(file.parent)
    twin = file.with_suffix(ENDING)
    if file.suffix != ENDING and twin.is_file():
        message = f"{twin.name} stands beside it, and only that is found by name; take one away"
        yield document.problem(message, code="PK041")
    in_library = folder in {_real(root) for root in library.folders()}
    if persona.name and persona.name != file.stem:
        message = (
            f"name: found {persona.name!r} in a file called {file.stem!r}; in a library a persona "
            f"is found by the name of its file: use one name"
        )
        yield document.problem(message, ("name",), code="PK040" if in_library else "PK044")
    if not in_library:
        return
    if file.suffix != ENDING and not twin.is_file():
        message = f"a persona is found by name in a {ENDING} file only; rename it to {twin.name}"
        yield document.problem(message, code="PK043")
    hidden = _hidden(file, folder)
    if hidden is not None and file.stem not in persona.extends:
        message = (
            f"it hides the persona {file.stem!r} of {hidden.parent}; "
            f"write `extends: {file.stem}` to change that one, or choose another name"
        )
        yield document.problem(message, ("name",), key=True, code="PK042")


def _hidden(file: Path, folder: Path) -> Path | None:
    """Return the file of the same name that a package brings, or that ships."""
    if file.suffix != ENDING:
        return None
    others = [*packaged(), shipped()]
    if folder in {_real(other) for other in others}:
        return None
    return next((found for other in others if (found := other / file.name).is_file()), None)


def _real(path: Path) -> Path:
    try:
        return path.resolve()
    except OSError:
        return path
