"""Bodies: the bytes of a reply as they arrive, decompressed, and never more than fit.

The client decompresses, too, but a piece at a time however much comes out of it: a few kilobytes
can hold a gigabyte.
"""

from __future__ import annotations

import zlib
from typing import Any

from personakit.errors import IncompleteAnswer, InvalidAnswer

MAX_BYTES = 16 * 1024 * 1024
"""The largest answer that is taken: far more than a model writes."""
MAX_STREAM = 16 * MAX_BYTES
"""The same for a stream, whose events say much beside the text."""
_GZIP_OR_ZLIB = 47


class Body:
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
