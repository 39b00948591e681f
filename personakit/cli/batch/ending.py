"""How a batch ended: the last lines, and the exit code."""

from __future__ import annotations

import json
import shlex
import sys
from typing import TYPE_CHECKING

from personakit.base import counted, dollars
from personakit.cli.batch.progress import duration, event
from personakit.cli.shared import output

if TYPE_CHECKING:
    from personakit.batch import Batch, Progress


def again(*more: str, without: str = "") -> str:
    """Return the command that goes on.

    Args:
        more: Options to add, unless the command has them.
        without: An option to leave out, with its value.
    """
    given: list[str] = []
    left_out = False
    for each in sys.argv[1:]:
        if left_out or (without and each.startswith(f"{without}=")):
            left_out = False
        elif without and each == without:
            left_out = True
        else:
            given.append(each)
    return shlex.join(["personakit", *given, *(each for each in more if each not in given)])


def show(batch: Batch, *, as_json: bool, stdin: bool, error: str = "", code: int = 0) -> int:
    """Print how a batch ended; return the exit code.

    Args:
        batch: The batch.
        as_json: Whether to print a JSON line on standard output.
        stdin: Whether the rows come from standard input.
        error: Why it stopped; empty if it did not.
        code: The exit code if it stopped.
    """
    for value in batch.unwritten:
        output.echo(json.dumps(value, ensure_ascii=False), err=True)
    progress = batch.progress()
    answers, failures = batch.files
    failed = 0 if progress is None else progress.failed
    left = progress is None or progress.done + failed < progress.rows
    state = "finished" if not (error or left) else "stopped" if error else "paused"
    if as_json:
        next_ = again(without="--sample") if left else again("--retry-failed") if failed else None
        files = {"answers": str(answers), "failures": str(failures) if failed else None}
        output.print_json(event(state, batch, **files, error=error or None, next=next_),
                          compact=True)  # fmt: skip
    if error:
        output.say_error(error)
    if not as_json:
        if progress is not None:
            output.line(_used(progress), err=True)
        for line in _last(progress, state, (str(answers), str(failures)), stdin=stdin, left=left):
            output.line(line, err=True)
    return code or (1 if failed or error else 0)


def _last(
    progress: Progress | None, state: str, files: tuple[str, str], *, stdin: bool, left: bool
) -> list[str]:
    command = again(without="--sample")
    if stdin:
        command += f" (without a pipe, - is the rows in {files[0]}.rows)"
    if progress is None:
        return [f"{state}, and nothing was sent; to go on: {command}"]
    of = f" of {progress.rows:,}" if left or progress.failed else ""
    text = f"{state}: {progress.done:,}{of} {'answer' if progress.rows == 1 else 'answers'} "
    text += f"in {files[0]}"
    if progress.failed:
        text += f", {counted(progress.failed, 'failure')} in {files[1]}"
    if left:
        return [f"{text}; to go on: {command}"]
    if progress.failed:
        return [f"{text}; to send failed rows again: {again('--retry-failed')}"]
    return [text]


def _used(progress: Progress) -> str:
    rows = progress.done + progress.failed - progress.before
    text = f"{counted(max(0, rows), 'row')} in {duration(progress.seconds)}"
    if progress.invalid:
        text += f", {counted(progress.invalid, 'invalid row')} left out"
    text += f", {progress.tokens:,} tokens, {dollars(progress.cost)}"
    if progress.before:
        text += f"; all runs: {progress.all_tokens:,} tokens, {dollars(progress.all_cost)}"
    return text
