"""Questions of plugins and tools to the person who is there.

On a terminal they are shown on standard error and answered on standard input: standard output gets
the answer of the model alone.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from personakit.base import printable
from personakit.cli.shared import output
from personakit.cli.shared.question_view import choices, show
from personakit.cli.shared.terminal import stopped, writing
from personakit.cli.shared.typed_line import listening, typed
from personakit.errors import UsageError

if TYPE_CHECKING:
    from personakit.journal import Question

MOST = 12
"""The most lines of a text that are shown at first."""
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
    is_cut = show(question, say, width, most)
    while True:
        for line in choices(question, width):
            say(line)
        text = read("Answer (? shows all of it): " if is_cut else "Answer: ")
        if text is None:
            return None
        if text.strip() == "?":
            is_cut = show(question, say, width, None)
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
