"""Numbers for digests, in a few bytes each."""

from __future__ import annotations

import struct
from array import array

_FIRST = 1 << 10
_halves = struct.Struct("<QQ").unpack


class Digests:
    """Numbers digests of 128 bits in the order in which they were added first.

    A dict of bytes takes about 150 bytes for each; this takes 22 to 28. The digests stand one
    after the other, and a table with open addressing holds their numbers, as in a dict of CPython.
    It has room for 4,294,967,294 digests.
    """

    __slots__ = ("_digests", "_mask", "_most", "_slots")

    def __init__(self) -> None:
        self._digests = array("Q")  # two for each
        self._resize(_FIRST)

    def __len__(self) -> int:
        return len(self._digests) >> 1

    def add(self, digest: bytes) -> int:
        """Return the number of a digest, which is a new one unless it was added before."""
        low, high = _halves(digest)
        number, slot = self._look_up(low, high)
        if number is not None:
            return number
        digests = self._digests
        digests.append(low)
        digests.append(high)
        count = len(digests) >> 1
        self._slots[slot] = count
        if count > self._most:
            self._resize(2 * len(self._slots))
        return count - 1

    def find(self, digest: bytes) -> int | None:
        """Return the number of a digest; None if it was not added."""
        return self._look_up(*_halves(digest))[0]

    def _look_up(self, low: int, high: int) -> tuple[int | None, int]:
        """Return the number of a digest, if it has one, and the slot where the search ended."""
        slots, mask, digests = self._slots, self._mask, self._digests
        slot = low & mask
        while after := slots[slot]:  # the number and 1, as 0 is an empty slot
            at = 2 * after - 2
            if digests[at] == low and digests[at + 1] == high:
                return after - 1, slot
            slot = (slot + 1) & mask
        return None, slot

    def _resize(self, size: int) -> None:
        self._slots = slots = array("I", bytes(4 * size))
        self._mask = mask = size - 1
        self._most = size * 2 // 3
        for number, low in enumerate(self._digests[::2], 1):
            slot = low & mask
            while slots[slot]:
                slot = (slot + 1) & mask
            slots[slot] = number
