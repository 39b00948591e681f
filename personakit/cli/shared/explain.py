"""`personakit render --explain`: the origin of each part of a request."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from personakit.cli.shared import output
from personakit.frozen import thaw
from personakit.messages import Request
from personakit.persona import Persona
from personakit.providers import AUTO
from personakit.runner import Runner
from personakit.templates import Part, Place

Row = tuple[str, str]
_SHOWN = 60


def show(
    runner: Runner, persona: Persona, request: Request, given: dict[str, str], prompt: bool
) -> None:
    """Print the origin of each part of a request.

    Args:
        runner: The runner that rendered the request.
        persona: The persona of the request.
        request: The request.
        given: The option that set each variable, parameter (after a ``.``) or ``model``.
        prompt: Whether there is a prompt.
    """
    family = list(lineage(runner, persona))
    output.line(f"{persona.name}: {persona.path}")
    _print([(f"extends {it.name}", it.path) for it in family[1:]])
    _section("messages", _messages(runner, persona, prompt))
    _section("variables", _variables(request, given, family))
    rows = [
        (f"{name} = {_value(value)}", given.get(f".{name}") or _parameter(name, family))
        for name, value in request.parameters.items()
    ]
    _section("parameters", rows)
    origin = given.get("model") or _found(family, "model")
    model = (request.model, origin or "config") if request.model else ("not chosen yet", "")
    _section("model", [model])
    if request.api != AUTO:
        _section("api", [(request.api, _found(family, "api"))])
    _section("plugins", [(use.name, _plugin(use.document, use.at)) for use in persona.plugins])


def lineage(runner: Runner, persona: Persona, *stack: Path | str) -> Iterator[Persona]:
    """Yield a persona and its ancestors, in order of precedence."""
    yield persona
    family = (*stack, persona.path if persona.document.loaded else Path(persona.path))
    for reference in reversed(persona.extends):
        yield from lineage(runner, runner.library.parents(*family)(reference), *family)


def _messages(runner: Runner, persona: Persona, prompt: bool) -> Iterator[Row]:
    around: Part | None = None
    for part in runner.catalog.compiled(persona).everything():
        inner = around is not None and around.parent is part
        name = "  {{ parent.system }}" if inner else part.role
        yield name, _place(Place.of(part.text))
        if part.unit is not None:
            names = sorted(part.unit.names.keys() - {"parent"})
            for place, _ in part.unit.parts[1:]:
                yield "  {% include %}", place.path
            if names:
                yield "  uses", ", ".join(names)
        around = part
    if prompt and persona.prompt is None:
        yield "user", "the prompt"


def _variables(request: Request, given: dict[str, str], family: list[Persona]) -> Iterator[Row]:
    for name, value in request.variables.items():
        origin = given.get(name) or f"default, {_default(name, family)}"
        yield f"{name} = {_value(value)}", origin


def _default(name: str, family: list[Persona]) -> str:
    """Return the place of a default in the first persona that sets one."""
    for persona in family:
        own = (persona.document.data.get("variables") or {}).get(name)
        if own is not None and (not isinstance(own, dict) or "default" in own):
            at = ("variables", name, "default") if isinstance(own, dict) else ("variables", name)
            return _at(persona, *at)
    return _found(family, "variables", name)


def _parameter(name: str, family: list[Persona]) -> str:
    if name == "response_format" and not _found(family, "parameters", name):
        return _found(family, "output")
    return _found(family, "parameters", name) or "config"


def _found(family: list[Persona], *at: str) -> str:
    """Return the place of a key in the first file that contains it, or ""."""
    return next((_at(persona, *at) for persona in family if at in persona.document.marks), "")


def _at(persona: Persona, *at: str) -> str:
    mark = persona.document.marks.get(at)
    return f"{persona.path}:{mark.key_line}" if mark else persona.path


def _plugin(document: Any, at: tuple[str | int, ...]) -> str:
    mark = document.marks.get(at) if document else None
    return f"{document.path}:{mark.line}" if mark else ""


def _place(place: Place) -> str:
    return f"{place.path}:{place.first}" if place.first else place.path


def _value(value: Any) -> str:
    shown = json.dumps(thaw(value), ensure_ascii=False, default=str)
    return shown if len(shown) <= _SHOWN else f"{shown[: _SHOWN - 1]}…"


def _section(title: str, rows: Any) -> None:
    lines = list(rows)
    if lines:
        output.echo()
        output.line(title, bold=True)
        _print(lines)


def _print(rows: list[Row]) -> None:
    width = min(max((len(left) for left, _ in rows), default=0), 36)
    for left, right in rows:
        output.line(f"  {left:<{width}}  {right}".rstrip())
