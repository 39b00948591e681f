"""The standard streams of the process: closed ones, and those that cannot be written to."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from collections.abc import Iterator
from typing import Any

_MODES = {"stdin": "r", "stdout": "w", "stderr": "w"}


class _Output(io.FileIO):
    """Standard output, which an error of writing names.

    Attributes:
        fault: The error number of the first failed write; 0 if there is none.
    """

    fault = 0

    def write(self, data: Any, /) -> int:
        if self.fault:
            # Python writes what is left once more when it exits.
            return memoryview(data).nbytes
        try:
            return super().write(data) or 0
        except OSError as error:
            _Output.fault = error.errno or errno.EIO
            raise OSError(error.errno, error.strerror, "standard output") from None


class _Messages(io.FileIO):
    """Standard error: a message that cannot be written does not change how a command ends."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data) or 0
        except OSError:
            return memoryview(data).nbytes


def has_no_reader() -> bool:
    """Return whether the reader of standard output has exited, as that of ``| head`` does."""
    return _Output.fault == errno.EPIPE


@contextlib.contextmanager
def aside() -> Iterator[None]:
    """Let what is printed to standard output go to standard error, also by other processes."""
    try:
        sys.stdout.flush()
        kept = os.dup(1)
    except (OSError, ValueError):  # closed
        yield
        return
    try:
        os.dup2(2, 1)
        yield
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


def prepare() -> None:
    """Replace closed standard streams by the null device, and make output safe to write.

    An answer may contain characters that the terminal's encoding lacks, or a lone surrogate: they
    are replaced. Streams that are not those of the process, as in a test, stay as they are.
    """
    for number, (name, mode) in enumerate(_MODES.items()):
        if getattr(sys, name) is None:
            setattr(sys, name, _null(number, mode))
    for name, kind in (("stdout", _Output), ("stderr", _Messages)):
        stream = getattr(sys, name)
        if not isinstance(stream, io.TextIOWrapper):
            continue
        stream.reconfigure(errors="replace")
        if stream is getattr(sys, f"__{name}__"):
            setattr(sys, name, _around(stream, kind))


def _null(number: int, mode: str) -> Any:
    """Open the null device in the place of a standard stream.

    Daemons and some cron jobs have none; the next file that is opened would take its place.
    """
    null = os.open(os.devnull, os.O_RDWR)
    if null != number:
        os.dup2(null, number)
        os.close(null)
    # It stays open until the process exits.
    return open(number, mode, encoding="utf-8", closefd=False)


def _around(stream: io.TextIOWrapper, kind: type[_Output | _Messages]) -> io.TextIOWrapper:
    """Return a stream that writes to the same file through another class."""
    stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(kind(stream.fileno(), "w", closefd=False)),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
