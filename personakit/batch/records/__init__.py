"""What a batch writes: answers, failures, and a journal from which it goes on after any end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from personakit.base import door

if TYPE_CHECKING:
    from personakit.batch.records.files import Appender as Appender
    from personakit.batch.records.files import is_locked as is_locked
    from personakit.batch.records.files import lines_from as lines_from
    from personakit.batch.records.files import tail_lines as tail_lines
    from personakit.batch.records.head import Head as Head
    from personakit.batch.records.identity import head_of as head_of
    from personakit.batch.records.identity import model_of as model_of
    from personakit.batch.records.journal import Files as Files
    from personakit.batch.records.journal import Journal as Journal
    from personakit.batch.records.journal import check_unlocked as check_unlocked
    from personakit.batch.records.journal import open_journal as open_journal
    from personakit.batch.records.journal import read_heads as read_heads
    from personakit.batch.records.lines import answer_line as answer_line
    from personakit.batch.records.lines import failure_line as failure_line
    from personakit.batch.records.lines import lost_line as lost_line
    from personakit.batch.records.lines import repeated_line as repeated_line
    from personakit.batch.records.recovery import recovered as recovered
    from personakit.batch.records.repeats import Results as Results
    from personakit.batch.records.state import State as State
else:
    __getattr__, __dir__, __all__ = door(
        __name__,
        {
            "files": "Appender is_locked lines_from tail_lines",
            "head": "Head",
            "identity": "head_of model_of",
            "journal": "Files Journal check_unlocked open_journal read_heads",
            "lines": "answer_line failure_line lost_line repeated_line",
            "recovery": "recovered",
            "repeats": "Results",
            "state": "State",
        },
    )
