"""The line where one types: history, several lines, completion. The door to prompt_toolkit."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from personakit.base import private_files

if TYPE_CHECKING:
    from prompt_toolkit.history import History
    from prompt_toolkit.key_binding import KeyBindings

Completions = Callable[[str], Iterable[tuple[str, int, str]]]
"""From the text before the cursor to completions: a text, how many characters it replaces, and what
it is."""

AGAIN = "Ctrl-C again or Ctrl-D leaves"


class Prompting:
    """Asks for messages on a terminal.

    Args:
        history: The file that keeps what was typed; None keeps nothing beyond the session.
        completions: What could be meant.
        status: Returns what stands below the line.
    """

    def __init__(
        self, history: Path | None, completions: Completions, status: Callable[[], str]
    ) -> None:
        from prompt_toolkit import PromptSession  # noqa: PLC0415
        from prompt_toolkit.completion import Completer, Completion  # noqa: PLC0415

        class Words(Completer):
            def get_completions(self, document: Any, complete_event: Any) -> Iterator[Completion]:
                for text, length, meta in completions(document.text_before_cursor):
                    yield Completion(text, -length, display_meta=meta)

        self._status = status
        self._leaving = False
        self._session: PromptSession[str] = PromptSession(
            [("bold", "> ")],
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
        """Return what is typed next.

        Raises:
            EOFError: Ctrl-D, or Ctrl-C twice: the user leaves.
        """
        self._leaving = False
        return self._session.prompt()

    def _toolbar(self) -> str:
        text = AGAIN if self._leaving else self._status()
        width = self._session.output.get_size().columns
        return text if len(text) < width else f"{text[: max(width - 2, 0)]}…"

    def _keys(self) -> KeyBindings:
        from prompt_toolkit.key_binding import KeyBindings  # noqa: PLC0415

        keys = KeyBindings()

        @keys.add("enter")
        def enter(event: Any) -> None:
            buffer = event.current_buffer
            if buffer.complete_state and buffer.complete_state.current_completion:
                buffer.complete_state = None  # it is chosen; the next one sends
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
    """Return the history of a file that only its owner can read; without it, one in memory."""
    from prompt_toolkit.history import FileHistory, InMemoryHistory  # noqa: PLC0415

    if path is None:
        return InMemoryHistory()
    try:
        private_files.create(path)
        os.close(os.open(path, os.O_RDWR | os.O_APPEND))
        path.chmod(private_files.FILE)
    except OSError as error:
        print(  # noqa: T201
            f"personakit: {path}: what is typed is not kept: {error.strerror}", file=sys.stderr
        )
        return InMemoryHistory()

    class Kept(FileHistory):
        def store_string(self, string: str) -> None:
            # A full disk must not end a conversation.
            with suppress(OSError, UnicodeEncodeError):
                super().store_string(string)

    return Kept(str(path))


@contextmanager
def unechoed() -> Iterator[None]:
    """Keep what is typed while an answer arrives from being shown in it; the next line has it."""
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
