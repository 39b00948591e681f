"""`personakit show`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from personakit.cli.shared import output
from personakit.cli.shared.abilities import abilities
from personakit.cli.shared.options import PersonaName, make_runner
from personakit.frozen import thaw
from personakit.persona import described
from personakit.providers import AUTO

if TYPE_CHECKING:
    from personakit.persona import Persona, Text, Variable

_SHOWN = ("type", "default", "required", "enum", "description")


@click.command("show")
@click.argument("persona", type=PersonaName())
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(persona: str, as_json: bool) -> None:
    """Show what PERSONA can use, and its variables, parameters and texts."""
    runner = make_runner()
    found = runner.load(persona)
    if as_json:
        can_use = abilities(runner, found)
        output.print_json({**_json(found), "hash": runner.hash(found), "can_use": can_use})
        return
    head = [(name, value) for name, value in _head(found) if value]
    head.append(("hash", runner.hash(found)))
    output.line(f"{found.name}: {found.description}")
    for name, value in head:
        output.line(f"  {name:<11} {value}")
    output.echo("\ncan use")
    for name, value in abilities(runner, found).items():
        output.line(f"  {name:<11} {value}")
    if found.variables:
        output.echo("\nvariables")
        output.table(
            ("name", "type", "value", "description"),
            [_row(variable) for variable in found.variables.values()],
        )
    texts: list[tuple[str, Text]] = [("system", found.system)] if found.system else []
    texts += found.messages
    texts += [("prompt", found.prompt)] if found.prompt else []
    for role, text in texts:
        output.echo()
        output.line(f"--- {role}", dim=True)
        output.echo(text.source.rstrip("\n"))


def _head(persona: Persona) -> list[tuple[str, str]]:
    settings = output.settings(persona.parameters)
    return [
        ("version", persona.version),
        ("extends", ", ".join(persona.extends)),
        ("tags", ", ".join(persona.tags)),
        ("authors", ", ".join(persona.authors)),
        ("license", persona.license),
        ("source", persona.source),
        ("api", "" if persona.api == AUTO else persona.api),
        ("parameters", settings),
        ("path", persona.path),
    ]


def _row(variable: Variable) -> tuple[str, str, str, str]:
    value = "required"
    if not variable.required:
        value = json.dumps(thaw(variable.default), ensure_ascii=False)
    return variable.name, _kind(variable), value, variable.description


def _kind(variable: Variable) -> str:
    """Return the type of a variable with its range, items and fields."""
    kind = " | ".join(map(str, variable.enum)) if variable.enum else variable.type
    low, high = variable.minimum, variable.maximum
    if low is not None or high is not None:
        kind += f" {'' if low is None else low}..{'' if high is None else high}"
    if variable.items is not None:
        kind += f" of {_kind(variable.items)}"
    if variable.properties:
        fields = [
            f"{name}{'' if it.required else '?'}: {_kind(it)}"
            for name, it in variable.properties.items()
        ]
        more = ["…"] if variable.additional else []
        kind += f" {{{', '.join([*fields, *more])}}}"
    return kind


def _json(persona: Persona) -> dict[str, Any]:
    return {
        "name": persona.name,
        **{name: value for name, value in _head(persona) if name in ("version", "license", "path")},
        "description": persona.description,
        "tags": list(persona.tags),
        "authors": list(persona.authors),
        "model": persona.model,
        "api": persona.api,
        "parameters": thaw(persona.parameters),
        "variables": {name: described(it, _SHOWN) for name, it in persona.variables.items()},
        "extends": list(persona.extends),
        "tools": list(persona.tools),
        "output": thaw(persona.output),
        "history": {"keep": persona.history.keep} if persona.history else None,
        "plugins": [use.name for use in persona.plugins],
        "system": persona.system.source if persona.system else None,
        "messages": [
            {"role": role, "content": text.source, **({"cache": True} if text.cache else {})}
            for role, text in persona.messages
        ],
        "prompt": persona.prompt.source if persona.prompt else None,
    }
