"""Entry points of the installed packages, read without importlib.metadata if no package has any.

importlib.metadata takes 15 ms to import, as long as Python takes to start, and usually finds
nothing. So this module first searches the files that it would read for the name of the group.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint


def entry_points(group: str) -> Iterable[EntryPoint]:
    """Return the entry points of a group from all installed packages."""
    if not _may_be_named(group.encode()):
        return ()
    from importlib import metadata  # noqa: PLC0415

    return metadata.entry_points(group=group)


def _may_be_named(group: bytes) -> bool:
    """Return whether an installed package may have the group; False is certain."""
    for finder in sys.meta_path:
        # Python's own finders search the folders of sys.path; others may search anywhere.
        own = getattr(finder, "__module__", "").startswith("_frozen_importlib")
        if not own and hasattr(finder, "find_distributions"):
            return True
    return any(_names(folder, group) for folder in sys.path)


def _names(folder: str, group: bytes) -> bool:
    """Return whether a folder of sys.path may contain a package that has the group."""
    try:
        with os.scandir(folder or ".") as entries:
            paths = [e.path for e in entries if e.name.lower().endswith("-info")]
    except FileNotFoundError:
        return False
    except (OSError, ValueError, TypeError):
        # A zip file, or another entry that only importlib.metadata can read.
        return True
    return any(_holds(os.path.join(path, "entry_points.txt"), group) for path in paths)  # noqa: PTH118


def _holds(file: str, text: bytes) -> bool:
    try:
        with open(file, "rb") as opened:  # noqa: PTH123
            return text in opened.read()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
