"""Zip archives as sources, within limits."""

from __future__ import annotations

import io
import zipfile
import zlib
from pathlib import PurePosixPath

from personakit.errors import UsageError
from personakit.formats.sources.folders import _HIDDEN, _SKIPPED
from personakit.formats.sources.tree import MAX_FILE, Tree

MAX_ENTRIES = 10_000
MAX_UNPACKED = 64 * 1024 * 1024
"""The most bytes of all files together."""
_LINK = 0o120000


def zip_tree(data: bytes, label: str, name: str) -> Tree:
    """Return the files of a zip archive.

    Args:
        data: Its content.
        label: Its path in errors.
        name: Its name without the suffix.

    Raises:
        UsageError: It is no archive, is larger than the limits, or a name leads out of it.
    """
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OverflowError) as error:
        raise UsageError(f"{label}: not a zip archive that can be read: {error}") from None
    entries = archive.infolist()
    if len(entries) > MAX_ENTRIES:
        raise UsageError(f"{label}: {len(entries):,} entries; the limit is {MAX_ENTRIES:,}")
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > MAX_UNPACKED:
        raise UsageError(
            f"{label}: {unpacked:,} bytes unpacked; the limit is {MAX_UNPACKED:,}: unpack it "
            f"yourself and import the folder"
        )
    found: dict[PurePosixPath, zipfile.ZipInfo] = {}
    for entry in entries:
        path = _path(entry.filename, label)
        is_link = entry.external_attr >> 16 & 0o170000 == _LINK
        if not entry.is_dir() and not is_link and _is_visible(path):
            found[path] = entry

    def read(path: PurePosixPath) -> bytes:
        entry = found[path]
        try:
            with archive.open(entry) as opened:
                # The size in the directory of the archive may be a lie.
                content = opened.read(min(MAX_FILE, entry.file_size) + 1)
        except (zipfile.BadZipFile, zlib.error, RuntimeError, EOFError, ValueError) as error:
            raise OSError(str(error)) from None
        except NotImplementedError as error:
            raise OSError(str(error)) from None
        if len(content) > entry.file_size or entry.file_size > MAX_FILE:
            raise OSError(f"it is larger than the archive says, or than {MAX_FILE:,} bytes")
        return content

    return Tree(tuple(sorted(found)), read, (name,))


def _path(name: str, label: str) -> PurePosixPath:
    """Return the path of an entry.

    Raises:
        UsageError: It leads out of the archive.
    """
    written = name.replace("\\", "/")
    path = PurePosixPath(written)
    if path.is_absolute() or ".." in path.parts or written[1:2] == ":":
        raise UsageError(
            f"{label}: the entry {name!r:.80} leads out of the archive; nothing is read"
        )
    return path


def _is_visible(path: PurePosixPath) -> bool:
    return not any(
        (part.startswith(".") and part not in _HIDDEN) or part in _SKIPPED for part in path.parts
    )
