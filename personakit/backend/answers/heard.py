"""The reasoning of a stream as it arrives."""

from __future__ import annotations

from personakit.backend.answers.checks import clean
from personakit.base import TextBuffer
from personakit.hookspecs import Piece


class Heard:
    """The thoughts of a stream in the order of their arrival, for a caller who wants pieces.

    A server may send them in several places at once, which are paragraphs of their own.
    """

    __slots__ = ("_all", "_fresh", "_half", "_last", "_sizes")

    def __init__(self) -> None:
        self._all = TextBuffer()
        self._fresh: list[str] = []
        self._half = ""  # the first half of a surrogate pair
        self._last = ""
        self._sizes: dict[str, int] = {}

    @property
    def text(self) -> str:
        """All thoughts so far."""
        return self._all.text + clean(self._half)

    def add(self, source: str, text: str) -> None:
        """Add a piece of the thoughts from a source."""
        if not text:
            return
        between = "\n\n" if self._last not in ("", source) else ""
        self._last, text = source, self._half + between + text
        self._half = text[-1] if "\ud800" <= text[-1] <= "\udbff" else ""
        self._fresh.append(clean(text[:-1] if self._half else text))
        self._all.add(self._fresh[-1])

    def add_all(self, source: str, text: str) -> None:
        """Add what is new in all thoughts of a source."""
        size = self._sizes.get(source, 0)
        if len(text) > size:
            self._sizes[source] = len(text)
            self.add(source, text[size:])

    def pieces(self) -> list[Piece]:
        """Return the pieces since the last call."""
        text = "".join(self._fresh)
        self._fresh.clear()
        return [Piece("reasoning", text)] if text else []
