"""Which kind of source an argument names."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from personakit.errors import UsageError
from personakit.formats.sources.archives import zip_tree
from personakit.formats.sources.folders import _read, file_tree, folder_tree
from personakit.formats.sources.repositories import Address, repository_tree
from personakit.formats.sources.tree import MAX_FILE, Tree

_ARCHIVES = (".zip",)


@contextlib.contextmanager
def opened(source: str, name: str = "") -> Iterator[Tree]:
    """Open a source while the block runs.

    Args:
        source: A file, a folder, ``-``, a zip archive, or a repository of git: a URL, a bare
            repository, or ``gh:owner/name[@revision][:path]``.
        name: The name of the file on standard input.

    Raises:
        UsageError: There is no such source, or it cannot be read.
    """
    if source == "-":
        yield _standard_input(name)
        return
    address = Address.of(source)
    if address is not None:
        with repository_tree(address) as tree:
            yield tree
        return
    path = Path(source).expanduser()
    try:
        if path.is_dir():
            yield folder_tree(path)
        elif path.suffix.lower() in _ARCHIVES:
            yield zip_tree(_read(path), source, path.stem)
        elif path.is_file():
            yield file_tree(path)
        else:
            raise UsageError(_missing(source))
    except OSError as error:
        raise UsageError(f"{source} cannot be read: {error.strerror or error}") from None


def _standard_input(name: str) -> Tree:
    data = sys.stdin.buffer.read(MAX_FILE + 1)
    if len(data) > MAX_FILE:
        raise UsageError(f"standard input is larger than {MAX_FILE:,} bytes")
    path = PurePosixPath(name or "stdin")
    return Tree((path,), lambda _: data, file=True)


def _missing(source: str) -> str:
    if re.match(r"[\w.-]+/[\w.-]+(?:@|:|\Z)", source) and not source.startswith("."):
        return (
            f"{source}: there is no such file or folder; for a repository of GitHub, write "
            f"gh:{source}"
        )
    return f"{source}: there is no such file or folder; check the path, or give a URL of git"
