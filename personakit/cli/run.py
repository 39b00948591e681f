"""`personakit run`."""

from __future__ import annotations

from typing import Any

import click

from personakit.cli.shared import answers, continuing
from personakit.cli.shared.options import choices


@click.command("run")
@continuing.persona_argument
@continuing.options
@click.argument("prompt", nargs=-1)
@choices
@answers.options
def command(persona: str | None, prompt: tuple[str, ...], **options: Any) -> int:
    """Run PERSONA and print the answer.

    PERSONA is a name (`personakit list`) or the path of a YAML file. PROMPT is the user message.
    What is piped in follows it, or replaces a `-` in it:

    \b
      cat notes.txt | personakit run summarizer
      git diff | personakit run code-reviewer
      personakit run chef "What can I cook?" -a fridge.jpg

    -c continues the last conversation. All words are then the prompt, unless the first word is the
    name of a persona, which then answers:

    \b
      personakit run -c "And for three?"
    """  # noqa: D301
    base = answers.runner_of(options)
    if continuing.asked(options) and persona is not None:
        is_word = not continuing.is_persona(base, persona)
        if is_word and prompt:
            continuing.note_typo(base, persona)
        prompt, persona = ((persona, *prompt), None) if is_word else (prompt, persona)
    return answers.answer(base, persona, prompt, options)
