"""`personakit ask`."""

from __future__ import annotations

from typing import Any

import click

from personakit.cli.shared import answers, continuing
from personakit.cli.shared.input import text_or_file
from personakit.cli.shared.options import sending, system_option
from personakit.persona import question_persona


@click.command("ask")
@continuing.options
@click.argument("question", nargs=-1)
@system_option
@sending
@answers.options
def command(question: tuple[str, ...], system: str | None, **options: Any) -> int:
    """Ask a QUESTION without a persona and print the answer.

    What is piped in follows QUESTION, or replaces a `-` in it:

    \b
      personakit ask "What is in season in May?"
      git diff | personakit ask -s "You review code." "Look for races."

    -c continues the last conversation, with the persona or the system message that it had:

    \b
      personakit ask -c "And in June?"
    """  # noqa: D301
    base = answers.runner_of(options)
    options |= {"pairs": (), "file": None, "system": system}
    persona = None
    if system is not None or not continuing.asked(options):
        persona = question_persona(None if system is None else text_or_file(system, "-s"))
    return answers.answer(base, persona, question, options)
