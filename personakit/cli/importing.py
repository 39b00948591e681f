"""`personakit import`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from personakit.base import counted
from personakit.cli.shared import output
from personakit.cli.shared.options import make_runner

if TYPE_CHECKING:
    from personakit.formats import Note, Report


@click.command("import")
@click.argument("source")
@click.option("--from", "form", metavar="FORMAT", help="Default: recognised by name and content.")
@click.option("-o", "--output", "folder", metavar="FOLDER", required=True, help="Where to write.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.option("--dry-run", is_flag=True, help="Report only; write nothing.")
@click.option("--force", is_flag=True, help="Write again what was edited since its import.")
@click.option(
    "--tools",
    metavar="keep",
    type=click.Choice(["keep"]),
    help="Write the names of tools into `tools:`, as far as they are legal.",
)
@click.pass_context
def command(
    ctx: click.Context, /, source: str, form: str | None, folder: str, as_json: bool, **given: Any
) -> None:
    """Write the prompts of another tool as persona files.

    SOURCE is a file, a folder, a zip archive, - for standard input, a URL of git, or
    gh:owner/name[@revision][:path]. Each difference is told in a note. The same command again
    writes what has changed in the source, except files that you have edited since. The formats:
    docs/import.md.

    \b
      personakit import .claude -o personas
      personakit import prompts.csv -o personas --dry-run
      personakit import gh:owner/name:prompts -o personas
    """  # noqa: D301
    from personakit.formats import import_personas  # noqa: PLC0415

    with make_runner() as runner:
        report = import_personas(
            source,
            folder,
            format=form,
            force=given["force"],
            dry_run=given["dry_run"],
            keep_tools=given["tools"] == "keep",
            runner=runner,
        )
    if as_json:
        output.print_json(report.plain())
    else:
        _show(report, dry_run=given["dry_run"])
    ctx.exit(2 if not report.personas else 1 if report.skipped else 0)


def _show(report: Report, *, dry_run: bool) -> None:
    """Print a line for each persona, its notes below it, and a total."""
    for one in report.personas:
        place = one.source + (f" [{one.item}]" if one.item is not None else "")
        output.line(f"{one.status:8}{one.path}  from {place}")
        for note in one.notes if one.status != "same" else ():
            output.line(f"        {_line(note, one.source)}")
    for source, note in report.notes:
        output.line(f"        {_line(note, source)}")
    for skipped in report.skipped:
        output.line(f"skipped {skipped}", err=True)
    count = dict.fromkeys(("new", "changed", "same", "kept"), 0)
    for one in report.personas:
        count[one.status] += 1
    parts = [f"{number:,} {status}" for status, number in count.items() if number]
    parts += [f"{len(report.skipped):,} skipped"] if report.skipped else []
    notes = sum(len(one.notes) for one in report.personas) + len(report.notes)
    verb = "would be written" if dry_run else "imported"
    total = counted(len(report.personas), "persona")
    message = f"{total} {verb}: {', '.join(parts)}" if parts else f"nothing {verb}"
    output.line(f"{message}; {counted(notes, 'note')}", err=True)


def _line(note: Note, source: str) -> str:
    place = f"{source}:{note.line}" if note.line else source
    return f"{note.message} ({place}) [{note.code}]"
