"""Entry points of the installed packages, without importlib.metadata where there are none.

importlib.metadata takes 15 ms to import, as much as Python takes to start, and most often it finds
nothing. So the files that it would read are searched for the group's name first.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint


def entry_points(group: str) -> Iterable[EntryPoint]:
    """Return the entry points of a group, of all installed packages."""
    if not _may_be_named(group.encode()):
        return ()
    from importlib import metadata  # noqa: PLC0415

    return metadata.entry_points(group=group)


def _may_be_named(group: bytes) -> bool:
    """Tell whether an installed package may have the group; False only when none has."""
    for finder in sys.meta_path:
        # Python's own looks into the folders of sys.path; of any other nothing is known.
        own = getattr(finder, "__module__", "").startswith("_frozen_importlib")
        if not own and hasattr(finder, "find_distributions"):
            return True
    return any(_names(folder, group) for folder in sys.path)


def _names(folder: str, group: bytes) -> bool:
    """Tell whether a folder of sys.path may hold a package that has the group."""
    try:
        with os.scandir(folder or ".") as entries:
            found = [e.path for e in entries if e.name.lower().endswith("-info")]
    except FileNotFoundError:
        return False
    except (OSError, ValueError, TypeError):
        # A zip file, or what only importlib.metadata can make something of.
        return True
    return any(_holds(os.path.join(path, "entry_points.txt"), group) for path in found)  # noqa: PTH118


def _holds(file: str, text: bytes) -> bool:
    try:
        with open(file, "rb") as opened:  # noqa: PTH123
            return text in opened.read()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
