"""The errors of the ledger, with what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from personakit.database import DatabaseError, Fault
from personakit.errors import Blocked, PersonakitError


class LedgerError(DatabaseError):
    """The ledger cannot be read or written, so nothing can be allowed.

    Attributes:
        locked: Whether another process or thread holds a lock, so that waiting may help.
        damaged: Whether the file is damaged.
    """


class BudgetExceeded(Blocked):
    """A model call was refused before it was sent, because a budget does not suffice for it.

    Attributes:
        retry_after: Seconds until the budget begins anew; None if waiting does not help: the price
            of the model is unknown, or the whole budget does not suffice for the call.
    """

    def __init__(self, reason: str, *, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.reason,), {"retry_after": self.retry_after}


class TooMany(PersonakitError):
    """A key has sent too many requests, or has too many that run.

    Attributes:
        reason: ``rate`` (requests a minute) or ``concurrent`` (requests at the same time).
        retry_after: Seconds after which the next request may be accepted.
    """

    def __init__(
        self,
        message: str,
        *,
        reason: Literal["rate", "concurrent"] = "rate",
        retry_after: float = 1.0,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.retry_after = retry_after

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.message,), dict(vars(self))


def explained(path: Path, fault: Fault) -> str:
    """Return a message with the fault of a ledger, and what to do."""
    remedies = {
        "locked": "make sure that no other program holds its lock",
        "thread": "make sure that no other program holds its lock",
        "damaged": "restore it from a backup, or move it away to start a new one without keys",
        "full": "free some space on the disk",
        "foreign": "it is another program's database: use another file",
        "newer": "it was written by a newer personakit: upgrade personakit",
    }
    other = "make sure that it is a file that the user can write, in a folder that he can write"
    remedy = remedies.get(fault.kind, other)
    return f"the ledger {path} cannot be used: {fault.text}; {remedy}"
