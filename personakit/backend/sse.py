"""Decode server-sent events: their data, and their names, which mark errors.

Format: https://html.spec.whatwg.org/multipage/server-sent-events.html. The decoder works on bytes
because a line ends only at CR, LF or both: `str.splitlines` also splits at U+2028, which would cut
an event in two.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

from personakit.errors import IncompleteAnswer, InvalidAnswer

MAX_BYTES = 16 * 1024 * 1024
"""The largest accepted answer: far more than a model writes."""
MAX_STREAM = 16 * MAX_BYTES
"""The same for a stream, whose events contain much besides the text."""
_GZIP_OR_ZLIB = 47


class BodyReader:
    """A decoder for the pieces of a body, with a limit on its size.

    Args:
        encoding: The reply's Content-Encoding.
        limit: The largest size of the decoded body, in bytes.
    """

    __slots__ = ("_decoder", "_left", "_limit")

    def __init__(self, encoding: str = "", limit: int = MAX_BYTES) -> None:
        self._limit = self._left = limit
        self._decoder: Any = None
        kind = encoding.strip().lower()
        if kind in ("gzip", "x-gzip", "deflate"):
            self._decoder = zlib.decompressobj(_GZIP_OR_ZLIB)
        elif kind not in ("", "identity"):
            raise InvalidAnswer(f"the answer is encoded as {kind[:40]!r}, which was not requested")

    def feed(self, part: bytes) -> bytes:
        """Return a piece, decompressed.

        Raises:
            InvalidAnswer: The body is too large, or does not match its Content-Encoding.
        """
        if self._decoder is not None:
            try:
                part = self._decoder.decompress(part, min(self._left, MAX_BYTES) + 1)
            except zlib.error as error:
                raise InvalidAnswer(f"the answer cannot be decompressed: {error}") from error
        self._left -= len(part)
        if self._left < 0 or len(part) > MAX_BYTES:
            raise InvalidAnswer(f"the answer is larger than {self._limit >> 20} MiB")
        return part

    def widen(self, limit: int) -> None:
        """Raise the limit."""
        self._left += limit - self._limit
        self._limit = limit

    def end(self) -> None:
        """Check that the body is complete.

        Raises:
            IncompleteAnswer: The compressed data is truncated.
        """
        if self._decoder is not None and not self._decoder.eof:
            raise IncompleteAnswer("the compressed answer is truncated")


_DONE = (b"[DONE]", b"DONE")


def _is_done(data: bytes) -> bool:
    """Return whether the data of an event ends a chat stream, in the spellings of all servers."""
    return len(data) < 30 and data.strip().removeprefix(b"data:").strip(b' "').upper() in _DONE


class Decoder:
    """A decoder from the pieces of a body to the data of its events.

    Attributes:
        done: True after the ``[DONE]`` that ends a chat stream.
        name: The name of the event whose data was yielded last.
    """

    __slots__ = ("_bare", "_begun", "_data", "_name", "_rest", "_size", "done", "name")

    def __init__(self) -> None:
        self._bare = False
        self._begun = False
        self._rest: list[bytes] = []
        self._data: list[bytes] = []
        self.done = False
        self.name = self._name = b""
        self._size = 0

    @property
    def is_between(self) -> bool:
        """Whether the next piece of the body begins with an event, and not with the first one."""
        return self._begun and not (self._rest or self._data or self._name or self.done)

    def feed(self, part: bytes) -> Iterator[bytes]:
        """Add a piece of the body; yield the data of each event that it completes.

        Raises:
            InvalidAnswer: An event is too large.
        """
        self._size += len(part)
        if self._size > MAX_BYTES:
            raise InvalidAnswer(f"an event of the answer is larger than {MAX_BYTES >> 20} MiB")
        self._rest.append(part)
        if b"\n" not in part and b"\r" not in part:
            return
        lines = b"".join(self._rest).splitlines(keepends=True)
        self._rest.clear()
        # The last line may continue in the next piece; a CR may be the first half of CR LF.
        if lines and not lines[-1].endswith(b"\n"):
            self._rest.append(lines.pop())
        for full in lines:
            line = full.rstrip(b"\r\n")
            # Nearly all lines are one of these two; a generator for each takes longer than them.
            if line[:7] == b"data: {" and self._begun and not (self._data or self.done):
                self._data.append(line[6:])
            elif not line and self._is_plain():
                self.name, self._size = b"", 0
                yield self._data.pop()
            else:
                yield from self._line(line)

    def _is_plain(self) -> bool:
        """Return whether one line of JSON without a name waits for the end of its event."""
        data = self._data
        return len(data) == 1 and data[0][:1] == b"{" and not (self._bare or self._name)

    def flush(self) -> Iterator[bytes]:
        """Yield the data of an unfinished event at the end of the body.

        The specification drops an event without a blank line after it. Here it is kept: some
        servers omit the line after a complete event, and a truncated event is not valid JSON.
        """
        for line in (b"".join(self._rest).rstrip(b"\r\n"), b""):
            yield from self._line(line)
        self._rest.clear()

    def _line(self, line: bytes) -> Iterator[bytes]:
        if self.done:
            return
        if not self._begun:
            self._begun = True
            line = line.removeprefix(b"\xef\xbb\xbf")  # a byte order mark
        if line:
            yield from self._field(line)
            return
        data, self._data = b"\n".join(self._data), []
        self.name, self._name = self._name, b""
        self._size = 0
        self._bare = False
        if _is_done(data):
            self.done = True
        elif data and self.name != b"ping":
            yield data

    def _bare_line(self, line: bytes) -> Iterator[bytes]:
        """Read a line of JSON outside of any field, as proxies write their errors into a stream.

        Such an error has one line, or several up to a blank one.
        """
        self._data.append(line)
        self._bare = True
        if len(self._data) == 1 and line.rstrip().endswith((b"}", b"]")):
            yield from self._line(b"")

    def _field(self, line: bytes) -> Iterator[bytes]:
        """Read a line with a field of an event."""
        field, _, value = line.partition(b":")
        if field == b"data":
            if self._data and _is_done(value):
                yield from self._line(b"")  # the blank line before it is missing
            self._data.append(value.removeprefix(b" "))
        elif field == b"event":
            self._name = value.removeprefix(b" ")
        elif field == b"error":
            # llama.cpp sends errors in a field of this name.
            self._data, self._name = [value], b"error"
        elif self._bare or line[:1] in (b"{", b"["):
            yield from self._bare_line(line)
