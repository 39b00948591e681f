"""The vectors of the fakes: texts with common words have similar ones."""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Sequence

_DIMENSIONS = 256


def words_of(text: str) -> list[str]:
    """Return the words of a text in lower case: the tokens that the fakes count."""
    return re.findall(r"\w+", text.casefold())


def word_vectors(
    texts: Sequence[str], dimensions: int = _DIMENSIONS
) -> tuple[tuple[float, ...], ...]:
    """Return a vector of length 1 for each text: how often each of its words occurs in it.

    The place of a word is a hash of it, so the vectors are the same in every process.
    """
    return tuple(_vector(words_of(text), dimensions) for text in texts)


def _vector(words: list[str], dimensions: int) -> tuple[float, ...]:
    counts = [0.0] * dimensions
    for word in words or [""]:
        counts[zlib.crc32(word.encode("utf-8", "surrogatepass")) % dimensions] += 1.0
    length = math.hypot(*counts)
    return tuple(count / length for count in counts)
