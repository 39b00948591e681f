"""What a caller has received of a stream, which a resumed run does not stream again."""

from __future__ import annotations

from typing import Any

from personakit.base import Emit, Noting
from personakit.journal.record import Record


class Shown:
    """Passes on what a caller has not received before the run was resumed.

    Args:
        emit: Accepts the answer.
        record: The record of the run; its `shown` counts what has passed.
    """

    def __init__(self, emit: Emit, record: Record) -> None:
        self._emit: Any = emit
        self._counts, self._skip = record.shown, dict(record.shown)
        self._begun: set[str] = set()

    @classmethod
    def of(cls, emit: Emit, record: Record) -> Emit:
        """Return the `emit` of a run."""
        shown = cls(emit, record)
        return Noting(shown.text, shown.note) if getattr(emit, "wanted", False) else shown.text

    def _new(self, name: str, text: str) -> str:
        """Return the part of a text that the caller has not received."""
        skipped = min(self._skip.get(name, 0), len(text))
        if skipped:
            self._skip[name] -= skipped
            text = text[skipped:]
        if text:
            self._counts[name] = self._counts.get(name, 0) + len(text)
        return text

    async def text(self, text: str) -> None:
        """Pass on text."""
        if self._skip:
            text = self._new("text", text)
        elif text:
            self._counts["text"] = self._counts.get("text", 0) + len(text)
        if text:
            await self._emit(text)

    async def note(self, piece: Any) -> None:
        """Pass on another piece."""
        if piece.kind == "reasoning":
            text = self._new("reasoning", piece.text)
            changed = piece.replace(text=text) if text else None
        elif piece.kind == "tool_call":
            # The mark before the arguments stands for a call without any.
            mark = "" if piece.id in self._begun else "."
            self._begun.add(piece.id)
            text = self._new(f"call {piece.id}", mark + piece.arguments)
            is_whole = len(text) > len(piece.arguments)
            changed = piece.replace(arguments=text[is_whole:]) if text else None
        else:
            changed = piece if self._new(piece.kind, ".") else None
        if changed is not None:
            await self._emit.note(changed)
