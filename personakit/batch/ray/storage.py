"""Where rows are read and results are written: local paths, and those of pyarrow's file systems."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any, NamedTuple

from personakit.batch.ray.blocks import pyarrow
from personakit.errors import UsageError

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]+://")
FORMATS = ("jsonl", "parquet", "csv")


class Place(NamedTuple):
    """A file or a folder of a file system.

    Attributes:
        filesystem: One of pyarrow's.
        path: The path in it.
        name: How the user has written it.
    """

    filesystem: Any
    path: str
    name: str

    @property
    def is_local(self) -> bool:
        """Whether it is on this machine, or on a file system that is mounted."""
        return str(self.filesystem.type_name) == "local"

    def exists(self) -> bool:
        """Return whether there is a file, or a folder with something in it."""
        from pyarrow.fs import FileSelector, FileType  # noqa: PLC0415

        kind = self.filesystem.get_file_info(self.path).type
        if kind != FileType.Directory:
            return bool(kind != FileType.NotFound)
        return bool(self.filesystem.get_file_info(FileSelector(self.path)))

    def beside(self, suffix: str) -> str:
        """Return the name of what stands beside it, as the user would write it."""
        name, mark, query = self.name.partition("?")
        return f"{name.rstrip('/')}{suffix}{mark}{query}"

    def write(self, name: str, data: bytes) -> None:
        """Write a file in a folder."""
        with self.filesystem.open_output_stream(posixpath.join(self.path, name)) as stream:
            stream.write(data)


def is_remote(name: str) -> bool:
    """Return whether a name has a scheme, such as ``s3://``."""
    return bool(_SCHEME.match(name))


def place_of(name: str) -> Place:
    """Return the place that a name stands for.

    Args:
        name: A local path, or a URI such as ``s3://bucket/rows?endpoint_override=…``.

    Raises:
        UsageError: pyarrow has no such file system, or it cannot be reached.
    """
    pyarrow()
    from pyarrow.fs import FileSystem, LocalFileSystem  # noqa: PLC0415

    if not is_remote(name):
        return Place(LocalFileSystem(), str(Path(name).absolute()), name)
    try:
        filesystem, path = FileSystem.from_uri(name)
    except (OSError, ValueError) as error:
        raise UsageError(f"{name}: {str(error).partition(chr(10))[0]}") from None
    return Place(filesystem, path.rstrip("/"), name)


def format_of(out: str) -> str:
    """Return the format of an output by its name.

    Raises:
        UsageError: It ends in none of them.
    """
    suffix = posixpath.splitext(out.partition("?")[0].rstrip("/"))[1].removeprefix(".").lower()
    if suffix not in FORMATS:
        raise UsageError(
            f"{out}: on Ray, the output is a folder whose name ends in .jsonl, .parquet or .csv, "
            f"such as {out.partition('?')[0].rstrip('/') or 'out'}.parquet"
        )
    return suffix
