"""Server-sent events, of which a chat stream uses the data, and the name where it is an error.

The format is that of https://html.spec.whatwg.org/multipage/server-sent-events.html. Bytes are
decoded, not text, because a line ends at CR, LF or both and at nothing else: a text decoder that
splits at U+2028 too would cut an event in two.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

from personakit.errors import IncompleteAnswer, InvalidAnswer

MAX_BYTES = 16 * 1024 * 1024
"""The largest answer that is taken: far more than a model writes."""
MAX_STREAM = 16 * MAX_BYTES
"""The same for a stream, whose events say much beside the text."""
_GZIP_OR_ZLIB = 47


class BodyReader:
    """Takes the pieces of a body.

    Args:
        encoding: The reply's Content-Encoding.
        limit: Bytes that the body may have.
    """

    __slots__ = ("_decoder", "_left", "_limit")

    def __init__(self, encoding: str = "", limit: int = MAX_BYTES) -> None:
        self._limit = self._left = limit
        self._decoder: Any = None
        kind = encoding.strip().lower()
        if kind in ("gzip", "x-gzip", "deflate"):
            self._decoder = zlib.decompressobj(_GZIP_OR_ZLIB)
        elif kind not in ("", "identity"):
            raise InvalidAnswer(f"the answer is encoded as {kind[:40]!r}, which was not asked for")

    def feed(self, part: bytes) -> bytes:
        """Take a piece; return what it holds.

        Raises:
            InvalidAnswer: The body is too large, or not encoded as it says.
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
        """Let the body be larger."""
        self._left += limit - self._limit
        self._limit = limit

    def end(self) -> None:
        """Check that nothing is missing.

        Raises:
            IncompleteAnswer: The compressed data broke off.
        """
        if self._decoder is not None and not self._decoder.eof:
            raise IncompleteAnswer("the answer broke off inside its compressed data")


DONE = b"[DONE]"


class Decoder:
    """Turns pieces of a body into the data of its events.

    Attributes:
        done: True after the ``[DONE]`` that ends a chat stream.
        name: The name of the event whose data was yielded last.
    """

    __slots__ = ("_begun", "_data", "_name", "_rest", "_size", "done", "name")

    def __init__(self) -> None:
        self._begun = False
        self._rest: list[bytes] = []
        self._data: list[bytes] = []
        self.done = False
        self.name = self._name = b""
        self._size = 0

    def feed(self, part: bytes) -> Iterator[bytes]:
        """Take a piece, cut anywhere; yield the data of each event that it completes.

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
        # A last line may go on in the next piece; a CR may be the first half of CR LF.
        if lines and not lines[-1].endswith(b"\n"):
            self._rest.append(lines.pop())
        for line in lines:
            yield from self._line(line.rstrip(b"\r\n"))

    def flush(self) -> Iterator[bytes]:
        """Yield what is left at the end of the body.

        The specification drops an event that no blank line ends; a chat server that forgets it has
        sent a whole event all the same, and a cut one is no JSON.
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
            field, _, value = line.partition(b":")
            if field == b"data":
                self._data.append(value.removeprefix(b" "))
            elif field == b"event":
                self._name = value.removeprefix(b" ")
            return
        data, self._data = b"\n".join(self._data), []
        self.name, self._name = self._name, b""
        self._size = 0
        if data == DONE:
            self.done = True
        elif data:
            yield data
