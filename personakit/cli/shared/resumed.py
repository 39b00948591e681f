"""`personakit run --resume`: a suspended run goes on, and its answer is printed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from personakit.cli.shared import answers, limits, resuming
from personakit.cli.shared.keyfile import use_key
from personakit.cli.shared.options import given_tools
from personakit.cli.shared.waiting_runs import find
from personakit.errors import UsageError

if TYPE_CHECKING:
    from personakit.runner import Runner

# What the run began with: parameters of the command, as a user writes them.
_BEGUN = {
    "persona": "PERSONA",
    "prompt": "a prompt",
    "pairs": "-v",
    "file": "--variables",
    "settings": "-p",
    "model": "-m",
    "attach": "-a",
    "fragments": "-f",
    "goes_on": "-c",
    "conversation": "--conversation",
    "dry_run": "--dry-run",
}


def resume(base: Runner, word: str, given: tuple[str, ...], options: dict[str, Any]) -> int:
    """Continue a suspended run, and print the answer.

    Args:
        base: The runner.
        word: The id of the run, the beginning of one, or ``last``.
        given: The answers to its questions, in order. Those to other questions are asked for.
        options: The parameters of the command.

    Returns:
        The exit code.

    Raises:
        UsageError: The options cannot be used together, there is no such run, or an answer is
            invalid.
        RunError: The run failed.
    """
    if wrong := [text for name, text in _BEGUN.items() if options[name]]:
        raise UsageError(
            f"--resume continues a run with what it began with, so it cannot be combined with "
            f"{wrong[0]}; only -T, --functions, --schema and --key-file have to be repeated"
        )
    shown = answers.Shown.taken(options)
    schema = answers.schema_given(options)
    request: dict[str, Any] = {**limits.taken(options), **schema}
    run = find(base, word)
    resumption = run.resume_with(resuming.answers(run, given))
    persona = base.persona_of(run.id)
    shown = answers.checked(shown, persona, bool(schema))
    request["tools"] = given_tools(base, persona, options["allowed"], options["functions"])
    if options["key_file"] is not None:
        use_key(base, options["key_file"], base.request_of(run.id).model)
    return answers.run(base, persona, resumption, request, shown, traced=options["traced"])
