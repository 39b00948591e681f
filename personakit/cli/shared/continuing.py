"""Going on with a conversation: what `run` and `chat` share."""

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
    """Add PERSONA, which these options make needless, and `-c` and `--conversation`."""
    return decorated(
        function,
        click.argument("persona", type=PersonaName(), required=False),
        click.option("-c", "--continue", "goes_on", is_flag=True,
                     help="Go on with the last conversation; PERSONA may be left out."),
        click.option("--conversation", "conversation", metavar="ID",
                     help="Go on with this conversation: its id, or that of one of its runs."),
    )  # fmt: skip


def needed(persona: str | None) -> str:
    """Return the persona that was named.

    Raises:
        UsageError: None was.
    """
    if persona is None:
        raise click.UsageError(
            "Missing argument 'PERSONA'; `personakit list` shows what there is, and -c goes on "
            "with the last conversation"
        )
    return persona


def is_persona(runner: Runner, word: str) -> bool:
    """Tell whether a word names a persona, rather than being said."""
    if any(character.isspace() for character in word):
        return False
    try:
        runner.load(word)
    except PersonaNotFound:
        return False
    return True


def asked(options: dict[str, Any]) -> bool:
    """Tell whether a conversation is to go on; with none, take the options for it away."""
    if options["goes_on"] or options["conversation"] is not None:
        return True
    del options["goes_on"], options["conversation"]
    return False


def resumed(runner: Runner, persona: str | None, options: dict[str, Any]) -> Conversation:
    """Return a conversation of the log, with what the options of a command choose."""
    from personakit.conversation import resume  # noqa: PLC0415

    del options["goes_on"]
    name = options.pop("conversation")
    made = resume(runner, name, persona, model=options.pop("model"))
    chosen = chosen_values(made.persona, **options)
    made.variables |= chosen["variables"]
    made.parameters |= chosen["parameters"]
    made.notify = note
    return made


def note(line: str) -> None:
    """Tell the user something that is no answer."""
    click.echo(f"personakit: {output.printable(line)}", err=True)


class Next:
    """The next turn of a conversation, for a command that would run a persona."""

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation

    def run(self, persona: Any, prompt: str | None, **options: Any) -> Response:
        """Take the turn; as `Runner.run`."""
        return self._conversation.run(prompt, **options)

    def stream(self, persona: Any, prompt: str | None, **options: Any) -> Stream[Response]:
        """Take the turn; as `Runner.stream`."""
        return self._conversation.stream(prompt, **options)

    def prepare(self, persona: Any, prompt: str | None, **options: Any) -> Request:
        """Return what would be sent; as `Runner.prepare`."""
        return self._conversation.prepare(prompt, **options)
