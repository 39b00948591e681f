"""The files of a source."""

from __future__ import annotations

import functools
import posixpath
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from personakit.formats.note import Unreadable

MAX_FILE = 32 * 1024 * 1024
"""The largest file that is read, in bytes."""


@dataclass(frozen=True, eq=False)
class File:
    """A file of a source.

    Attributes:
        path: Its path within the source.
        tree: The source.
    """

    path: PurePosixPath
    tree: Tree = field(repr=False)

    @functools.cached_property
    def data(self) -> bytes:
        """Its content.

        Raises:
            Unreadable: It cannot be read.
        """
        try:
            return self.tree.read(self.path)
        except OSError as error:
            raise Unreadable(f"cannot be read: {error.strerror or error}") from None

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.path.name

    @property
    def place(self) -> PurePosixPath:
        """Its path with the names of some folders above the source, which tell some formats."""
        return PurePosixPath(*self.tree.above, self.path)

    @property
    def folder(self) -> str:
        """The name of the folder that contains it; empty if that is unknown."""
        return self.place.parent.name

    def beside(self, reference: str) -> File | None:
        """Return the file that a path beside this one refers to; None if there is none.

        Raises:
            Unreadable: The path leads out of the source.
        """
        written = reference.replace("\\", "/")
        joined = posixpath.normpath(posixpath.join(self.path.parent.as_posix(), written))
        is_absolute = written.startswith("/") or written[1:2] == ":"
        if is_absolute or joined.startswith("../") or joined == "..":
            raise Unreadable(
                f"{reference!r} is outside of the source and is not read; put the file beside "
                f"{self.path}, or remove the reference"
            )
        return self.tree.find(PurePosixPath(joined))


@dataclass(frozen=True, eq=False)
class Tree:
    """A source: some files by their paths.

    Attributes:
        paths: The files in sorted order.
        read: Returns the content of a file.
        above: The names of the folder or the archive, and of some folders above it.
        file: Whether the source is a single file.
        url: The address of the repository; empty if it is none.
        revision: The commit of the repository; empty if it is none.
        beside: Other files, which those can refer to.
    """

    paths: tuple[PurePosixPath, ...]
    read: Callable[[PurePosixPath], bytes]
    above: tuple[str, ...] = ()
    file: bool = False
    url: str = ""
    revision: str = ""
    beside: tuple[PurePosixPath, ...] = ()

    def files(self) -> Iterator[File]:
        """Yield the files that can be imported."""
        for path in self.paths:
            yield File(path, self)

    def find(self, path: PurePosixPath) -> File | None:
        """Return a file by its path; None if there is none."""
        return File(path, self) if path in self._known else None

    @functools.cached_property
    def _known(self) -> frozenset[PurePosixPath]:
        return frozenset((*self.paths, *self.beside))
