"""The errors of a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from personakit.errors import RunError, UsageError

if TYPE_CHECKING:
    from personakit.batch.rows import Fault


class InvalidRows(UsageError):
    """Rows do not fit the persona's variables; nothing was sent.

    Attributes:
        faults: Every mistake, in the order of the source.
    """

    def __init__(self, message: str, faults: tuple[Fault, ...]) -> None:
        super().__init__(message)
        self.faults = faults

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.message, self.faults)


class UnderWay(UsageError):
    """Rows were under way when the last process ended, and may have been paid.

    Attributes:
        rows: How many.
        cost: What they may have cost at most in US dollars, by the rows that have an answer; None
            if that is not known.
    """

    def __init__(self, message: str, rows: int, cost: float | None) -> None:
        super().__init__(message)
        self.rows, self.cost = rows, cost

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.message, self.rows, self.cost)


class BatchStopped(RunError):
    """A batch ended before its last row; the same batch again goes on.

    The cause is the error that every further row would have had.
    """


class Unsent(RunError):
    """A request of a row did not leave, since the batch stops; the row is sent next time."""
