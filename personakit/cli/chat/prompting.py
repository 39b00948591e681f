"""The input line of a chat, with history and completion; the only user of prompt_toolkit."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from personakit.base import check_file, create_file, printable, private_files
from personakit.cli.shared import output
from personakit.cli.shared.terminal import unguarded

if TYPE_CHECKING:
    from prompt_toolkit.history import History
    from prompt_toolkit.key_binding import KeyBindings

Completions = Callable[[str], Iterable[tuple[str, int, str]]]
"""Returns the completions of the text before the cursor: a text, the number of characters that it
replaces, and its description."""

AGAIN = "Ctrl-C again or Ctrl-D leaves"


class Prompting:
    """Reads messages from a terminal.

    Args:
        history: The file of the input history; None keeps it in memory.
        completions: Returns the completions of a text.
        status: Returns the text below the input line.
    """

    def __init__(
        self, history: Path | None, completions: Completions, status: Callable[[], str]
    ) -> None:
        from prompt_toolkit import PromptSession  # noqa: PLC0415
        from prompt_toolkit.completion import Completer, Completion  # noqa: PLC0415
        from prompt_toolkit.output import create_output  # noqa: PLC0415

        class Words(Completer):
            def get_completions(self, document: Any, complete_event: Any) -> Iterator[Completion]:
                for text, length, meta in completions(document.text_before_cursor):
                    # The input line would show the control characters of a file's name.
                    if text == printable(text):
                        yield Completion(text, -length, display_meta=meta)

        self._status = status
        self._leaving = False
        self._session: PromptSession[str] = PromptSession(
            [("bold", "> ")],
            output=create_output(unguarded(sys.stdout)),
            multiline=True,
            prompt_continuation="  ",
            history=_history(history),
            completer=Words(),
            complete_while_typing=True,
            complete_in_thread=True,
            bottom_toolbar=self._toolbar,
            key_bindings=self._keys(),
            reserve_space_for_menu=4,
        )

    def ask(self) -> str:
        """Return the next message.

        Raises:
            EOFError: The user leaves with Ctrl-D, or with Ctrl-C twice.
        """
        self._leaving = False
        return self._session.prompt()

    def _toolbar(self) -> str:
        text = printable(AGAIN if self._leaving else self._status())
        width = self._session.output.get_size().columns
        return text if len(text) < width else f"{text[: max(width - 2, 0)]}…"

    def _keys(self) -> KeyBindings:
        from prompt_toolkit.key_binding import KeyBindings  # noqa: PLC0415

        keys = KeyBindings()

        @keys.add("enter")
        def enter(event: Any) -> None:
            buffer = event.current_buffer
            if buffer.complete_state and buffer.complete_state.current_completion:
                buffer.complete_state = None  # accept the completion; the next Enter sends
            else:
                buffer.validate_and_handle()

        @keys.add("escape", "enter")
        def newline(event: Any) -> None:
            event.current_buffer.insert_text("\n")

        @keys.add("c-c")
        @keys.add("<sigint>")
        def stop(event: Any) -> None:
            if self._leaving and not event.current_buffer.text:
                event.app.exit(exception=EOFError)
                return
            event.current_buffer.reset()
            self._leaving = True

        @keys.add("c-d")
        def leave(event: Any) -> None:
            if event.current_buffer.text:
                event.current_buffer.delete()
            else:
                event.app.exit(exception=EOFError)

        return keys


def _history(path: Path | None) -> History:
    """Return the history in a file that only its owner can read, or in memory without a file."""
    from prompt_toolkit.history import FileHistory, InMemoryHistory  # noqa: PLC0415

    if path is None:
        return InMemoryHistory()
    try:
        create_file(path)
        check_file(path)
        os.close(os.open(path, os.O_RDWR | os.O_APPEND))
        path.chmod(private_files.FILE)
    except OSError as error:
        reason = f"cannot save the input history: {error.strerror}"
        output.line(f"personakit: {path}: {reason}", err=True)
        return InMemoryHistory()

    class Kept(FileHistory):
        def store_string(self, string: str) -> None:
            # A full disk must not end a conversation.
            with suppress(OSError, UnicodeEncodeError):
                super().store_string(string)

    return Kept(str(path))


@contextmanager
def unechoed() -> Iterator[None]:
    """Turn the echo off, so that typing does not mix with an answer; the next line shows it."""
    try:
        import termios  # noqa: PLC0415

        terminal = sys.stdin.fileno()
        before = termios.tcgetattr(terminal)
    except (ImportError, OSError, termios.error):
        yield
        return
    changed = [*before[:3], before[3] & ~termios.ECHO, *before[4:]]
    termios.tcsetattr(terminal, termios.TCSADRAIN, changed)
    try:
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)
