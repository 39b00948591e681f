"""`personakit chat`."""

from __future__ import annotations

import dataclasses
import os
import sys
from typing import Any

import click

from personakit.cli import common


@click.command("chat")
@click.argument("persona", type=common.PersonaName())
@common.choices
@click.option("--markdown/--no-markdown", default=True, help="Show answers as Markdown on a "
              "terminal, which is the default.")  # fmt: skip
@click.option("--no-log", is_flag=True, help="Keep nothing of what is typed.")
def command(persona: str, markdown: bool, no_log: bool, **options: Any) -> int:
    """Talk with PERSONA.

    On a terminal, /help lists the commands, Ctrl-C stops an answer and Ctrl-D leaves. Piped in,
    each line is something that is said, and its answer is printed:

    \b
      printf 'What is in season?\nAnd with fish?\n' | personakit chat chef
    """  # noqa: D301
    from personakit.cli.chat.commands import Chat  # noqa: PLC0415
    from personakit.cli.chat.session import on_terminal, say, through_pipe  # noqa: PLC0415
    from personakit.config import data_folder  # noqa: PLC0415

    runner = common.runner()
    found = runner.load(persona)
    model = options.pop("model")
    chosen = common.chosen(found, **options)
    conversation = runner.conversation(persona, model=model, notify=say, **chosen)
    chat = Chat(runner, conversation, say)
    # What is wrong from the start is said before anything is typed.
    runner.render(dataclasses.replace(found, prompt=None), None, **chosen)
    if not chat.model:
        conversation.model = runner.router.default_model()
    runner.router.find_model(chat.model)
    if not (sys.stdin and sys.stdin.isatty() and sys.stdout.isatty()):
        return through_pipe(chat)
    history = None if no_log else data_folder(runner.config.environ) / "chat-history"
    dumb = os.environ.get("TERM") == "dumb"
    return on_terminal(chat, history, markdown=markdown and not dumb)
