"""Questions of plugins and tools in a notebook: its input box, or the terminal of IPython."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from personakit.journal import Question

_WIDTH = 100


def notebook_asker() -> Callable[[Question], str | None] | None:
    """Return what asks the person in front of a notebook; None if nobody is there.

    A person is there in IPython on a terminal, and in a kernel whose front end has an input box.
    `nbconvert` and `papermill` have none.
    """
    shell = _shell()
    if shell is None:
        return None
    kernel = getattr(shell, "kernel", None)
    if kernel is not None:
        # What the front end says with each cell; `input` raises where it is false.
        return _ask if getattr(kernel, "_allow_stdin", True) else None
    from personakit.cli.shared.terminal import is_attended  # noqa: PLC0415

    if not is_attended():
        return None
    from personakit.cli.shared.questions import ask  # noqa: PLC0415

    return ask


def _shell() -> Any:
    """Return the shell of IPython; None if there is none. IPython is not imported for it."""
    module = sys.modules.get("IPython")
    return None if module is None else module.get_ipython()


def _ask(question: Question) -> str | None:
    from personakit.cli.shared.questions import answered, asking  # noqa: PLC0415

    with asking:
        return answered(question, _say, _read, _WIDTH)


def _say(line: str, *, strong: bool = False) -> None:
    from personakit.cli.shared import output  # noqa: PLC0415

    output.echo(line)


def _read(prompt: str) -> str | None:
    try:
        return input(prompt)
    except (EOFError, RuntimeError):  # ipykernel's error for a front end without input
        return None
