"""What an import did."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from personakit.formats.note import Note

Status = Literal["new", "same", "changed", "kept"]


@dataclass(frozen=True, slots=True)
class Imported:
    """A persona of an import.

    Attributes:
        path: Its file.
        name: Its name.
        source: The file that it comes from, within the source.
        item: The row or the place in that file; None for the whole file.
        variables: The name of each variable by that in the source.
        input: The variable of the source that became `input`; None for none.
        status: ``new``; ``same`` as before and untouched; ``changed`` and written again; ``kept``,
            since the user has edited the file.
        notes: What is different from the source.
    """

    path: Path
    name: str
    source: str
    item: int | str | None
    variables: dict[str, str]
    input: str | None
    status: Status
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file, or an item of one, that could not be imported.

    Attributes:
        source: The file, within the source.
        item: The row or the place in it; None for the whole file.
        line: The line, from 1; None if unknown.
        reason: What was found and what would be right.
    """

    source: str
    item: int | str | None
    line: int | None
    reason: str

    def __str__(self) -> str:
        place = self.source + (f":{self.line}" if self.line else "")
        return f"{place}: {self.reason}"


@dataclass(slots=True)
class Report:
    """What an import did.

    Attributes:
        personas: The personas in the order of the source.
        notes: Notes about no persona alone: the file of each, and the note.
        skipped: What could not be imported.
    """

    personas: list[Imported] = field(default_factory=list)
    notes: list[tuple[str, Note]] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)

    def plain(self) -> dict[str, Any]:
        """Return the report as plain data, for JSON."""
        notes = [note.plain(one.name) for one in self.personas for note in one.notes]
        return {
            "personas": [
                {
                    "path": str(one.path),
                    "name": one.name,
                    "source": one.source,
                    "index": one.item,
                    "variables": one.variables,
                    "input": one.input,
                    "status": one.status,
                }
                for one in self.personas
            ],
            "notes": notes + [note.plain("") for _, note in self.notes],
            "skipped": [
                {"source": one.source, "index": one.item, "line": one.line, "reason": one.reason}
                for one in self.skipped
            ],
        }
