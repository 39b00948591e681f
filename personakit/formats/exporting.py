"""Exporting: a persona as the files of another tool."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from personakit.base import private_files
from personakit.errors import UsageError
from personakit.formats.format import chosen, formats
from personakit.formats.note import Note
from personakit.formats.outgoing import Outgoing
from personakit.persona import Reference
from personakit.runner import Runner


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export wrote.

    Attributes:
        files: The files.
        notes: What is different from the persona.
    """

    files: tuple[Path, ...]
    notes: tuple[Note, ...]

    def plain(self, persona: str) -> dict[str, Any]:
        """Return it as plain data, for JSON."""
        return {
            "files": [str(file) for file in self.files],
            "notes": [note.plain(persona) for note in self.notes],
        }


def export_persona(  # noqa: PLR0913 - each is a setting of its own
    persona: Reference,
    to: str,
    target: str | Path,
    *,
    values: Mapping[str, Any] | None = None,
    model: str = "",
    picture: str | Path | None = None,
    force: bool = False,
    runner: Runner | None = None,
) -> Exported:
    """Write a persona as the files of another tool.

    Args:
        persona: A name, the path of a file, or a persona.
        to: The format's name.
        target: The file, or an existing folder to write the file or files into.
        values: Values of variables for which the format has no place.
        model: The model, if the format needs one; empty for the persona's.
        picture: A picture in the format PNG, in which a card is written.
        force: Replace files that exist.
        runner: Finds the persona, and has the plugins that add formats; None for a new one.

    Raises:
        UsageError: The format cannot hold the persona, a required variable has no value, or a file
            exists.
    """
    runner = runner or Runner()
    write = chosen(to, formats(runner), "--to").write
    assert write is not None
    given = b"" if picture is None else _picture(Path(picture))
    loaded = runner.load(persona)
    unknown = sorted({*(values or {})} - {*loaded.variables})
    if unknown:
        declared = ", ".join(loaded.variables) or "none"
        raise UsageError(f"--set: unknown variable {unknown[0]!r} (declared: {declared})")
    outgoing = Outgoing(
        loaded, runner, to, dict(values or {}), model, given, folder=Path(target).is_dir()
    )
    files = write(outgoing)
    return Exported(_written(files, Path(target), force=force), tuple(outgoing.notes))


def _picture(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None


def _written(files: Mapping[str, bytes], target: Path, *, force: bool) -> tuple[Path, ...]:
    """Write the files, all or none; return their paths."""
    if len(files) == 1 and not target.is_dir():
        paths = {target: next(iter(files.values()))}
    else:
        paths = {target / name: data for name, data in files.items()}
    for path in paths:
        if path.exists() and not force:
            raise UsageError(f"{path} exists; --force replaces it, or choose another path with -o")
    for path, data in paths.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            private_files.replace(path, [data], mode=None)
        except OSError as error:
            raise UsageError(f"{path} cannot be written: {error.strerror}") from None
    return tuple(paths)
