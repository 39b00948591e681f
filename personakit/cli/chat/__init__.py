"""`personakit chat`."""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from personakit.cli.shared import continuing, limits
from personakit.cli.shared.abilities import say_once
from personakit.cli.shared.keyfile import OPTION, key_option, use_key
from personakit.cli.shared.options import (
    allowing,
    attach_option,
    choices,
    chosen_values,
    fragment_option,
    given_tools,
    make_runner,
)
from personakit.errors import UsageError

if TYPE_CHECKING:
    from personakit.config import Config
    from personakit.conversation import Conversation
    from personakit.persona import Reference
    from personakit.runner import Runner


@click.command("chat")
@continuing.persona_argument
@continuing.options
@choices
@attach_option
@fragment_option
@key_option
@allowing
@limits.options
@click.option("--markdown/--no-markdown", default=True, help="Render answers as Markdown "
              "on a terminal (the default).")  # fmt: skip
@click.option("--no-log", is_flag=True, help="Do not log turns or save the input history.")
def command(
    persona: str | None,
    markdown: bool,
    no_log: bool,
    key_file: str | None,
    allowed: tuple[str, ...],
    functions: tuple[str, ...],
    **options: Any,
) -> int:
    """Talk with PERSONA.

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
        _check_input(key_file, options)

    def show(call: str) -> None:
        chat.conversation.notify(call)  # where the answer that is being shown prints notices

    bounds = limits.taken(options)
    runner = make_runner(log=not no_log, allowed=allowed, calls=show)
    if continuing.asked(options):
        talk = continuing.resumed(runner, persona, options)
    else:
        talk = _new(runner, continuing.needed(persona), options)
    say_once(runner, talk.persona)
    talk.notify = say
    attached = Attached.of(options["attach"], options["fragments"])
    tools = tuple(given_tools(runner, talk.persona, allowed, functions))
    chat = Chat(runner, talk, say, bounds, attached, tools)
    _check_persona(runner, talk)
    if not chat.model:
        talk.model = runner.router.default_model()
    runner.router.find_model(chat.model)
    use_key(runner, key_file, chat.model)
    if piped or not sys.stdout.isatty():
        return through_pipe(chat)
    history = None if no_log else _history(runner.config)
    return on_terminal(chat, history, markdown=markdown and os.environ.get("TERM") != "dumb")


def _check_persona(runner: Runner, talk: Conversation) -> None:
    """Report errors in the persona and its values before the first message is typed."""
    runner.catalog.compiled(talk.persona).check_input()
    silent = dataclasses.replace(talk.persona, prompt=None)
    runner.render(silent, None, variables=talk.variables, parameters=talk.parameters)


def _check_input(key_file: str | None, options: dict[str, Any]) -> None:
    """Raise UsageError if an option reads standard input, which contains messages."""
    read = [f"{OPTION} -"] * (key_file == "-") + ["--variables -"] * (options["file"] == "-")
    read += [f"-v {pair}" for pair in options["pairs"] if pair.endswith("=@-")]
    if read:
        raise UsageError(
            f"standard input is used by {read[0]}, so it cannot contain messages; specify a file"
        )


def _new(runner: Runner, persona: Reference, options: dict[str, Any]) -> Conversation:
    chosen = chosen_values(runner.load(persona), **continuing.values(options))
    return runner.conversation(persona, model=options["model"], **chosen)


def _history(config: Config) -> Path | None:
    """Return the file of the input history; None if logging is off."""
    from personakit.config import data_folder  # noqa: PLC0415

    return data_folder(config.environ) / "chat-history" if config.log.on else None
