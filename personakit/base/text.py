"""Text that accumulates in pieces, text on its way to the caller, and text for a terminal."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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


class Noting:
    """An `emit` for a caller who also wants the other pieces of an answer.

    Attributes:
        note: Takes a piece that is not text.
        wanted: True: pieces are to be collected. An `emit` without it, or with False, is for a
            caller who only wants text.
    """

    __slots__ = ("_emit", "note")
    wanted = True

    def __init__(self, emit: Emit, note: Callable[[Any], Awaitable[None]]) -> None:
        self._emit, self.note = emit, note

    def __call__(self, text: str) -> Awaitable[None]:
        """Emit text."""
        return self._emit(text)

    @classmethod
    def like(cls, outer: Emit, emit: Emit) -> Emit:
        """Return an `emit` around `outer` that passes its other pieces on, if it wants any."""
        wanted = getattr(outer, "wanted", False)
        return cls(emit, outer.note) if wanted else emit  # type: ignore[attr-defined]


@dataclass(slots=True)
class TextTap:
    """A recorder of the text that a run emits, with the times of its start and first text.

    Attributes:
        started: The start, as Unix time in seconds.
        clock: The start, by `time.perf_counter`.
        first_text: Seconds from the start to the first text; None before the first text.
    """

    started: float = field(default_factory=time.time)
    clock: float = field(default_factory=time.perf_counter)
    first_text: float | None = None
    _buffer: TextBuffer | None = None

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

        return Noting.like(emit, noted)


# C0 without tab and newline, DEL and C1; the bidi controls of UAX #9, the invisible operators and
# tags, line and paragraph separators, and surrogates, which cannot be encoded.
_CONTROLS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff"
    "\ufff9-\ufffb\U000e0000-\U000e007f]"
)


def printable(text: str) -> str:
    r"""Return a text for a terminal, in which control characters are visible.

    Each is replaced by its escape in JSON (RFC 8259, section 7), such as ``\u001b``, so that JSON
    stays valid. Newlines and tabs stay. Replaced are the characters that control a terminal
    (ECMA-48: C0, DEL and C1), those that display a text in another order than it is stored
    (UAX #9; "Trojan Source", CVE-2021-42574; Unicode UTS #55, section 4.1), those that end a line
    (U+2028, U+2029), invisible operators and tags, and lone surrogates. Zero-width joiners and
    variation selectors stay: many scripts and emoji need them.

    The text may be a piece of a longer one: each character is replaced on its own.
    """
    # This is ten times as fast as the pattern, and true for almost every text.
    if text.isprintable() or text.replace("\n", "").replace("\t", "").isprintable():
        return text
    return _CONTROLS.sub(_escape, text)


def notify(line: str) -> None:
    """Print a notice of one line on standard error."""
    print(printable(line) if sys.stderr.isatty() else line, file=sys.stderr)  # noqa: T201


def _escape(match: re.Match[str]) -> str:
    units = match[0].encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[start : start + 4]}" for start in range(0, len(units), 4))


def dollars(cost: float | None) -> str:
    """Return a cost as it is shown; an unknown one is not zero, and neither is a tiny one.

    Args:
        cost: US dollars; None if unknown.
    """
    if cost is None:
        return "cost unknown"
    if 0 < cost < 0.000_001:
        return "<$0.000001"
    return f"${cost:.4f}" if cost >= 0.01 else f"${cost:.6f}" if cost else "$0"
