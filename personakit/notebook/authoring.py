"""A cell that writes a persona: it is checked, shown as it renders, and can be used at once."""

from __future__ import annotations

import dataclasses
import difflib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from personakit.authoring import persona_files
from personakit.base import private_files, read_file
from personakit.cli.shared import output
from personakit.display import look_bundle
from personakit.errors import PersonaError, Problem, UsageError
from personakit.library import DEFINED
from personakit.looking import look
from personakit.notebook.running import values
from personakit.notebook.screen import show
from personakit.persona import MAX_BYTES

if TYPE_CHECKING:
    from personakit.looking import Look
    from personakit.notebook.asked import Asked
    from personakit.notebook.session import Session

FOLDER = "personas"
CELL = "cell"
NEW, KEYS = FORMS = ("new", "keys")
"""The first words of a line that name no persona."""


def write(session: Session, asked: Asked, cell: str) -> None:
    """Check the persona in a cell, show what it renders to, and keep it or its file.

    Args:
        session: The notebook.
        asked: The line: ``new NAME`` and the options.
        cell: The YAML.

    Raises:
        PersonaError: It is invalid; lines are those of the cell, whose first one is the magic.
        UsageError: The line is wrong, or the file exists and is not to be replaced.
    """
    if asked.options["force"] and not asked.options["save"]:
        raise UsageError(
            "--force replaces the file that --save writes, so it needs --save: add it, or remove "
            "--force to write no file"
        )
    if len(asked.words) != 2:
        raise UsageError("expected one name, as in %%persona new pirate")
    name = persona_files.checked_name(asked.words[1])
    if name in FORMS:
        raise UsageError(f"{name!r} is a form of the magic: choose another name for the persona")
    target = Path(FOLDER) / f"{name}.yaml"
    runner = session.runner()
    # The line of the magic is the first one of the cell.
    cell = cell if cell.endswith("\n") else f"{cell}\n"
    texts, text = session.texts, f"\n{cell}"
    found = look(runner, target, text, model=asked.options["model"], texts=texts)
    _check(found, target)
    persona = found.persona
    assert persona is not None
    given = values(session.shell.user_ns, persona, asked.options)
    if given["variables"]:
        found = look(
            runner, target, text, model=asked.options["model"], texts=texts,
            variables=given["variables"],
        )  # fmt: skip
    if asked.options["save"]:
        _save(session, target, cell, replace=asked.options["force"])
        # From now on the file is the persona, which its author may edit.
        DEFINED.pop(name, None)
        texts.pop(target, None)
    else:
        DEFINED[name], texts[target] = persona, text
    if asked.options["result"]:
        session.shell.push({asked.options["result"]: persona})
    if found.error is not None:
        found = dataclasses.replace(found, error=_in_cell(found.error, target))
    show(look_bundle(found, f"%%persona {name}"))


def _check(found: Look, target: Path) -> None:
    """Raise the errors of a look, with lines of the cell."""
    errors = [one for one in found.findings if one.severity == "error"]
    problems = [
        Problem(f"{one.code} {one.message}", one.path, one.line, one.column, one.code)
        for one in errors
    ]
    if not problems and found.persona is None:
        problems = [found.error or Problem("the persona cannot be read", CELL)]
    if problems:
        raise PersonaError([_in_cell(problem, target) for problem in problems])


def _in_cell(problem: Problem, target: Path) -> Problem:
    """Return a problem of the file that the cell may be saved as with the place in the cell."""
    return dataclasses.replace(problem, path=CELL) if Path(problem.path) == target else problem


def _save(session: Session, target: Path, text: str, *, replace: bool) -> None:
    """Write the file; replace a text that no cell has written only if asked to."""
    place = Path.cwd() / target
    written = session.saved.get(place)
    _write(target, text, written, replace=replace)
    session.saved[place] = text


def _write(target: Path, text: str, written: str | None, *, replace: bool) -> None:
    """Write the file, after printing the difference if it replaces one.

    Args:
        target: The file.
        text: The new text.
        written: What a cell has written there before.
        replace: Whether another text may be replaced.
    """
    if not os.path.lexists(target):
        persona_files.save(target, text)
        output.line(f"Wrote {target}")
        return
    try:
        old = read_file(target, MAX_BYTES).decode("utf-8", "replace")
    except OSError as error:
        raise UsageError(f"{target} cannot be read: {error.strerror}") from None
    if old == text:
        output.line(f"{target} is the same already")
        return
    if not replace and old != written:
        state = "already exists" if written is None else "has changed since a cell wrote it"
        raise UsageError(
            f"{target} {state} and was not replaced; --force replaces it and shows the "
            f"difference, or choose another name"
        )
    names = (f"{target} (before)", str(target))
    lines = difflib.unified_diff(old.splitlines(), text.splitlines(), *names, lineterm="")
    output.echo("\n".join(lines))
    private_files.replace(target, [text.encode()])
    output.line(f"Replaced {target}")
