"""``%persona`` and ``%%persona``: which of its forms a line is."""

from __future__ import annotations

from contextlib import suppress

import click

from personakit.display import persona_bundle, persona_text, personas_bundle
from personakit.errors import PersonaError, UsageError, front
from personakit.library import DEFINED
from personakit.notebook import authoring, running, typed
from personakit.notebook.asked import new_command, parse, run_command
from personakit.notebook.authoring import KEYS, NEW
from personakit.notebook.screen import show
from personakit.notebook.session import Session


def call(session: Session, line: str, cell: str | None) -> None:
    """Do what a line asks for.

    Args:
        session: The notebook.
        line: What follows the name of the magic.
        cell: The text below the line; None for a magic of one line.

    Raises:
        PersonakitError: What is asked for cannot be done, or the run fails.
    """
    first = line.split(maxsplit=1)[:1]
    with front("magic"), suppress(click.exceptions.Exit):  # the help was printed
        if first == [KEYS]:
            alone = cell is None or not cell.strip()
            typed.ask(session.runner(), line.split()[1:], alone=alone)
        elif first == [NEW]:
            _new(session, line, cell)
        else:
            _run(session, line, cell)


def _run(session: Session, line: str, cell: str | None) -> None:
    asked = parse(line, run_command(), most=1)
    goes_on = asked.options["goes_on"] or asked.options["conversation"] is not None
    if asked.words[1:] or cell is not None or goes_on:
        running.run(session, asked, cell)
    elif asked.words:
        persona = session.runner().load(asked.words[0])
        show({**persona_bundle(persona), "text/plain": persona_text(persona)})
    else:
        show(personas_bundle(_listed(session)))


def _listed(session: Session) -> list[tuple[str, str, str]]:
    """Return the name, description and tags of each persona that can be run by its name."""
    own = [(one.name, one.description, ", ".join(one.tags)) for one in DEFINED.values()]
    library = session.runner().library
    found = [*library.summaries(lambda *_: None), *library.listed()]
    rows = [
        (one.name, one.description, ", ".join(one.tags))
        for one in found
        if not isinstance(one, PersonaError) and one.name not in DEFINED
    ]
    return own + rows


def _new(session: Session, line: str, cell: str | None) -> None:
    asked = parse(line, new_command())
    if cell is None:
        raise UsageError("the cell is the persona: write %%persona new NAME, and its YAML below")
    authoring.write(session, asked, cell)
