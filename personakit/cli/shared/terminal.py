"""The standard streams of a command: a terminal shows control characters as marks.

Every text that a command prints passes through `Terminal`, whoever prints it: a command, a plugin,
click, a warning or the report of a crash. What personakit itself writes to move the cursor or to
colour a text goes to the stream below it, see `unguarded`.
"""

from __future__ import annotations

import codecs
import io
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from personakit.base import printable

SUSPENDED = 3
"""The exit code of a command whose run waits for a person."""
writing = threading.RLock()
"""Held while a line that will be erased is written, and while text is."""
stopped = [False]
"""Whether the run was stopped or has failed: its other threads must not ask any more."""
_passing = [False]


class Terminal(io.TextIOWrapper):
    """A text stream to a terminal that shows control characters as marks; see `printable`.

    Args:
        below: The stream that it replaces, which stays open for escape sequences.
    """

    def __init__(self, below: io.TextIOWrapper) -> None:
        # click bypasses a stream whose encoding is ASCII, and writes UTF-8 to its buffer.
        is_ascii = codecs.lookup(below.encoding).name == "ascii"
        # The two share a buffer, so neither may keep text back.
        below.reconfigure(
            encoding="utf-8" if is_ascii else None, errors="replace", write_through=True
        )
        super().__init__(
            below.buffer,
            below.encoding,
            "replace",
            line_buffering=below.line_buffering,
            write_through=True,
        )
        self.below = below
        self._bytes = _Bytes(self)

    @property
    def buffer(self) -> Any:
        """The stream for bytes, which shows control characters as marks, too."""
        return self._bytes

    def write(self, text: str) -> int:
        """Write a text with its control characters as marks; return its length."""
        if _passing[0]:
            erase_passing()
        super().write(printable(text))
        return len(text)

    def close(self) -> None:
        """Write what is left; the stream below owns the file."""
        self.flush()


class _Bytes(io.BufferedIOBase):
    """Writes bytes to a terminal, such as those that click prints for the completion of a shell."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._decoder = codecs.getincrementaldecoder(terminal.encoding)("replace")

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._terminal.write(self._decoder.decode(bytes(data)))
        return len(data)

    def flush(self) -> None:
        self._terminal.flush()

    def fileno(self) -> int:
        return self._terminal.fileno()

    def isatty(self) -> bool:
        return True


def show_passing(line: str) -> None:
    """Write a line on standard error that is erased when anything else is written.

    Args:
        line: A text that fits on the line.
    """
    with writing:
        erase_passing()
        stream = unguarded(sys.stderr)
        stream.write(f"\x1b[2m{line}\x1b[0m")
        stream.flush()
        _passing[0] = True


def erase_passing() -> None:
    """Erase the line that `show_passing` wrote, if it is still there."""
    with writing:
        if _passing[0]:
            _passing[0] = False
            stream = unguarded(sys.stderr)
            stream.write("\r\x1b[K")
            stream.flush()


@contextmanager
def stopping() -> Iterator[None]:
    """End the questions of other threads if the block fails; it may not end before they do."""
    stopped[0] = False
    try:
        yield
    except BaseException:
        stopped[0] = True
        raise


def guard_streams() -> None:
    """Show control characters as marks on those standard streams that are terminals."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        # The stream below may also replace what the encoding lacks, or a lone surrogate.
        if not isinstance(stream, io.TextIOWrapper):
            continue
        if stream.isatty():
            setattr(sys, name, Terminal(stream))
        else:
            stream.reconfigure(errors="replace")


def is_attended() -> bool:
    """Return whether a person can be asked: standard input and standard error are terminals."""
    return all(
        stream is not None and not stream.closed and stream.isatty()
        for stream in (sys.stdin, sys.stderr)
    )


def unguarded(stream: TextIO) -> TextIO:
    """Return the stream below a terminal, for text with escape sequences; any other unchanged."""
    return stream.below if isinstance(stream, Terminal) else stream
