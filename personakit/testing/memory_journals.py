"""Journals of suspended runs that are kept in memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

from personakit.base import brief_repr
from personakit.errors import JournalError


class MemoryJournals:
    """Keeps the journals of suspended runs in memory; pass it to ``Runner(journals=...)``.

    It obeys the rules of `personakit.JournalStorage`, so it is also an example of a storage.

    Attributes:
        lines: The lines of each journal, by the id of its run.
    """

    def __init__(self) -> None:
        self.lines: dict[str, list[str]] = {}
        self._lock = threading.Lock()

    __repr__ = brief_repr

    def _shown(self) -> Iterator[tuple[str, dict[str, list[str]]]]:
        yield "lines", self.lines

    def append(self, id: str, at: int, lines: Sequence[str]) -> None:  # noqa: A002
        """See `personakit.JournalStorage.append`."""
        with self._lock:
            count = len(self.lines.get(id, ()))
            if count != at:
                raise JournalError(
                    f"the journal of run {id} has {count} lines, expected {at}: "
                    + ("another process goes on with this run" if count else "it was removed")
                )
            self.lines[id] = [*self.lines.get(id, ()), *lines]

    def read(self, id: str) -> list[str]:  # noqa: A002
        """See `personakit.JournalStorage.read`."""
        return list(self.lines.get(id, ()))

    def remove(self, id: str) -> None:  # noqa: A002
        """See `personakit.JournalStorage.remove`."""
        with self._lock:
            self.lines.pop(id, None)

    def ids(self) -> list[str]:
        """See `personakit.JournalStorage.ids`."""
        return list(self.lines)
