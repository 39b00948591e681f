"""`personakit list`."""

from __future__ import annotations

import click

from personakit.cli import common
from personakit.errors import PersonaError


@click.command("list")
@click.option("-t", "--tag", "tags", multiple=True, help="Only personas with this tag. Repeatable.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(tags: tuple[str, ...], as_json: bool) -> None:
    """List the personas that can be run by name, and where each comes from."""
    found, broken = [], []
    for persona in common.library().summaries():
        if isinstance(persona, PersonaError):
            broken.append(persona)
        elif set(tags) <= set(persona.tags):
            found.append(persona)
    if as_json:
        rows = [
            {
                "name": persona.name,
                "description": persona.description,
                "tags": list(persona.tags),
                "version": persona.version,
                "path": persona.path,
            }
            for persona in found
        ]
        common.print_json(rows)
    else:
        cells = [(p.name, p.description, ", ".join(p.tags)) for p in found]
        common.table(("name", "description", "tags"), cells)
    for error in broken:
        click.echo(f"left out: {common.printable(str(error))}", err=True)
