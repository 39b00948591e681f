"""`personakit chat`."""

from __future__ import annotations

import dataclasses
import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from personakit.cli.shared import continuing, limits
from personakit.cli.shared.abilities import say_once
from personakit.cli.shared.input import text_or_file
from personakit.cli.shared.keyfile import OPTION, key_option, use_key
from personakit.cli.shared.options import (
    allowing,
    attach_option,
    choices,
    chosen_values,
    fragment_option,
    given_tools,
    make_runner,
    system_option,
)
from personakit.cli.shared.terminal import is_attended
from personakit.errors import UsageError
from personakit.persona import question_persona

if TYPE_CHECKING:
    from personakit.cli.chat.commands import Chat
    from personakit.config import Config
    from personakit.conversation import Conversation
    from personakit.journal import Question
    from personakit.persona import Reference
    from personakit.runner import Runner


@click.command("chat")
@continuing.persona_argument
@continuing.options
@system_option
@choices
@attach_option
@fragment_option
@key_option
@allowing
@limits.options
@click.option("--markdown/--no-markdown", default=True, help="Render answers as Markdown "
              "on a terminal (the default).")  # fmt: skip
@click.option("-n", "--no-log", is_flag=True, help="Do not log turns or save the input history.")
def command(
    persona: str | None,
    system: str | None,
    markdown: bool,
    no_log: bool,
    key_file: str | None,
    allowed: tuple[str, ...],
    functions: tuple[str, ...],
    **options: Any,
) -> int:
    """Talk with PERSONA, or without one.

    Without PERSONA, -s sets the system message; by default there is none.

    On a terminal, /help lists the commands, Ctrl-C stops an answer and Ctrl-D leaves. If input is
    piped, each line is a message, and its answer is printed:

    \b
      printf 'What is in season?\\nAnd with fish?\\n' | personakit chat chef
    """  # noqa: D301
    from personakit.cli.chat.attaching import Attached  # noqa: PLC0415
    from personakit.cli.chat.commands import Chat  # noqa: PLC0415
    from personakit.cli.chat.session import on_terminal, say, through_pipe  # noqa: PLC0415

    piped = not (sys.stdin and sys.stdin.isatty())
    if piped:
        _check_input(key_file, system, options)

    def show(call: str) -> None:
        chat.conversation.notify(call)  # where the answer that is being shown prints notices

    bounds = limits.taken(options)
    shown: list[Chat] = []
    waits, ask = functools.partial(_wait, shown), _asker(shown)
    runner = make_runner(log=not no_log, allowed=allowed, calls=show, waits=waits, ask=ask)
    talk = _started(runner, persona, system, options)
    say_once(runner, talk.persona)
    talk.notify = say
    attached = Attached.of(options["attach"], options["fragments"])
    tools = tuple(given_tools(runner, talk.persona, allowed, functions))
    shown.append(chat := Chat(runner, talk, say, bounds, attached, tools))
    _check_persona(runner, talk)
    if not chat.model:
        talk.model = runner.router.default_model()
    use_key(runner, key_file, chat.model)
    _check_key(runner, chat.model)
    if piped or not sys.stdout.isatty():
        return through_pipe(chat)
    history = None if no_log else _history(runner.config)
    return on_terminal(chat, history, markdown=markdown and os.environ.get("TERM") != "dumb")


def _wait(chats: list[Chat], text: str, *, between: bool = False) -> None:
    """Show what a turn of a chat waits for, where its answer is shown."""
    for chat in chats:
        chat.waits(text, between=between)


def _asker(chats: list[Chat]) -> Callable[[Question], str | None] | None:
    """Return what asks the person in the middle of a turn, whose answer is not drawn meanwhile."""
    if not is_attended():
        return None

    def asked(question: Question) -> str | None:
        from personakit.cli.shared.questions import ask  # noqa: PLC0415

        return ask(question, chats[0].apart)

    return asked


def _check_key(runner: Runner, model: str) -> None:
    """Raise ConfigError for an unknown model or a missing key before the first message is typed."""
    provider, name = runner.router.find_model(model)
    if provider.connect is None:
        runner.router.endpoint(provider, name)


def _check_persona(runner: Runner, talk: Conversation) -> None:
    """Report errors in the persona and its values before the first message is typed."""
    runner.catalog.compiled(talk.persona).check_input()
    silent = dataclasses.replace(talk.persona, prompt=None)
    runner.render(silent, None, variables=talk.variables, parameters=talk.parameters)


def _answering(persona: Reference | None, system: str | None, *, goes_on: bool) -> Reference | None:
    """Return the persona that answers; None for that of the conversation to continue.

    Raises:
        UsageError: There are a persona and a system message, or the file of the message cannot be
            read.
    """
    if persona is not None and system is not None:
        raise UsageError(
            "-s is the system message of a chat without PERSONA; omit one of them, or change the "
            "message with `personakit edit`"
        )
    if persona is not None or (goes_on and system is None):
        return persona
    return question_persona(None if system is None else text_or_file(system, "-s"))


def _check_input(key_file: str | None, system: str | None, options: dict[str, Any]) -> None:
    """Raise UsageError if an option reads standard input, which contains messages."""
    read = [f"{OPTION} -"] * (key_file == "-") + ["--variables -"] * (options["file"] == "-")
    read += ["-s @-"] * (system == "@-")
    read += [f"-v {pair}" for pair in options["pairs"] if pair.endswith("=@-")]
    if read:
        raise UsageError(
            f"standard input is used by {read[0]}, so it cannot contain messages; specify a file"
        )


def _started(
    runner: Runner, persona: Reference | None, system: str | None, options: dict[str, Any]
) -> Conversation:
    """Return the conversation that the options continue, or a new one."""
    goes_on = continuing.asked(options)
    persona = _answering(persona, system, goes_on=goes_on)
    if goes_on or persona is None:
        return continuing.resumed(runner, persona, options)
    chosen = chosen_values(runner.load(persona), **continuing.values(options))
    return runner.conversation(persona, model=options["model"], **chosen)


def _history(config: Config) -> Path | None:
    """Return the file of the input history; None if logging is off."""
    from personakit.config import data_folder  # noqa: PLC0415

    return data_folder(config.environ) / "chat-history" if config.log.on else None
