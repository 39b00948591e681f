"""How a question looks: the text of a plugin or a model, which must control no terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from personakit.base import printable
from personakit.cli.shared import output

if TYPE_CHECKING:
    from personakit.journal import Question

BAR = "  │ "
"""Begins each line but the first of what the plugin or the model wrote."""


def heading(question: Question) -> str:
    """Return the question after the name of who asks."""
    return f"{question.plugin or 'personakit'} asks: {question.text.strip()}"


def show(question: Question, say: Callable[..., None], width: int, most: int | None) -> bool:
    """Show a question; return whether a part of it is not shown.

    Args:
        question: The question.
        say: See `answered`.
        width: See `answered`.
        most: The most lines of the details and of the question; None for all.
    """
    room = max(width - 1 - len(BAR), 10)
    first, *below = _pieces(heading(question), room)
    details = question.details.strip("\n")
    lines = [line.expandtabs(4) for line in details.split("\n")] if details.strip() else []
    is_cut = False
    if most is None:
        lines = [piece for line in lines for piece in _pieces(line, room)]
    else:
        whole, lines = [*map(printable, lines)], [output.cut_to(line, room) for line in lines]
        is_cut = len(below) > most or len(lines) > most or lines != whole
    say(first, strong=True)
    for text in (below, lines):
        for line in text[:most]:
            say(f"{BAR}{line}")
        if most is not None and len(text) > most:
            say(f"{BAR}… ({len(text) - most:,} more lines)")
    return is_cut


def choices(question: Question, width: int) -> list[str]:
    """Return the choices with their numbers, on one line if they fit."""
    each = [
        f"{number} {printable(output.one_line(choice))}"
        for number, choice in enumerate(question.choices, 1)
    ]
    line = "   ".join(each)
    fits = len(line) < width - 2
    return [f"  {text}" for text in ([line] if fits else each) if text]


def _pieces(text: str, width: int) -> Iterator[str]:
    """Yield the lines of a text in pieces that fit into a width in cells; see `output.cut_to`."""
    for line in text.split("\n"):
        shown = printable(line.expandtabs(4))
        start = cells = 0
        for at, letter in enumerate(shown):
            size = 1 if letter < "\u1100" else 2
            if cells + size > width:
                yield shown[start:at]
                start, cells = at, 0
            cells += size
        yield shown[start:]
