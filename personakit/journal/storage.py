"""Where the journals of runs are kept: files that only the user can read, or the caller's place."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from personakit.base import brief_repr, check_file, create_file, private_files
from personakit.errors import JournalError

_NAME = ".jsonl"
_MOST = 1000


class JournalStorage(Protocol):
    """Keeps the journals of suspended runs; `Runner(journals=…)` takes one.

    A journal is a list of lines: texts of JSON, without line breaks. Lines are only appended.
    Threads and processes can call the methods at the same time.
    """

    def append(self, id: str, at: int, lines: Sequence[str]) -> None:  # noqa: A002
        """Append lines to a journal; when this returns, they survive the end of the process.

        Args:
            id: The id of the run: 32 hex digits.
            at: The number of lines that the journal must have now; 0 creates it.
            lines: The lines.

        Raises:
            JournalError: It has another number of lines: another process goes on with the run. Or
                it cannot be written; then it is unchanged.
        """
        ...

    def read(self, id: str) -> Sequence[str]:  # noqa: A002
        """Return the lines of a journal; an empty list if there is none."""
        ...

    def remove(self, id: str) -> None:  # noqa: A002
        """Remove a journal, if there is one."""
        ...

    def ids(self) -> Iterable[str]:
        """Return the ids of all journals, in any order."""
        ...


class JournalFolder:
    """Keeps each journal in a file of a folder, both readable by the user alone.

    Args:
        path: The folder; the first journal creates it. A function is called on first use.
    """

    def __init__(self, path: str | Path | Callable[[], Path]) -> None:
        self._given = path
        self._known: dict[Path, tuple[int, int]] = {}  # the bytes and lines after the last write

    __repr__ = brief_repr

    def _shown(self) -> Iterator[tuple[str, str]]:
        yield "path", str(self.path)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, JournalFolder) and self.path == other.path

    def __hash__(self) -> int:
        return hash(self.path)

    @property
    def path(self) -> Path:
        """The folder."""
        return self._given() if callable(self._given) else Path(self._given)

    def append(self, id: str, at: int, lines: Sequence[str]) -> None:  # noqa: A002
        """See `JournalStorage.append`."""
        file = self._file(id)
        data = "".join(f"{line}\n" for line in lines).encode()
        with _explained(file, "written"), private_files.locked(self.path):
            end, count = self._extent(file)
            if count != at:
                raise JournalError(
                    f"{file} has {count} lines, expected {at}: "
                    + ("another process goes on with this run" if count else "it was removed")
                    + "; see `personakit suspended list`"
                )
            self._write(file, end, data)
            if len(self._known) > _MOST:
                self._known.clear()
            self._known[file] = end + len(data), count + len(lines)

    def _extent(self, file: Path) -> tuple[int, int]:
        """Return the number of bytes and of lines of a journal.

        It is read only if another process has written to it: a long one has many megabytes.
        """
        known = self._known.get(file)
        if known is not None and file.is_file() and file.stat().st_size == known[0]:
            return known
        whole = self._whole(file)
        return len(whole), whole.count(b"\n")

    @staticmethod
    def _write(file: Path, end: int, data: bytes) -> None:
        """Write data at the end of the last whole line, on the disk."""
        create_file(file)
        handle = os.open(file, os.O_WRONLY)
        try:
            os.ftruncate(handle, end)  # what a crash left is not a line
            os.lseek(handle, end, os.SEEK_SET)
            left = memoryview(data)
            try:
                while left:
                    left = left[os.write(handle, left) :]
                os.fsync(handle)
            except OSError:
                os.ftruncate(handle, end)
                raise
        finally:
            os.close(handle)

    def read(self, id: str) -> list[str]:  # noqa: A002
        """See `JournalStorage.read`.

        Raises:
            JournalError: The file cannot be read, or other users can read it.
        """
        file = self._file(id)
        with _explained(file, "read"):
            if not file.is_file():
                return []
            handle = os.open(file, os.O_RDONLY)
            try:
                if fault := private_files.fault(file, handle):
                    raise JournalError(fault)
            finally:
                os.close(handle)
            return self._whole(file).decode().split("\n")[:-1]

    @staticmethod
    def _whole(file: Path) -> bytes:
        """Return the whole lines of a file; a crash may have left a part of one."""
        if not file.exists():
            return b""
        check_file(file)
        data = file.read_bytes()
        return data[: data.rfind(b"\n") + 1]

    def remove(self, id: str) -> None:  # noqa: A002
        """See `JournalStorage.remove`."""
        file = self._file(id)
        with _explained(file, "removed"):
            self._known.pop(file, None)
            file.unlink(missing_ok=True)

    def ids(self) -> list[str]:
        """See `JournalStorage.ids`."""
        with _explained(self.path, "read"):
            if not self.path.is_dir():
                return []
            names = [file.stem for file in self.path.iterdir() if file.suffix == _NAME]
            return sorted(name for name in names if name.isalnum())

    def _file(self, identity: str) -> Path:
        if not identity.isalnum() or not identity.isascii():
            raise JournalError(f"invalid id of a run {identity[:80]!r}: use 32 hex digits")
        return self.path / f"{identity}{_NAME}"


@contextmanager
def _explained(path: Path, verb: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise JournalError(f"{path} cannot be {verb}: {error.strerror or error}") from error
