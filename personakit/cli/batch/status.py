"""`personakit batch status`."""

from __future__ import annotations

import dataclasses
import time

import click

from personakit.base import dollars
from personakit.cli.shared import output


@click.command("status")
@click.argument("out", metavar="FILE")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(out: str, as_json: bool) -> None:
    """Show how far the batch of FILE is, also while it runs."""
    from personakit.batch import status  # noqa: PLC0415

    value = status(out)
    if as_json:
        output.print_json(dataclasses.asdict(value))
        return
    total = "?" if value.rows is None else f"{value.rows:,}"
    state = "running" if value.running else "finished" if value.is_finished else "not running"
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(value.written))
    rows = f"{value.done:,} of {total} answered, {value.failed:,} failed"
    rows += f", {value.in_flight:,} under way" if value.in_flight else ""
    rows += f", {value.invalid:,} invalid" if value.invalid else ""
    for name, text in (
        ("state", f"{state}; last written {when}"),
        ("rows", rows),
        ("persona", f"{value.persona} on {value.model}"),
        ("table", value.source),
        ("used", f"{value.tokens:,} tokens, {dollars(value.cost)}"),
    ):
        output.line(f"{name:<10}{text}")
