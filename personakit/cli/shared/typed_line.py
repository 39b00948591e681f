"""A line that is typed at a terminal while a run waits for it."""

from __future__ import annotations

import functools
import os
import select
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from personakit.cli.shared import output
from personakit.cli.shared.terminal import stopped

_INTERRUPT = b"\x03"
_PATIENCE = 0.1


def typed(prompt: str) -> str | None:
    """Return the line that is typed next; None at the end of the input, such as Ctrl-D.

    Call it within `listening`.

    Args:
        prompt: What is shown before it, on standard error.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed.
    """
    output.echo(prompt, end="", err=True)
    try:
        line = _line(sys.stdin.fileno())
    except KeyboardInterrupt:
        output.echo(err=True)
        raise
    if not line:
        output.echo(err=True)
        return None
    return line.decode("utf-8", "replace").rstrip("\r\n")


def _line(terminal: int) -> bytes:
    """Return a line with its end; an empty one at the end of the input."""
    line = b""
    while not line.endswith(b"\n"):
        _wait(terminal)
        try:
            piece = os.read(terminal, 4096)
        except OSError:  # the terminal was closed
            return b""
        if _INTERRUPT in piece:
            _interrupt()
        if not piece:
            return b""
        line += piece
    return line


def _wait(terminal: int) -> None:
    """Wait for a key in another thread than the main one, unless the run ends meanwhile.

    Raises:
        KeyboardInterrupt: The run has ended.
    """
    if threading.current_thread() is threading.main_thread():
        return  # a signal interrupts it
    while not select.select([terminal], [], [], _PATIENCE)[0]:
        if stopped[0]:
            raise KeyboardInterrupt


def _interrupt() -> None:
    """Stop the program, whose main thread may wait for this one."""
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    raise KeyboardInterrupt


@contextmanager
def listening() -> Iterator[None]:
    """Let the terminal give lines and show them as they are typed, whatever its state.

    What was typed before is dropped: it is no answer to a question that was not there yet.

    The chat turns the echo off while an answer is shown, and leaves Enter as it comes from the
    keyboard while it reads a message: what is typed then has no line end that a terminal knows.
    """
    terminal = sys.stdin.fileno()
    try:
        import termios  # noqa: PLC0415

        before = termios.tcgetattr(terminal)
    except (ImportError, OSError):
        yield
        return
    except termios.error:
        yield
        return
    import atexit  # noqa: PLC0415

    # The main thread may end the process while another one waits here.
    restore = functools.partial(termios.tcsetattr, terminal, termios.TCSADRAIN, before)
    if is_beside := threading.current_thread() is not threading.main_thread():
        atexit.register(restore)
    termios.tcsetattr(terminal, termios.TCSAFLUSH, _by_lines(before, is_beside=is_beside))
    try:
        yield
    finally:
        restore()
        if is_beside:
            atexit.unregister(restore)


def _by_lines(before: list[Any], *, is_beside: bool) -> list[Any]:
    """Return the attributes of a terminal that gives lines.

    Args:
        before: Its attributes now.
        is_beside: Whether another thread than the main one reads. A signal would reach the main
            thread, and this one would read on; so Ctrl-C becomes a character that ends a line.
    """
    import termios  # noqa: PLC0415

    reads, writes, control, local, *speeds, keys = before
    reads = (reads | termios.ICRNL) & ~(termios.INLCR | termios.IGNCR)
    writes |= termios.OPOST | termios.ONLCR
    local |= termios.ICANON | termios.ECHO | termios.ECHOE | termios.ISIG | termios.IEXTEN
    if is_beside:
        keys = list(keys)
        keys[termios.VINTR] = os.fpathconf(sys.stdin.fileno(), "PC_VDISABLE").to_bytes()
        keys[termios.VEOL] = _INTERRUPT
    return [reads, writes, control, local, *speeds, keys]
