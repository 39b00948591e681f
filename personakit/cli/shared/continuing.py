"""Options of `run` and `chat` that continue a conversation."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from personakit.cli.shared import output
from personakit.cli.shared.groups import decorated
from personakit.cli.shared.options import PersonaName, chosen_values
from personakit.errors import PersonaNotFound

if TYPE_CHECKING:
    from personakit.conversation import Conversation
    from personakit.messages import Request, Response
    from personakit.pipeline import Stream
    from personakit.runner import Runner


def options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add PERSONA, `-c` and `--conversation`; with one of these two, PERSONA is optional."""
    return decorated(
        function,
        click.argument("persona", type=PersonaName(), required=False),
        click.option("-c", "--continue", "goes_on", is_flag=True,
                     help="Continue the last conversation; PERSONA is then optional."),
        click.option("--conversation", "conversation", metavar="ID",
                     help="Continue this conversation: its id, or the id of one of its runs."),
    )  # fmt: skip


def needed(persona: str | None) -> str:
    """Return the PERSONA argument.

    Raises:
        UsageError: PERSONA is missing.
    """
    if persona is None:
        raise click.UsageError(
            "Missing argument 'PERSONA'; `personakit list` lists the personas, and -c continues "
            "the last conversation"
        )
    return persona


def is_persona(runner: Runner, word: str) -> bool:
    """Return whether the first word names a persona and is not part of the prompt."""
    if any(character.isspace() for character in word):
        return False
    try:
        runner.load(word)
    except PersonaNotFound:
        return False
    return True


def asked(options: dict[str, Any]) -> bool:
    """Return whether to continue a conversation; if not, remove its options."""
    if options["goes_on"] or options["conversation"] is not None:
        return True
    del options["goes_on"], options["conversation"]
    return False


def resumed(runner: Runner, persona: str | None, options: dict[str, Any]) -> Conversation:
    """Return a conversation from the log, with the values that the options set."""
    from personakit.conversation import resume  # noqa: PLC0415

    del options["goes_on"]
    name = options.pop("conversation")
    conversation = resume(runner, name, persona, model=options.pop("model"))
    chosen = chosen_values(conversation.persona, **options)
    conversation.variables |= chosen["variables"]
    conversation.parameters |= chosen["parameters"]
    conversation.notify = note
    return conversation


def note(line: str) -> None:
    """Print a notice on standard error."""
    output.line(f"personakit: {line}", err=True)


class Next:
    """The next turn of a conversation, with the methods of a runner that `run` uses."""

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation

    def run(self, persona: Any, prompt: str | None, **options: Any) -> Response:
        """Run the turn, like `Runner.run`."""
        return self._conversation.run(prompt, **options)

    def stream(self, persona: Any, prompt: str | None, **options: Any) -> Stream[Response]:
        """Stream the turn, like `Runner.stream`."""
        return self._conversation.stream(prompt, **options)

    def prepare(self, persona: Any, prompt: str | None, **options: Any) -> Request:
        """Return the request of the turn, like `Runner.prepare`."""
        return self._conversation.prepare(prompt, **options)
