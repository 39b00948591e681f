"""`personakit schema`."""

from __future__ import annotations

import click

from personakit.cli.shared import output
from personakit.cli.shared.options import make_runner


@click.command("schema")
@click.option("--partial", is_flag=True, help="For files in partials/, where `system` is optional.")
def command(partial: bool) -> None:
    """Print the JSON Schema of persona files, including the options of installed plugins.

    \b
    personakit schema > personas/.persona.schema.json
    # yaml-language-server: $schema=.persona.schema.json     (the first line of a persona)
    """  # noqa: D301
    from personakit.authoring import persona_schema  # noqa: PLC0415

    schema, notes = persona_schema(make_runner().plugins, abstract=partial)
    output.print_json(schema)
    for note in notes:
        output.line(note, err=True)
