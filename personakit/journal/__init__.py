"""The journal of a run that waits for a person: what it asked for, and what it got."""

from __future__ import annotations

from typing import TYPE_CHECKING

from personakit.base import door

if TYPE_CHECKING:
    from personakit.journal.entries import Journal as Journal
    from personakit.journal.entries import header as header
    from personakit.journal.entries import restored as restored
    from personakit.journal.functions import ask as ask
    from personakit.journal.functions import io as io
    from personakit.journal.functions import now as now
    from personakit.journal.functions import rng as rng
    from personakit.journal.functions import sleep as sleep
    from personakit.journal.questions import Asker as Asker
    from personakit.journal.questions import OnSuspend as OnSuspend
    from personakit.journal.questions import Question as Question
    from personakit.journal.questions import Resumption as Resumption
    from personakit.journal.questions import Suspended as Suspended
    from personakit.journal.record import Desk as Desk
    from personakit.journal.record import Record as Record
    from personakit.journal.storage import JournalFolder as JournalFolder
    from personakit.journal.storage import JournalStorage as JournalStorage
    from personakit.journal.whole import recorded as recorded
    from personakit.journal.whole import suspendable as suspendable
else:
    __getattr__, __dir__, __all__ = door(
        __name__,
        {
            "entries": "Journal header restored",
            "functions": "ask io now rng sleep",
            "questions": "Asker OnSuspend Question Resumption Suspended",
            "record": "Desk Record",
            "storage": "JournalFolder JournalStorage",
            "whole": "recorded suspendable",
        },
    )
