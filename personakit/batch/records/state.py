"""What is known of each row of a batch: two bits, by the row's place in the source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


class Bits:
    """A growing list of bits.

    Args:
        data: The bits, eight in a byte, the lowest first.
    """

    __slots__ = ("_data", "count")

    def __init__(self, data: bytes = b"") -> None:
        self._data = bytearray(data)
        self.count = int.from_bytes(data, "little").bit_count()

    def __bytes__(self) -> bytes:
        return bytes(self._data)

    def __contains__(self, index: int) -> bool:
        at = index >> 3
        return at < len(self._data) and bool(self._data[at] >> (index & 7) & 1)

    def add(self, index: int) -> None:
        """Set a bit."""
        at, bit = index >> 3, 1 << (index & 7)
        if at >= len(self._data):
            self._data.extend(bytes(at + 1 - len(self._data) + (len(self._data) >> 3)))
        if not self._data[at] & bit:
            self._data[at] |= bit
            self.count += 1

    def discard(self, index: int) -> None:
        """Clear a bit."""
        if index in self:
            self._data[index >> 3] &= ~(1 << (index & 7))
            self.count -= 1


@dataclass(slots=True)
class State:
    """What the files of a batch say.

    Attributes:
        done: The places of the rows with an answer.
        failed: The places of those that failed for good and have no answer.
        in_flight: For each key that was sent and has neither, the place of its row and how often it
            was sent.
        tokens: Tokens of all rows, as far as they are known.
        paid: US dollars of all rows, as far as they are known.
        unpriced: The rows of which they are not.
        half: The keys with a failure of which the journal does not say that they were given up.
    """

    done: Bits = field(default_factory=Bits)
    failed: Bits = field(default_factory=Bits)
    in_flight: dict[str, tuple[int, int]] = field(default_factory=dict)
    tokens: int = 0
    paid: float = 0.0
    unpriced: int = 0
    half: tuple[str, ...] = ()

    def ended(self, usage: Mapping[str, Any] | None, cost: float | None) -> None:
        """Count the tokens and US dollars of a row; None if unknown."""
        if usage:
            self.tokens += usage["total_tokens"]
        if cost is None:
            self.unpriced += 1
        else:
            self.paid += cost

    @property
    def cost(self) -> float | None:
        """US dollars of all rows; None if that of one is unknown."""
        return None if self.unpriced else self.paid

    @property
    def mean_cost(self) -> float | None:
        """US dollars of a row, of those of which they are known; None if of none."""
        count = self.done.count + self.failed.count - self.unpriced
        return self.paid / count if count > 0 else None
