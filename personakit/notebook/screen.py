"""An answer below its cell while it arrives: one output, which is updated."""

from __future__ import annotations

import re
import sys
import time
from typing import Any

from personakit.base import printable
from personakit.display import answer_bundle, trace_bundle
from personakit.pipeline import Trace

FIRST = 0.08
"""The shortest time between two updates, in seconds."""
STEADY, GROWING, MOST = 10, 50, 59
"""The numbers of the update after which the time between two grows, doubles, and is endless."""


def interval(number: int) -> float:
    """Return the seconds between an update and the next one.

    An update contains the whole text, so updates at a fixed rate would send an amount of data that
    grows with the square of its length. Sixty updates last for the half hour of a default deadline.

    Args:
        number: The number of the update, from 1.
    """
    if number >= MOST:
        return float("inf")
    seconds = FIRST * 1.08 ** max(min(number, GROWING) - STEADY, 0)
    return seconds * 2.0 ** max(number - GROWING, 0)


def show(bundle: dict[str, Any], **options: Any) -> Any:
    """Show something below the cell; return what can update it, if `display_id` is set."""
    from IPython import display  # noqa: PLC0415

    shown: Any = display.display
    return shown(bundle, raw=True, **options)


class Screen:
    """The output of one answer.

    Args:
        images: Whether to show remote images.
        is_json: Whether the answer is a value in JSON.

    Attributes:
        text: What has arrived.
    """

    def __init__(self, *, images: bool, is_json: bool) -> None:
        self.text = ""
        self._options = {"images": images, "is_json": is_json}
        self._handle: Any = None
        self._count, self._next = 0, 0.0

    def add(self, piece: str) -> None:
        """Add a piece of the answer; show it, unless the last update was a moment ago."""
        self.text += piece
        now = time.monotonic()
        if self.text and now >= self._next:
            self._update("")
            self._count += 1
            self._next = now + interval(self._count)

    def end(self, below: str, text: str | None = None) -> None:
        """Show the answer whole.

        Args:
            below: The footer.
            text: The text, if a plugin changed it at the end.
        """
        self.text = self.text if text is None else text
        if self.text or below:
            self._update(below)

    def trace(self, trace: Trace) -> None:
        """Show what each layer of the run did, below the answer."""
        show(trace_bundle(trace))

    def _update(self, below: str) -> None:
        self.show(answer_bundle(self.text, below, **self._options))

    def show(self, bundle: dict[str, Any]) -> None:
        """Replace what is shown."""
        if self._handle is None:
            self._handle = show(bundle, display_id=True)
        else:
            self._handle.update(bundle, raw=True)


class Terminal(Screen):
    """An answer in a terminal, which cannot be updated: its pieces are printed as they come."""

    def add(self, piece: str) -> None:
        """Print a piece."""
        self.text += piece
        self._print(piece)

    def end(self, below: str, text: str | None = None) -> None:
        """End the line, and print the footer."""
        if text is not None and text != self.text:
            self._print(text if not self.text else f"\n{text}")
        import html  # noqa: PLC0415

        line = html.unescape(re.sub("</?(?:sub|span)>", "", below))
        self._print(f"\n{line}\n" if line else "\n")

    def trace(self, trace: Trace) -> None:
        """Print what each layer of the run did."""
        from personakit.cli.shared.traces import show_trace  # noqa: PLC0415

        show_trace(trace)

    def _print(self, text: str) -> None:
        sys.stdout.write(printable(text))
        sys.stdout.flush()
