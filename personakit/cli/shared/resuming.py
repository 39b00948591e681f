"""How a suspended run goes on: what it asks, its answers, and the command that continues it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from personakit.base import counted
from personakit.cli.shared import output
from personakit.cli.shared.question_view import heading
from personakit.cli.shared.questions import chosen
from personakit.errors import UsageError

if TYPE_CHECKING:
    from personakit.journal import Question, Suspended
    from personakit.messages import ToolCall

# What a run is given, and its journal does not keep: parameters of the command, by their options.
_AGAIN = {
    "-T": "allowed",
    "--functions": "functions",
    "--schema": "schema",
    "--schema-multi": "schema_multi",
    "--key-file": "key_file",
}


def answers(run: Suspended, given: tuple[str, ...]) -> dict[str, str]:
    """Return the answers of `--answer`, in order, by the ids of their questions.

    Raises:
        UsageError: There are too many, or one is invalid. The run stays as it is.
    """
    if given and not run.questions:
        raise UsageError(
            f"run {run.id} waits for no answer: it was interrupted, or another process continues "
            f"it; to go on, leave out --answer: `personakit run --resume {run.id}`"
        )
    if len(given) > len(run.questions):
        raise UsageError(
            f"found {counted(len(given), 'answer')}, but run {run.id} asks "
            f"{counted(len(run.questions), 'question')}:{_listed(run)}"
        )
    result = {}
    for number, (question, text) in enumerate(zip(run.questions, given, strict=False), 1):
        try:
            result[question.id] = chosen(question, text)
        except UsageError as error:
            place = f"--answer {number}: " if len(given) > 1 else "--answer: "
            raise UsageError(f"{place}{error}; run {run.id} asks:{_listed(run)}") from None
    return result


def _listed(run: Suspended) -> str:
    return "".join(
        f"\n  {number}. {output.one_line(heading(question))}{_answerable(question)}"
        for number, question in enumerate(run.questions, 1)
    )


def _answerable(question: Question) -> str:
    """Return the choices of a question, for the end of its line."""
    choices = ", ".join(map(output.one_line, question.choices))
    return f" ({choices})" if choices else ""


def show_suspended(run: Any, again: str = "") -> None:
    """Print on standard error what a run waits for, and how it goes on.

    Args:
        run: The `Suspended`, as the error that a command ends with.
        again: The options to repeat, from `repeated`.
    """
    output.end_line()
    output.line(f"personakit: the run is suspended: {run.id}", err=True)
    for question in run.questions:
        output.line(f"  {heading(question)}{_answerable(question)}", err=True)
    for call in run.calls:
        output.line(f"  pending: {call_line(call)}", err=True)
    output.line(f"To go on: {going_on(run, again)}", err=True)


def call_line(call: ToolCall, most: int = 200) -> str:
    """Return a tool call on one line, cut with its length."""
    line = output.one_line(f"{call.name} {call.arguments}")
    return line if len(line) <= most else f"{line[:most]}… ({len(line):,} characters)"


def going_on(run: Suspended, again: str = "") -> str:
    """Return the command that continues a run."""
    given = " ".join(_example(question) for question in run.questions)
    return " ".join(filter(None, (f"personakit run --resume {run.id}", given, again)))


def _example(question: Question) -> str:
    return f"--answer {shlex.quote(question.choices[0])}" if question.choices else "--answer TEXT"


def repeated() -> str:
    """Return the options of the command that a run needs again: its journal keeps no code."""
    context = click.get_current_context(silent=True)
    return " ".join(_options(context.params)) if context is not None else ""


def _options(given: dict[str, Any]) -> Iterator[str]:
    for option, name in _AGAIN.items():
        value = given.get(name)
        for each in (value,) if isinstance(value, str) else value or ():
            if each != "-":
                yield f"{option} {shlex.quote(each)}"
