"""Where imports read from: files, folders, archives, standard input and repositories."""

from __future__ import annotations

from typing import TYPE_CHECKING

from personakit.base import door

if TYPE_CHECKING:
    from personakit.formats.sources.opened import opened as opened
    from personakit.formats.sources.tree import File as File
    from personakit.formats.sources.tree import Tree as Tree
else:
    __getattr__, __dir__, __all__ = door(__name__, {"opened": "opened", "tree": "File Tree"})
