"""The journals of workers on storage that cannot append, such as S3: a series of objects for each.

A worker writes its journal into a folder of its own machine, and copies what is new there from time
to time, so a death costs what was not copied yet, beside the rows under way.
"""

from __future__ import annotations

import posixpath
import shutil
import tempfile
import threading
import weakref
from pathlib import Path

from personakit.batch.ray.storage import Place, is_remote, place_of
from personakit.batch.records import lines_from

_NUMBER = 8
"""The digits of the number of a piece."""


class Mirror:
    """A folder on this machine with all that the workers have written to a place.

    Args:
        place: The place.

    Attributes:
        folder: The folder.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self.folder = Path(tempfile.mkdtemp(prefix="personakit-journal-"))
        weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)
        self._lock = threading.Lock()
        self._sent: dict[Path, tuple[int, int]] = {}  # the bytes and the pieces of a file
        self._known: dict[str, int] = {}  # the pieces of others' files

    def pull(self) -> None:
        """Copy what the other workers have written since the last time.

        Raises:
            OSError: The place cannot be read.
        """
        from pyarrow.fs import FileSelector  # noqa: PLC0415

        with self._lock:
            selector = FileSelector(self._place.path, allow_not_found=True)
            files = self._place.filesystem.get_file_info(selector)
            found = sorted(info.base_name for info in files if info.is_file)
            own = {path.name for path in self._sent}
            for name in found:
                file, _, number = name.rpartition("~")
                if not file:
                    self._copy(name, self.folder / name)
                elif file not in own and int(number) == self._known.get(file, 0):
                    self._copy(name, self.folder / file)
                    self._known[file] = int(number) + 1

    def _copy(self, name: str, path: Path) -> None:
        data = self._read(name)
        with path.open("ab" if "~" in name else "wb") as file:
            file.write(data)

    def _read(self, name: str) -> bytes:
        path = posixpath.join(self._place.path, name)
        with self._place.filesystem.open_input_stream(path) as stream:
            data: bytes = stream.read()
        return data

    def push(self, files: tuple[Path, ...]) -> None:
        """Copy what was appended to files since the last time.

        Args:
            files: The files, in the order in which they are copied.

        Raises:
            OSError: The place cannot be written.
        """
        with self._lock:
            for file in files:
                size, number = self._sent.get(file, (0, 0))
                lines = [line for _, line in lines_from(file, size)]
                if lines:
                    data = b"".join(lines)
                    self._place.write(f"{file.name}~{number:0{_NUMBER}}", data)
                    size, number = size + len(data), number + 1
                self._sent[file] = size, number

    def write(self, name: str) -> None:
        """Copy a file of the folder that does not change.

        Raises:
            OSError: The place cannot be written.
        """
        self._place.write(name, (self.folder / name).read_bytes())


def mirror_of(journal: str) -> Mirror | None:
    """Return a mirror of the folder of a journal; None if it is on a file system of this machine.

    Raises:
        UsageError: It cannot be reached.
    """
    place = place_of(journal) if is_remote(journal) else None
    return None if place is None or place.is_local else Mirror(place)
