"""Questions of plugins and tools to the person who is there.

On a terminal they are shown on standard error and answered on standard input: standard output gets
the answer of the model alone.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from personakit.base import printable
from personakit.cli.shared import output
from personakit.cli.shared.terminal import stopped, writing
from personakit.cli.shared.typed_line import listening, typed
from personakit.errors import UsageError

if TYPE_CHECKING:
    from personakit.journal import Question

MOST = 12
"""The most lines of a text that are shown at first."""
_BAR = "  │ "
asking = threading.Lock()
"""Held while a question is open: two are asked one after the other."""


def ask(
    question: Question, apart: Callable[[], AbstractContextManager[None]] = nullcontext
) -> str | None:
    """Ask the person at the terminal; return the answer, or None if Ctrl-D was pressed.

    Args:
        question: The question. Its texts may be those of a model.
        apart: Returns a context in which nothing else is drawn on the terminal.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed.
    """
    # In the order of the locks: one question, one drawing, one line that is being written.
    with asking, apart(), writing:
        if stopped[0]:
            raise KeyboardInterrupt  # by a question of another thread
        if not _is_foreground():
            return None
        output.end_line()
        try:
            with listening():
                return answered(question, _say, typed, *_size())
        except KeyboardInterrupt:
            stopped[0] = True
            raise


def _say(line: str, *, strong: bool = False) -> None:
    style: dict[str, Any] = {"bold": True} if strong else {}
    output.echo(line, err=True, **style)


def _is_foreground() -> bool:
    """Return whether the process may read from its terminal; the shell would stop it otherwise."""
    try:
        return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except (AttributeError, OSError):
        return True  # a terminal without jobs, or a system without them


def _size() -> tuple[int, int]:
    """Return the width of the terminal, and how many of its lines a text may take at first."""
    try:
        columns, rows = os.get_terminal_size(sys.stderr.fileno())
    except OSError:
        return 80, MOST
    return columns or 80, min(MOST, max(rows - 8, 3)) if rows else MOST


def answered(
    question: Question,
    say: Callable[..., None],
    read: Callable[[str], str | None],
    width: int,
    most: int = MOST,
) -> str | None:
    """Show a question, and read answers until one is valid.

    Args:
        question: The question.
        say: Shows a line, whose control characters are marks; with ``strong=True``, it stands out.
        read: Shows a prompt and returns the line that is typed then; None for the end of the input.
        width: The width of a line in cells.
        most: The most lines of the details, and of the question, that are shown at first.
    """
    is_cut = _show(question, say, width, most)
    while True:
        for line in _choices(question, width):
            say(line)
        text = read("Answer (? shows all of it): " if is_cut else "Answer: ")
        if text is None:
            return None
        if is_cut and text.strip() == "?":
            is_cut = _show(question, say, width, None)
            continue
        try:
            return chosen(question, text)
        except UsageError as error:
            say(printable(output.one_line(str(error))))


def chosen(question: Question, answer: str) -> str:
    """Return the choice that an answer stands for, which may be its number, from 1.

    Raises:
        UsageError: It stands for none, or for several.
    """
    word = answer.strip()
    numbers = map(str, range(1, len(question.choices) + 1))
    if word in numbers and not any(each.startswith(word) for each in question.choices):
        return question.choices[int(word) - 1]
    return question.check(answer)


def heading(question: Question) -> str:
    """Return the question after the name of who asks."""
    return f"{question.plugin or 'personakit'} asks: {question.text.strip()}"


def _show(question: Question, say: Callable[..., None], width: int, most: int | None) -> bool:
    """Show a question; return whether a part of it is not shown.

    Args:
        question: The question.
        say: See `answered`.
        width: See `answered`.
        most: The most lines of the details and of the question; None for all.
    """
    # The bar before each further line shows which text is not personakit's.
    room = max(width - 1 - len(_BAR), 10)
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
            say(f"{_BAR}{line}")
        if most is not None and len(text) > most:
            say(f"{_BAR}… ({len(text) - most:,} more lines)")
    return is_cut


def _choices(question: Question, width: int) -> list[str]:
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
