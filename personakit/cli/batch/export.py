"""`personakit batch export`."""

from __future__ import annotations

from typing import Any

import click

from personakit.base import counted
from personakit.cli.shared import output


@click.command("export")
@click.argument("out", metavar="FILE")
@click.option("-o", "--output", "file", metavar="TABLE", required=True, help="The file to write.")
@click.option(
    "--format",
    metavar="csv|parquet|jsonl",
    type=click.Choice(["csv", "parquet", "jsonl"]),
    help="Default: what the name of the table ends in.",
)
@click.option("--ordered", is_flag=True, help="In the order of the table, not of the answers.")
@click.option("--failed", is_flag=True, help="With the rows that failed for good.")
@click.option("--partial", is_flag=True, help="Although the batch is not finished.")
@click.option("--force", is_flag=True, help="Replace the table if it exists.")
def command(out: str, file: str, **given: Any) -> None:
    """Write the answers of FILE, the output of a batch, as CSV, Parquet or JSONL.

    The columns are key, index, row.COLUMN for those of --keep, text or parsed.FIELD,
    finish_reason, model, tokens, cost, and with --failed error. In CSV, a text that a spreadsheet
    would take for a formula gets an apostrophe before it; Parquet and JSONL have it as it is.

    \b
      personakit batch export out.jsonl -o answers.csv --ordered
      personakit batch export out.jsonl -o answers.parquet --failed
    """  # noqa: D301
    from personakit.batch import export  # noqa: PLC0415

    result = export(out, file, **given)
    message = f"{file}: {counted(result.rows, 'row')}"
    if result.failed and not given["failed"]:
        message += f"; {result.failed:,} that failed are left out: --failed includes them"
    if result.missing:
        message += f"; {result.missing:,} have no result yet"
    output.line(message, err=True)
