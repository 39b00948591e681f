"""The errors of a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from personakit.base import counted, dollars
from personakit.errors import RunError, UsageError, spelled

if TYPE_CHECKING:
    from personakit.batch.rows import Checked, Fault


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

    @classmethod
    def of(cls, checked: Checked) -> InvalidRows:
        """Return the error for what the check of a table found."""
        lines = [*map(str, checked.faults)]
        shown = len({(fault.source, fault.line) for fault in checked.faults})
        if (rest := checked.invalid - shown) > 0:
            lines.append(f"and {counted(rest, 'more row')}")
        option = spelled(python="skip_invalid=True", terminal="--skip-invalid")
        lines.append(
            f"{checked.invalid:,} of {checked.rows + checked.invalid:,} rows cannot be sent; "
            f"nothing was sent. Mend them, or leave them out: {option}"
        )
        return cls("\n".join(lines), checked.faults)


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

    @classmethod
    def of(cls, out: object, rows: int, each: float | None) -> UnderWay:
        """Return the error for an output.

        Args:
            out: The output.
            rows: The rows that were under way.
            each: What a row has cost so far in US dollars; None if that is not known.
        """
        cost = None if each is None else rows * each
        price = "" if not cost else f", for about {dollars(cost)}"
        option = spelled(python="in_flight=", terminal="--in-flight ")
        return cls(
            f"{out}: {counted(rows, 'row')} were under way when the last run ended, and may have "
            f"been paid{price}. Send them again with {option}resend, or count them as failed with "
            f"{option}fail",
            rows,
            cost,
        )


class BatchStopped(RunError):
    """A batch ended before its last row; the same batch again goes on.

    The cause is the error that every further row would have had.
    """


class Unsent(RunError):
    """A request of a row did not leave, since the batch stops; the row is sent next time."""
