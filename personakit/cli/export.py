"""`personakit export`."""

from __future__ import annotations

from typing import Any

import click

from personakit.cli.shared import output
from personakit.cli.shared.options import PersonaName, make_runner, split_pair
from personakit.errors import UsageError


@click.command("export")
@click.argument("persona", type=PersonaName())
@click.option("--to", metavar="FORMAT", required=True, help="The format; see docs/import.md.")
@click.option("-o", "--output", "target", metavar="FILE|FOLDER", required=True)
@click.option(
    "--set", "pairs", metavar="NAME=VALUE", multiple=True, help="The value of a variable."
)
@click.option("-m", "--model", default="", metavar="MODEL", help="For a format that needs one.")
@click.option("--picture", metavar="PNG", help="The picture of a card.")
@click.option("--json", "as_json", is_flag=True, help="Print files and notes as JSON.")
@click.option("--force", is_flag=True, help="Replace files that exist.")
def command(
    persona: str, to: str, target: str, pairs: tuple[str, ...], as_json: bool, **given: Any
) -> None:
    """Write PERSONA as a file of another tool.

    A variable becomes one of the format, where it has variables and the template only writes it;
    otherwise its default is rendered, which a note tells. A required one needs --set.

    \b
      personakit export chef --to claude -o .claude/agents
      personakit export chef --to modelfile -m ollama/llama3.2 -o Modelfile
    """  # noqa: D301
    from personakit.formats import export_persona  # noqa: PLC0415

    with make_runner() as runner:
        loaded = runner.load(persona)
        values = {}
        for pair in pairs:
            name, value = split_pair(pair, "--set")
            if name not in loaded.variables:
                declared = ", ".join(loaded.variables) or "none"
                raise UsageError(f"--set: unknown variable {name!r} (declared: {declared})")
            values[name] = loaded.variables[name].convert(value)
        result = export_persona(loaded, to, target, values=values, runner=runner, **given)
    if as_json:
        output.print_json(result.plain(loaded.name))
        return
    for file in result.files:
        output.line(f"wrote {file}")
    for note in result.notes:
        output.line(f"        {note.message} [{note.code}]")
