"""Suspended runs on the command line: how one is shown, found and continued."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from personakit.base import counted
from personakit.cli.shared import output
from personakit.cli.shared.questions import chosen, heading
from personakit.errors import UsageError

if TYPE_CHECKING:
    from personakit.journal import Question, Suspended
    from personakit.messages import ToolCall
    from personakit.runner import Runner

SHORT = 14
"""The digits of an id that are the start of its run, in microseconds."""
MOST = 5
"""The most suspended runs that an error lists."""
# What a run is given, and its journal does not keep: parameters of the command, by their options.
_AGAIN = {
    "-T": "allowed",
    "--functions": "functions",
    "--schema": "schema",
    "--schema-multi": "schema_multi",
    "--key-file": "key_file",
}


def find(runner: Runner, word: str) -> Suspended:
    """Return a suspended run; see `find_id`.

    Raises:
        UsageError: There is none, several begin with the word, or its journal cannot be read.
    """
    return runner.suspended(find_id(runner, word))


def find_id(runner: Runner, word: str) -> str:
    """Return the id of a suspended run.

    Args:
        runner: Its journals are searched.
        word: The id of the run, the beginning of one, or ``last``.

    Raises:
        UsageError: There is none, or several begin with the word.
    """
    ids = sorted(runner.journals.ids(), reverse=True)
    matching = ids[:1] if word == "last" else [each for each in ids if each.startswith(word)]
    if len(matching) == 1:
        return matching[0]
    shown = matching or ids
    listed = "".join(f"\n  {brief(runner, each)}" for each in shown[:MOST])
    more = f"\n  … ({len(shown) - MOST:,} more: `personakit suspended list`)"
    listed += more if len(shown) > MOST else ""
    if matching:
        raise UsageError(f"several suspended runs begin with {word[:80]!r}:{listed}")
    if not ids:
        raise UsageError("no run is suspended; one that waits for an answer has an id")
    raise UsageError(f"no suspended run begins with {word[:80]!r}; these are suspended:{listed}")


def brief(runner: Runner, identity: str) -> str:
    """Return a suspended run on one line; of one that cannot be read, the reason."""
    try:
        run = runner.suspended(identity)
    except UsageError as error:
        return f"{identity}  {output.one_line(str(error))}"
    return f"{identity}  {run.persona}  {asked(run)}"


def asked(run: Suspended) -> str:
    """Return the first open question of a run on one line."""
    if not run.questions:
        return "it was interrupted, and waits for no answer"
    more = f" (and {len(run.questions) - 1} more)" if len(run.questions) > 1 else ""
    return output.one_line(run.question.text) + more


def when(identity: str, form: str = "%Y-%m-%d %H:%M:%S") -> str:
    """Return the start of a run in local time; its id begins with it."""
    try:
        return time.strftime(form, time.localtime(int(identity[:SHORT], 16) / 1_000_000))
    except (ValueError, OverflowError, OSError):
        return ""


def answers(run: Suspended, given: tuple[str, ...]) -> dict[str, str]:
    """Return the answers of `--answer`, in order, by the ids of their questions.

    Raises:
        UsageError: There are too many, or one is invalid. The run stays as it is.
    """
    if len(given) > len(run.questions):
        raise UsageError(
            f"found {counted(len(given), 'answer')}, but run {run.id} asks "
            f"{counted(len(run.questions), 'question')}{':' if run.questions else ''}{_listed(run)}"
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
