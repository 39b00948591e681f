"""The loop of a chat: read messages from a terminal or a pipe and answer them."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from personakit.cli.chat.attaching import Attached
from personakit.cli.chat.commands import LEAVING, Chat, Leave, complete, last, perform
from personakit.cli.chat.prompting import Prompting, unechoed
from personakit.cli.chat.screen import Plain, Screen
from personakit.cli.shared import output
from personakit.cli.shared.terminal import SUSPENDED, stopping
from personakit.errors import PersonakitError, RunError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from personakit.conversation import Said
    from personakit.messages import Response


def on_terminal(chat: Chat, history: Path | None, *, markdown: bool) -> int:
    """Chat on a terminal until the user leaves; return the exit code.

    Args:
        chat: The chat; a conversation that already has messages is continued.
        history: The file of the input history; None saves none.
        markdown: Whether answers are shown as Markdown.
    """
    asking = Prompting(history, lambda text: complete(chat, text), chat.status)
    chat.say(f"{chat.status()} · /help lists the commands, Ctrl-D leaves")
    if chat.conversation.messages:
        chat.say(f"continuing after {last(chat)}")
    with unechoed():
        while True:
            try:
                line = asking.ask()
            except EOFError:
                return 0
            except KeyboardInterrupt:
                continue  # pressed just after an answer ended
            try:
                _turn(chat, line, functools.partial(_show, chat, markdown=markdown))
            except Leave:
                return 0
            except KeyboardInterrupt:
                chat.say(
                    "stopped; the partial answer is kept. /retry asks again, /undo takes it back"
                )
            except (PersonakitError, OSError) as error:
                _fail(error, chat)


def through_pipe(chat: Chat) -> int:
    """Answer each line of standard input; return 1 if a line failed, otherwise 0."""
    failed = 0
    for line in _lines():
        try:
            _turn(chat, line, functools.partial(_print, chat))
        except Leave:
            break
        except PersonakitError as error:
            _fail(error)
            failed = 1
    return failed


def _turn(chat: Chat, line: str, answer: Callable[[Said, dict[str, Any]], None]) -> None:
    """Run the command in a line, or answer the line."""
    if not line.strip():
        return
    if line.startswith("/") and not line.startswith("//"):
        message = perform(chat, line.rstrip())
        if message is not None:
            answer(message, {})
        return
    if line.rstrip() in LEAVING:
        chat.say(
            f"left the chat; to send the word, start the line with a space: ' {line.rstrip()}'"
        )
        raise Leave
    # If the turn fails, /retry sends the message again, with what is attached.
    attached, chat.attached = chat.attached, Attached()
    answer(*attached.message(line.removeprefix("/")))


def _print(chat: Chat, said: Said, options: dict[str, Any]) -> None:
    """Print an answer when it is complete."""
    with stopping():
        response = chat.conversation.run(said, tools=chat.tools, **chat.limits, **options)
    output.echo(response.text)
    _notice(chat, response)


def _show(chat: Chat, said: Said, options: dict[str, Any], *, markdown: bool) -> None:
    """Show an answer as it arrives."""
    talk = chat.conversation
    options = {"tools": chat.tools, **chat.limits, **options}
    with Screen() if markdown else Plain() as shown, talk.stream(said, **options) as pieces:
        talk.notify, chat.waits, chat.apart = shown.tell, shown.wait, shown.apart
        with stopping():
            for piece in pieces:
                shown.feed(piece)
    _notice(chat, pieces.response)


def _notice(chat: Chat, response: Response) -> None:
    """Tell what the user should know about an answer that is not whole."""
    chat.suspended = None
    for line in output.notices(response):
        chat.say(line)


def _fail(error: Exception, chat: Chat | None = None) -> None:
    """Print an error; on a terminal, add what to do next."""
    if isinstance(error, RunError) and error.exit_code == SUSPENDED:
        from personakit.cli.shared.resuming import repeated, show_suspended  # noqa: PLC0415

        show_suspended(error, repeated())
        if chat is not None:
            chat.suspended = error
            chat.say("or here: /resume asks again, /retry sends the message again")
        return
    message = " ".join(str(error).split()) if isinstance(error, RunError) else str(error)
    if chat is not None and not isinstance(error, UsageError):
        message += "; /retry sends the message again, /model switches to another model"
    output.say_error(message)


def _lines() -> Iterator[str]:
    """Yield the lines of standard input as they arrive.

    Raises:
        UsageError: A line is not UTF-8.
    """
    for number, line in enumerate(iter(sys.stdin.buffer.readline, b""), 1):
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            place = f"line {number}, byte {error.start}"
            raise UsageError(f"standard input is not UTF-8 ({place})") from None


def say(line: str) -> None:
    """Print a notice on standard error."""
    output.line(line, dim=True, err=True)
