"""Files: when one has changed, and which there are in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from personakit.errors import PersonaError, Problem

if TYPE_CHECKING:
    pass


State = tuple[int, int, int] | None


def state_of(file: Path) -> State:
    """Return what changes when a file does; None when there is no such file.

    Raises:
        PersonaError: The file cannot be looked at.
    """
    try:
        stat = file.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise PersonaError([Problem(f"cannot be read: {error}", str(file))]) from None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino
