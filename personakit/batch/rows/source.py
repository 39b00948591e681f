"""What a source of rows is, and what files have in common."""

from __future__ import annotations

import gzip
import hashlib
import io
import shlex
import zlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple, Protocol

from personakit.errors import UsageError, did_you_mean

LONGEST_LINE = 1 << 26
"""The most characters of a line."""
_MARKS = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)


class Record(NamedTuple):
    """A row as it stands in the source.

    Attributes:
        line: The line of the file on which it begins, from 1; of Parquet, the row from 1.
        values: The values by column: texts in CSV, JSON types elsewhere.
        fault: Why it cannot be read; empty if it can.
        column: The column of the fault; empty if it is not in one.
    """

    line: int
    values: Mapping[str, Any]
    fault: str = ""
    column: str = ""


@dataclass(frozen=True, slots=True)
class Stamp:
    """What tells whether a source has changed.

    Attributes:
        size: Bytes.
        modified: Nanoseconds since 1970.
        digest: ``sha256:…`` of the content.
    """

    size: int
    modified: int
    digest: str


class Source(Protocol):
    """A table that can be read several times.

    Attributes:
        name: Its name in messages.
    """

    name: str

    @property
    def details(self) -> str:
        """How it is read, for messages about missing columns; empty if there is no choice."""

    def columns(self) -> tuple[str, ...] | None:
        """Return the names of the columns; None if each row has its own.

        Raises:
            UsageError: The file cannot be read.
        """

    def is_untyped(self, column: str) -> bool:
        """Return whether values of a column may stand for those of another type.

        Texts may stand for any type, and whole floats for integers.
        """

    def records(self, columns: Collection[str]) -> Iterator[Record]:
        """Yield the rows, with at least the given columns.

        Raises:
            UsageError: The file cannot be read.
        """

    def stamp(self, earlier: Stamp | None = None) -> Stamp:
        """Return what tells whether the source has changed.

        Args:
            earlier: The stamp of an earlier time: its digest is taken if size and time are equal.
        """


class File:
    """A file, which may be compressed with gzip.

    Raises:
        UsageError: It does not exist, or is not a regular file.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.name = path, str(path)
        if not path.exists():
            names = [each.name for each in path.parent.iterdir()] if path.parent.is_dir() else []
            raise UsageError(f"{path}: no such file{did_you_mean(path.name, names)}")
        if not path.is_file():
            kind = "a folder" if path.is_dir() else "a pipe or a device, which is read only once"
            raise UsageError(
                f"{path}: it is {kind}; give a file, or rows on standard input with - for its name"
            )

    @property
    def details(self) -> str:
        """See `Source.details`."""
        return ""

    def stamp(self, earlier: Stamp | None = None) -> Stamp:
        """See `Source.stamp`."""
        status = self.path.stat()
        size, modified = status.st_size, status.st_mtime_ns
        if earlier is not None and (earlier.size, earlier.modified) == (size, modified):
            return earlier
        with self.path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return Stamp(size, modified, f"sha256:{digest}")

    @contextmanager
    def binary(self) -> Iterator[IO[bytes]]:
        """Open the file, decompressed.

        Raises:
            UsageError: It cannot be read.
        """
        try:
            packed = self.path.suffix.lower() == ".gz"
            with gzip.open(self.path, "rb") if packed else self.path.open("rb") as file:
                yield file  # type: ignore[misc]
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise UsageError(f"{self.path}: it is damaged: {error}") from None
        except OSError as error:
            raise UsageError(f"{self.path}: cannot be read: {error.strerror or error}") from None


class TextFile(File):
    """A file of text: UTF-8, or what its byte order mark says."""

    def encoding(self) -> str:
        """Return the encoding.

        Raises:
            UsageError: The file begins like UTF-16 without a byte order mark.
        """
        with self.binary() as file:
            head = file.read(4)
        for mark, encoding in _MARKS:
            if head.startswith(mark):
                return encoding
        if b"\x00" in head:
            order = "BE" if head[:1] == b"\x00" else "LE"
            raise UsageError(
                f"{self.path}: it looks like UTF-16 without a byte order mark; "
                f"convert it: {self._converting(f'UTF-16{order}')}"
            )
        return "utf-8"

    @contextmanager
    def text(self, newline: str = "") -> Iterator[IO[str]]:
        """Open the file as text.

        Args:
            newline: See `open`.

        Raises:
            UsageError: It cannot be read, or is not text of its encoding.
        """
        encoding = self.encoding()
        with self.binary() as file:
            text = io.TextIOWrapper(file, encoding, newline=newline)
            try:
                yield text
            except UnicodeError as error:
                raise self._not_text(encoding, error) from None

    def _not_text(self, encoding: str, error: UnicodeError) -> UsageError:
        if not encoding.startswith("utf-8"):
            return UsageError(f"{self.path}: it begins like {encoding.upper()} and is not: {error}")
        with self.binary() as file:
            for number, line in enumerate(file, 1):
                try:
                    line.decode()
                except UnicodeDecodeError as fault:
                    at, bad = fault.start + 1, line[fault.start]
                    return UsageError(
                        f"{self.path}:{number}: byte {at} (0x{bad:02x}) is not UTF-8. Tables of "
                        f"Excel often have Windows-1252: {self._converting('WINDOWS-1252')}"
                    )
        return UsageError(f"{self.path}: it is not UTF-8: {error}")

    def _converting(self, encoding: str) -> str:
        path = self.path
        target = path.with_name(f"{path.name.partition('.')[0]}.utf8{path.suffix}")
        if path.suffix == ".gz":
            return f"iconv -f {encoding} -t UTF-8, after gunzip"
        names = shlex.quote(str(path)), shlex.quote(str(target))
        return f"iconv -f {encoding} -t UTF-8 {names[0]} > {names[1]}"


def too_long(path: Path, line: int) -> UsageError:
    """Return the error for a line that is longer than `LONGEST_LINE`."""
    return UsageError(
        f"{path}:{line}: the line has more than {LONGEST_LINE:,} characters; expected one row in "
        "each line"
    )
