"""Text that accumulates in pieces, and text on its way to the caller."""

from __future__ import annotations

import time
from collections.abc import Awaitable

from personakit.base.waiting import Emit


class TextBuffer:
    """A text that grows by pieces; appending each to a str would copy all of it every time."""

    __slots__ = ("_pieces", "add")

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self.add = self._pieces.append

    def __bool__(self) -> bool:
        return bool(self._pieces)

    @property
    def text(self) -> str:
        """The text so far."""
        if len(self._pieces) > 1:
            self._pieces[:] = ["".join(self._pieces)]
        return self._pieces[0] if self._pieces else ""


class TextTap:
    """A recorder of the text that a run emits, with the times of its start and first text.

    Attributes:
        started: The start, as Unix time in seconds.
        clock: The start, by `time.perf_counter`.
        first_text: Seconds from the start to the first text; None before the first text.
    """

    __slots__ = ("_buffer", "clock", "first_text", "started")

    def __init__(self) -> None:
        self._buffer: TextBuffer | None = None
        self.first_text: float | None = None
        self.started, self.clock = time.time(), time.perf_counter()

    @property
    def text(self) -> str:
        """The emitted text."""
        return "" if self._buffer is None else self._buffer.text

    def through(self, emit: Emit | None) -> Emit | None:
        """Start the clock, and return an `emit` that also records its text; None for None."""
        self.started, self.clock = time.time(), time.perf_counter()
        if emit is None:
            return None
        buffer = self._buffer = TextBuffer()

        def noted(text: str) -> Awaitable[None]:
            if self.first_text is None:
                self.first_text = time.perf_counter() - self.clock
            buffer.add(text)
            return emit(text)

        return noted
