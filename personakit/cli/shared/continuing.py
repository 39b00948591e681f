"""Options of `run`, `ask` and `chat` that continue a conversation."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from personakit.base import NAME
from personakit.cli.shared import completing, output
from personakit.cli.shared.groups import decorated
from personakit.cli.shared.options import PersonaName, chosen_values
from personakit.errors import PersonaNotFound, UsageError

if TYPE_CHECKING:
    from personakit.conversation import Conversation
    from personakit.messages import Request, Response
    from personakit.persona import Persona, Reference
    from personakit.pipeline import Stream
    from personakit.runner import Runner


def options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `-c` and `--conversation`."""
    return decorated(
        function,
        click.option("-c", "--continue", "goes_on", is_flag=True,
                     help="Continue the last conversation, with the persona that answered last."),
        click.option("--conversation", "conversation", metavar="ID",
                     shell_complete=completing.conversation,
                     help="Continue this conversation: its id, or the id of one of its runs."),
    )  # fmt: skip


def persona_argument(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add PERSONA, which is optional for a command that continues a conversation."""
    return click.argument("persona", type=PersonaName(), required=False)(function)


def needed(persona: Reference | None) -> Reference:
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


def note_typo(runner: Runner, word: str) -> None:
    """Print a notice if the first of several words is nearly the name of a persona."""
    import difflib  # noqa: PLC0415

    if not NAME.match(word):
        return
    near = difflib.get_close_matches(word, runner.library.names(), n=1, cutoff=0.75)
    if near:
        note(f"no persona {word!r}, so it is sent as the first word; did you mean {near[0]!r}?")


def asked(options: dict[str, Any]) -> bool:
    """Return whether to continue a conversation.

    Raises:
        UsageError: Both the last one and another one are to be continued.
    """
    if options["goes_on"] and options["conversation"] is not None:
        raise UsageError(
            "-c continues the last conversation, --conversation the one with that id; omit one"
        )
    return options["goes_on"] or options["conversation"] is not None


def resumed(runner: Runner, persona: Reference | None, options: dict[str, Any]) -> Conversation:
    """Return a conversation from the log, with the values that the options set."""
    from personakit.conversation import resume  # noqa: PLC0415

    conversation = resume(runner, options["conversation"], persona, model=options["model"])
    chosen = chosen_values(conversation.persona, **values(options))
    conversation.variables |= chosen["variables"]
    conversation.parameters |= chosen["parameters"]
    conversation.notify = note
    return conversation


def note(line: str) -> None:
    """Print a notice on standard error."""
    output.line(f"personakit: {line}", err=True)


def values(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options that `chosen_values` accepts."""
    return {name: options[name] for name in ("pairs", "file", "settings")}


class Turn(NamedTuple):
    """A run of its own, or the next turn of a conversation.

    Attributes:
        runner: Runs it.
        persona: The persona that answers.
        model: The model that the options or the conversation set.
        request: The model, variables and parameters, as arguments of the runner.
    """

    runner: Runner | Next
    persona: Persona
    model: str | None
    request: dict[str, Any]


def turn(runner: Runner, persona: Reference | None, options: dict[str, Any]) -> Turn:
    """Return the turn that the options and PERSONA describe.

    Raises:
        UsageError: PERSONA is missing, or the persona, the conversation or a value is not found
            or invalid.
    """
    if asked(options):
        talk = resumed(runner, persona, options)
        return Turn(Next(talk), talk.persona, talk.model, {})
    found, model = runner.load(needed(persona)), options["model"]
    chosen = chosen_values(found, **values(options))
    return Turn(runner, found, model, {"model": model, **chosen})


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
