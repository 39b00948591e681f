"""The results of rows, to be copied to the rows that repeat them."""

from __future__ import annotations

import json
from array import array
from pathlib import Path
from typing import Any

from personakit.batch.records.files import lines_from

_NONE = (1 << 64) - 1


class Results:
    """The lines of a file by the place of their row: the last one of each.

    Args:
        path: The file.
        rows: How many rows the source has.
    """

    def __init__(self, path: Path, rows: int) -> None:
        self._offsets = array("Q", [_NONE]) * rows
        for offset, line in lines_from(path):
            place = json.loads(line)["index"]
            if place < rows:
                self._offsets[place] = offset
        self._file = path.open("rb") if path.exists() else None

    def of(self, place: int) -> dict[str, Any] | None:
        """Return the line of a row; None if it has none."""
        offset = self._offsets[place]
        if offset == _NONE or self._file is None:
            return None
        self._file.seek(offset)
        line: dict[str, Any] = json.loads(self._file.readline())
        return line

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
