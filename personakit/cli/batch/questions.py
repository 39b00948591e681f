"""What is shown and asked before a batch begins."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import click

from personakit.base import dollars
from personakit.cli.batch import progress, running
from personakit.cli.batch.progress import duration
from personakit.cli.shared import output
from personakit.cli.shared.terminal import is_attended

if TYPE_CHECKING:
    from personakit.batch import Batch, Estimate, Result, UnderWay


def show_estimate(batch: Batch, *, as_json: bool) -> int:
    """Print what a batch would take; return the exit code."""
    with progress.Shown(batch, as_json=as_json):
        estimate = batch.estimate()
    if as_json:
        output.print_json(dataclasses.asdict(estimate))
        return 0
    for name, value in _lines(estimate):
        output.line(f"{name:<10}{value}")
    return 0


def _lines(estimate: Estimate) -> list[tuple[str, str]]:
    about = "" if estimate.exact else "about "
    rows = f"{estimate.rows:,}"
    for count, what in ((estimate.done, "done"), (estimate.repeats, "repeated"),
                        (estimate.invalid, "invalid")):  # fmt: skip
        rows += f", {count:,} {what}" if count else ""
    tokens = f"{about}{estimate.prompt_tokens:,} of prompts"
    unknown = "answers unknown: run a few rows first, such as with --sample 20"
    if estimate.answer_tokens is None:
        tokens = f"{tokens}; {unknown}"
        price = f"{dollars(estimate.prompt_cost)} for the prompts; {unknown}"
    else:
        tokens = f"{tokens}, about {estimate.answer_tokens:,} of answers"
        price = (
            dollars(estimate.cost) if estimate.cost is None else f"about {dollars(estimate.cost)}"
        )
    time = "unknown: the provider says its limits with the first answer, or give --rpm and --tpm"
    if estimate.seconds is not None:
        time = f"at least {duration(estimate.seconds)}"
    return [
        ("rows", rows),
        ("model", estimate.model),
        ("tokens", tokens),
        ("cost", "cost unknown: no price is known for this model" if estimate.prompt_cost is None
                 else price),
        ("time", time),
    ]  # fmt: skip


def sample(batch: Batch, count: int, *, yes: bool, as_json: bool) -> Batch | None:
    """Run some rows, show them, and ask whether to run the others.

    Args:
        batch: The batch.
        count: How many rows.
        yes: Do not ask.
        as_json: Whether to print JSON lines.

    Returns:
        The batch of the others; None if they are not to be run.
    """
    limit = batch.settings.limit
    results: list[Result] = []
    with progress.Shown(batch, as_json=as_json) as shown:
        places = batch.places(count if limit is None else min(count, limit))
        running.run(batch, shown, results.append, places)
    _show(sorted(results, key=lambda result: result.row.index), as_json=as_json)
    now = batch.progress()
    left = 0 if now is None else now.rows - now.done - now.failed
    if limit is not None:
        left = min(left, limit - len(results))
    if left <= 0:
        return None
    if not yes:
        cost = None if now is None or now.cost is None or not results else now.cost / len(results)
        price = f" for about {dollars(cost * left)}" if cost else ""
        others = "row" if left == 1 else f"{left:,} rows"
        question = f"Run the other {others}{price}?"
        if not is_attended():
            output.line(f"{question} Nobody is there to ask; -y answers with yes", err=True)
            return None
        try:
            if not click.confirm(question, err=True):
                return None
        except click.Abort:
            output.line("", err=True)
            raise running.Interrupted(130, 0) from None
    return batch if limit is None else batch.replace(limit=limit - len(results))


def _show(results: list[Result], *, as_json: bool) -> None:
    if as_json:
        for result in results:
            row = {"variables": dict(result.row.variables), "input": result.row.input}
            output.print_json({"event": "sample", **row, **result.line}, compact=True)
        return
    cells = [(str(r.row.line), _sent(r), _answer(r), dollars(r.cost)) for r in results]
    output.table(("line", "row", "answer", "cost"), cells)


def _sent(result: Result) -> str:
    values = [str(value) for value in result.row.variables.values()]
    return " | ".join([*values, *([result.row.input] if result.row.input else [])])[:200]


def _answer(result: Result) -> str:
    line: Any = result.line
    if not result.ok:
        return f"failed: {line['error']}"[:200]
    if "parsed" in line:
        return json.dumps(line["parsed"], ensure_ascii=False)[:200]
    return str(line["text"])[:200]


def settled(batch: Batch, *, yes: bool) -> Batch:
    """Return a batch with a decision about the rows that were under way."""
    from personakit.batch import UnderWay  # noqa: PLC0415

    try:
        batch.settle()
    except UnderWay as error:
        return batch.replace(in_flight=decide(error, yes=yes))
    return batch


def decide(error: UnderWay, *, yes: bool) -> str:
    """Ask what becomes of rows that were under way; return the value of `in_flight`.

    Raises:
        UnderWay: Nobody is there to ask.
    """
    if yes:
        return "resend"
    if not is_attended():
        raise error
    output.line(str(error), err=True)
    again = click.confirm("Send them again? No counts them as failed", err=True)
    return "resend" if again else "fail"
