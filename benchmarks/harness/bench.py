"""What a question gets, and what it returns."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from benchmarks.harness.envs import Environments
from benchmarks.harness.traffic import Server


@dataclass(frozen=True, slots=True)
class Bench:
    """What a question gets.

    Attributes:
        envs: The environments.
        server: The loopback server.
        quick: Do less, for a first look.
        count: How many requests `soak` sends; 0 for its own number.
    """

    envs: Environments
    server: Server
    quick: bool = False
    count: int = 0

    def rounds(self, most: int) -> Iterator[int]:
        """Yield round numbers: at least one, and none after a minute (quick: 8 seconds)."""
        start, limit = time.monotonic(), self.pick(60, 8)
        for number in range(most):
            if number and time.monotonic() - start > limit:
                return
            yield number

    def pick(self, full: int, quick: int) -> int:
        """Return how much to do."""
        return quick if self.quick else full


Cell = float | str | None
"""A number, a text, or None for what was not measured."""


@dataclass(frozen=True, slots=True)
class Table:
    """What a question found out.

    Attributes:
        title: What it says.
        columns: Heads; the first is of the names.
        rows: A name and a cell for each other column.
        note: What one must know to read it, in Markdown.
        plot: The column that the picture shows, whose reference is 1; 0 for no picture.
        missing: Why somebody did not take part, by name.
        versions: Of the packages that took part.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    note: str = ""
    plot: int = 0
    missing: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
