"""What the server of an entry offers, for the user who adds it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from personakit import Runner


def offered(runner: Runner, patterns: tuple[str, ...]) -> Iterator[str]:
    """Yield lines about the personas and the folders that they are in.

    Args:
        runner: A runner of the current folder, which the entry names if it has personas.
        patterns: Names and patterns of the personas.
    """
    library = runner.library
    names = [name for name in library.names() if any(fnmatchcase(name, p) for p in patterns)]
    files = (library.file(name) for name in names)
    folders = Counter(file.parent.absolute() for file in files if file is not None)
    count = "1 persona" if len(names) == 1 else f"{len(names):,} personas"
    yield f"The server offers {count}{':' if folders else '; `personakit new` writes one'}"
    yield from (f"  {number:,} in {folder}" for folder, number in folders.items())
    if not Path("personas").is_dir():
        # The first folder of a library is that of the current folder.
        own = list(library.folders())[1 : -len(library.packaged)]
        more = f", or put them into {own[-1].absolute()}" if own else ""
        yield (
            f"note: {Path.cwd()} has no folder 'personas', so the entry does not name it; if yours "
            f"are elsewhere, repeat this where their folder is, set PERSONAKIT_PATH to it{more}"
        )
