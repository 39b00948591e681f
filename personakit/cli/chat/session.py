"""A chat: what is typed, or comes line by line through a pipe, is answered until it ends."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import click

from personakit.cli.chat.commands import Chat, Leave, complete, last, perform
from personakit.cli.chat.prompting import Prompting, unechoed
from personakit.cli.chat.screen import Plain, Screen
from personakit.cli.shared import output
from personakit.errors import PersonakitError, RunError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from personakit.conversation import Said


def on_terminal(chat: Chat, history: Path | None, *, markdown: bool) -> int:
    """Talk on a terminal until the user leaves.

    Args:
        chat: The chat, which may have begun.
        history: The file that keeps what is typed; None for none.
        markdown: Whether answers are shown as Markdown.
    """
    asking = Prompting(history, lambda text: complete(chat, text), chat.status)
    chat.say(f"{chat.status()} · /help lists the commands, Ctrl-D leaves")
    if chat.conversation.messages:
        chat.say(f"goes on after {last(chat)}")
    with unechoed():
        while True:
            try:
                line = asking.ask()
            except EOFError:
                return 0
            except KeyboardInterrupt:
                continue  # it came just after an answer
            try:
                _turn(chat, line, lambda said: _show(chat, said, markdown=markdown))
            except Leave:
                return 0
            except KeyboardInterrupt:
                chat.say("stopped; what had arrived stays. /retry asks again, /undo takes it back")
            except (PersonakitError, OSError) as error:
                _fail(error, chat)


def through_pipe(chat: Chat) -> int:
    """Answer each line of standard input; return 1 if one of them could not be."""
    failed = 0
    for line in _lines():
        try:
            _turn(chat, line, lambda said: _print(chat, said))
        except Leave:
            break
        except PersonakitError as error:
            _fail(error)
            failed = 1
    return failed


def _turn(chat: Chat, line: str, answer: Callable[[Said], None]) -> None:
    """Do what a line says, or have it answered."""
    if not line.strip():
        return
    if not line.startswith("/"):
        answer(line)
    elif line.startswith("//"):
        answer(line[1:])
    else:
        said = perform(chat, line.rstrip())
        if said is not None:
            answer(said)


def _print(chat: Chat, said: Said) -> None:
    """Print an answer once it is there."""
    output.print_answer(chat.conversation.run(said, **chat.limits).text)


def _show(chat: Chat, said: Said, *, markdown: bool) -> None:
    """Show an answer while it arrives."""
    talk = chat.conversation
    with Screen() if markdown else Plain() as shown, talk.stream(said, **chat.limits) as pieces:
        talk.notify = shown.tell
        for piece in pieces:
            shown.feed(piece)


def _fail(error: Exception, chat: Chat | None = None) -> None:
    """Say in one line what went wrong; on a terminal also what to do next."""
    said = " ".join(str(error).split()) if isinstance(error, RunError) else str(error)
    if chat is not None and not isinstance(error, UsageError):
        said += "; /retry says it again, /model asks another model"
    output.say_error(said)


def _lines() -> Iterator[str]:
    """Yield the lines of standard input, each as soon as it is there.

    Raises:
        UsageError: One is not UTF-8.
    """
    for number, line in enumerate(iter(sys.stdin.buffer.readline, b""), 1):
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            place = f"line {number}, byte {error.start}"
            raise UsageError(f"standard input is not UTF-8 ({place})") from None


def say(line: str) -> None:
    """Tell the user something that is no answer."""
    click.secho(output.printable(line), dim=True, err=True)
