"""The ledger of a user: what runs, personas and days have spent, shared by all processes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import personakit
from personakit import Account, Amount, LedgerError, Reservation, Total
from personakit_budget.earlier import read_earlier

NANO = 1_000_000_000
"""Nano-dollars in a dollar: sums of whole numbers are exact."""

__all__ = ["Call", "Ledger", "LedgerError"]

NANO = 1_000_000_000
"""Nano-dollars of a dollar: sums of whole ones are exact."""

BUCKET = 900
"""Seconds of a bucket: the offsets of all time zones from UTC are multiples of 15 minutes."""

SCOPES = ("run", "persona", "day")


@dataclass(frozen=True, slots=True)
class Call:
    """A call.

    Attributes:
        run: The id of its run.
        persona: The name of its persona.
        time: When it started, as Unix time in seconds.
        since: When its day started, as Unix time in seconds.
    """

    run: str
    persona: str
    time: float
    since: float

    @property
    def accounts(self) -> tuple[Account, ...]:
        """The accounts of its run, its persona and its day."""
        at, since = int(self.time // BUCKET) * BUCKET, int(self.since)
        return (
            Account(f"run:{self.run}", at, 0),
            Account(f"persona:{self.persona}", at, since),
            Account("day", at, since),
        )


class Ledger(personakit.Ledger):
    """The file `budget.sqlite3` in a folder; missing ones are created.

    Args:
        folder: The folder of the file.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "budget.sqlite3", earlier=read_earlier)

    def reserve_for(
        self, call: Call, decide: Callable[[Mapping[str, Total]], Amount]
    ) -> Reservation:
        """Reserve what a call may use; `decide` gets what its run, persona and day have spent."""

        def choose(spent: Sequence[Total]) -> Amount:
            return decide(by_scope(spent))

        return self.reserve(call.accounts, choose, now=call.time)

    def spent_by(self, call: Call) -> Mapping[str, Total]:
        """Return what the run, the persona and the day of a call have spent."""
        return by_scope([self.spent(it.name, it.since, now=call.time) for it in call.accounts])

    def by_persona(self, since: float, now: float) -> dict[str, Total]:
        """Return what each persona has spent since the Unix time `since`."""
        found = self.totals("persona:", since, now=now)
        return {name.removeprefix("persona:"): total for name, total in found.items()}


def by_scope(spent: Sequence[Total]) -> dict[str, Total]:
    """Return the sums of the accounts of a call by their scopes."""
    return dict(zip(SCOPES, spent, strict=True))
