"""`personakit list`."""

from __future__ import annotations

import gc
import itertools
import json
import sys
from collections.abc import Iterator

import click

from personakit.cli.shared import output
from personakit.cli.shared.options import make_library
from personakit.errors import PersonaError
from personakit.library import Summary


@click.command("list")
@click.option("-t", "--tag", "tags", multiple=True, help="Only personas with this tag. Repeatable.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(tags: tuple[str, ...], as_json: bool) -> None:
    """List the personas that can be run by name."""
    wanted = set(tags)
    broken: list[PersonaError] = []
    # On one terminal, the bar would erase lines that are printed meanwhile.
    is_mixed = as_json and sys.stdout.isatty()
    shown = (lambda *_: None) if is_mixed else output.progress("reading personas")
    # With 100,000 personas, garbage collection takes a tenth of the time and finds nothing.
    gc.disable()

    def progress(done: int, total: int) -> None:
        gc.enable()
        shown(done, total)

    def found() -> Iterator[Summary]:
        for persona in make_library().summaries(progress):
            if isinstance(persona, PersonaError):
                broken.append(persona)
            elif wanted.issubset(persona.tags):
                yield persona

    if as_json:
        _print_json(found())
    else:
        output.table(
            ("name", "description", "tags"),
            ((p.name, p.description, ", ".join(p.tags)) for p in found()),
        )
    for error in broken:
        output.echo(f"skipped: {error}", err=True)


def _print_json(rows: Iterator[Summary]) -> None:
    """Print personas as they are read, in a third of the time of `output.print_json`."""
    write = json.JSONEncoder(ensure_ascii=False).encode
    begin = "[\n"
    while piece := list(itertools.islice(rows, 1000)):
        texts = [
            f'  {{\n    "name": {write(p.name)},\n    "description": {write(p.description)},\n'
            f'    "tags": {_list(list(map(write, p.tags)))},\n    "version": {write(p.version)},\n'
            f'    "path": {write(p.path)}\n  }}'
            for p in piece
        ]
        output.echo(begin + ",\n".join(texts), end="")
        begin = ",\n"
    output.echo("[]" if begin == "[\n" else "\n]")


def _list(texts: list[str]) -> str:
    return "[\n      " + ",\n      ".join(texts) + "\n    ]" if texts else "[]"
