"""`personakit edit`."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from personakit.base import NAME, read_file
from personakit.cli.shared import output
from personakit.cli.shared.input import LARGEST
from personakit.cli.shared.options import PersonaName, make_library
from personakit.config import Config, expanded, user_folder
from personakit.errors import PersonaNotFound, UsageError

if TYPE_CHECKING:
    from personakit.library import Library

VARIABLES = ("VISUAL", "EDITOR")
_EXAMPLES = "export EDITOR=nano, or export VISUAL='code --wait'"


@click.command("edit")
@click.argument("persona", type=PersonaName())
@click.option("--path", "folder", metavar="DIR", help="Copy the persona into this folder and edit "
              "the copy.")  # fmt: skip
def command(persona: str, folder: str | None) -> int:
    """Open the file of PERSONA in $VISUAL or $EDITOR, and check it afterwards.

    PERSONA is a name or the path of a file. A persona of an installed package is not changed: a
    copy replaces it, in ./personas if that exists, else in the folder of your own personas.

    \b
      personakit edit chef
      EDITOR='code --wait' personakit edit drafts/chef.yaml
    """  # noqa: D301
    from personakit.cli.lint import check  # noqa: PLC0415

    library = make_library()
    file = _file(library, persona)
    editor = _editor()
    before = _content(file)
    copied = folder is not None or _is_packaged(library, file)
    if copied:
        file = _copy(file, before, folder)
    elif not os.access(file, os.W_OK):
        raise UsageError(f"{file} is read-only; with --path DIR, a copy in DIR is edited")
    failure = _edit(editor, file)
    unchanged = os.path.lexists(file) and _content(file) == before
    if copied and unchanged:
        file.unlink()
    if failure:
        kept = "" if copied and unchanged else f"; {file} is kept as it is now"
        raise click.ClickException(f"{failure}{kept}")
    if unchanged:
        removed = "; the copy is removed" if copied else ""
        output.line(f"personakit: {file} was not changed{removed}", err=True)
        if copied:
            return 0
    # The notice has said that the copy hides the original.
    return check([file], without=("PK042",) if copied else ())


def _file(library: Library, persona: str) -> Path:
    """Return the file of a persona, which need not be valid.

    Raises:
        UsageError: There is no such persona or file, or it is no persona file.
    """
    from personakit.linting import ENDINGS  # noqa: PLC0415

    found = library.file(persona) if NAME.match(persona) else None
    if found is not None:
        return found
    path = expanded(persona)
    if os.path.lexists(path):
        if path.suffix not in (*ENDINGS, ".json"):
            raise UsageError(
                f"{path} is not a persona file: expected a name, or a file with the ending "
                f"{' or '.join(ENDINGS)}"
            )
        return path
    if ":" in persona:
        if library.provides(persona):
            raise UsageError(
                f"{persona} cannot be edited: it is not in a file, a plugin loads it; change it "
                f"where it is kept, or extend it: `personakit new NAME --extends {persona}`"
            )
        raise UsageError(f"no file {persona}; only a persona in a file can be edited")
    try:
        library.load(persona)
    except PersonaNotFound as error:
        from personakit.authoring import persona_files  # noqa: PLC0415

        new = persona_files.proposed_name(persona)
        if path.parent != Path():
            new += f" --path {shlex.quote(str(path.parent))}"
        raise PersonaNotFound(f"{error}; `personakit new {new}` writes a new one") from None
    raise PersonaNotFound(f"no persona {persona!r}; `personakit list` shows the personas")


def _is_packaged(library: Library, file: Path) -> bool:
    """Return whether a file is in an installed package, and in no folder of the user."""
    place = Path(os.path.realpath(file))
    own = [os.path.realpath(folder) for folder in library.path]
    if any(place.is_relative_to(folder) for folder in own):
        return False
    return any(place.is_relative_to(os.path.realpath(folder)) for folder in library.folders())


def _content(file: Path) -> bytes:
    try:
        return read_file(file, LARGEST)
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from None


def _copy(file: Path, content: bytes, folder: str | None) -> Path:
    """Copy a persona into a folder that takes precedence, and return the path of the copy.

    Raises:
        UsageError: The folder has a file of this name.
    """
    from personakit.authoring import persona_files  # noqa: PLC0415

    if folder is not None:
        place = expanded(folder)
    elif Path("personas").is_dir():
        place = Path("personas")
    else:
        place = user_folder(Config.read().environ) / "personas"
    target = place / file.name
    if os.path.lexists(target):
        raise UsageError(f"{target} already exists; edit it: personakit edit {target}")
    persona_files.save(target, persona_files.exact_text(content, str(file)))
    output.line(f"personakit: {file} is not changed; editing a copy of it, {target}", err=True)
    return target


def _editor() -> list[str]:
    """Return the user's editor and its arguments.

    Raises:
        UsageError: None is set, or it is not found.
    """
    name = next((name for name in VARIABLES if os.environ.get(name, "").strip()), None)
    if name is None:
        raise UsageError(f"no editor is set: set VISUAL or EDITOR, such as {_EXAMPLES}")
    value = os.environ[name]
    try:
        words = shlex.split(value, posix=os.name != "nt")
    except ValueError as error:
        raise UsageError(f"{name}: cannot read {value!r}: {error}; {_EXAMPLES}") from None
    if not words or shutil.which(words[0]) is None:
        raise UsageError(
            f"{name}: no program {(words or [value])[0]!r} was found; set it to your editor, such "
            f"as {_EXAMPLES}"
        )
    return words


def _edit(editor: list[str], file: Path) -> str:
    """Open a file in an editor and wait until it closes; return why that failed, or ""."""
    sys.stdout.flush()
    command = shlex.join(editor)
    try:
        with _left_to_the_editor():
            done = subprocess.run([*editor, str(file)], check=False)  # noqa: S603
    except OSError as error:
        return f"the editor `{command}` cannot be started: {error.strerror}"
    code = done.returncode
    if code < 0:
        return f"the editor `{command}` was ended by signal {-code}"
    return f"the editor `{command}` failed with exit code {code}" if code else ""


@contextmanager
def _left_to_the_editor() -> Iterator[None]:
    """Leave Ctrl-C to the editor; a program that inherits SIG_IGN would never see it."""
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
