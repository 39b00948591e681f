"""What earlier imports wrote into a folder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from personakit.base import read_file
from personakit.formats.files.persona_file import is_untouched, provenance_of
from personakit.persona import MAX_BYTES

_Key = tuple[Any, ...]


@dataclass(slots=True)
class Earlier:
    """The persona files of a folder, and what they say of their import.

    Attributes:
        files: Each file, with what its `metadata.import` says; None for one that was not imported.
    """

    files: dict[Path, dict[str, Any] | None] = field(default_factory=dict)

    @classmethod
    def of(cls, folder: Path) -> Earlier:
        """Read the files of a folder, which may not exist."""
        result = cls()
        if not folder.is_dir():
            return result
        for path in sorted(folder.glob("*.yaml")):
            try:
                data = read_file(path, MAX_BYTES)
            except (OSError, ValueError):
                result.files[path] = None
                continue
            # Most files of a library were not imported: a look is cheaper than the parser.
            result.files[path] = provenance_of(data) if b"\n  import:\n" in data else None
        return result

    def names(self) -> set[str]:
        """Return the names of all files."""
        return {path.stem for path in self.files}

    def provenance(self, path: Path) -> Mapping[str, Any]:
        """Return what a file says of its import."""
        return self.files.get(path) or {}

    def is_untouched(self, path: Path) -> bool:
        """Return whether a file is as an import wrote it."""
        try:
            return is_untouched(path.read_bytes().decode())
        except (OSError, UnicodeDecodeError):
            return False

    def matched(self, wanted: Iterable[Mapping[str, Any]]) -> list[Path | None]:
        """Return the file of each item that an earlier import wrote; None for new items.

        An item is the same if its file and its bytes are, else if its file, its place and its name
        are, else if its file and its name are.
        """
        items = list(wanted)
        result: list[Path | None] = [None] * len(items)
        left = {path: one for path, one in self.files.items() if one}
        for key in (_bytes, _place, _name):
            places: dict[_Key, list[Path]] = {}
            for path, one in left.items():
                places.setdefault(key(one, path.stem), []).append(path)
            for index, item in enumerate(items):
                paths = places.get(key(item, ""))
                if result[index] is None and paths:
                    result[index] = paths.pop(0)
                    del left[result[index]]  # type: ignore[arg-type]
        return result


def _file(one: Mapping[str, Any]) -> _Key:
    return one.get("url"), one.get("format"), one.get("file")


def _bytes(one: Mapping[str, Any], stem: str) -> _Key:
    return *_file(one), one.get("sha256"), one.get("name", stem)


def _place(one: Mapping[str, Any], stem: str) -> _Key:
    item = one.get("item")
    return *_file(one), item, None if item is None else one.get("name", stem)


def _name(one: Mapping[str, Any], stem: str) -> _Key:
    return *_file(one), one.get("name", stem)
