"""The formats of other tools, and which of them a file has."""

from __future__ import annotations

import fnmatch
import importlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from personakit.errors import UsageError, did_you_mean
from personakit.formats.draft import Draft
from personakit.formats.note import Note, Unreadable
from personakit.formats.sources import File

if TYPE_CHECKING:
    from personakit.formats.outgoing import Outgoing
    from personakit.runner import Runner

Read = Callable[[File], Iterable[Draft | Note | Unreadable]]
"""Yields a draft for each item of a file, a note for what is none, and an error for one that cannot
be read. An error that it raises ends the file."""
Write = Callable[["Outgoing"], Mapping[str, bytes]]
"""Returns the files of a persona by their names."""

MODULES = {
    "aichat": "markdown.aichat",
    "card": "data.card",
    "claude": "markdown.claude",
    "copilot": "markdown.copilot",
    "csv": "data.csv",
    "dotprompt": "templated.dotprompt",
    "fabric": "markdown.fabric",
    "langchain": "data.langchain",
    "llm": "data.llm",
    "lobe": "data.lobe",
    "markdown": "markdown.plain",
    "messages": "data.messages",
    "modelfile": "data.modelfile",
    "prompty": "templated.prompty",
    "skill": "markdown.skill",
}
_NEVER = ("readme.md", "license", "license.md", "license.txt", "changelog.md", "copying")


def _nothing(_: File) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Format:
    """A format of another tool.

    Attributes:
        name: The name for ``--from`` and ``--to``.
        files: What its files are called, for people.
        read: Reads a file; None if the format cannot be imported.
        write: Writes a persona; None if it cannot be exported.
        named: Returns whether a path alone says that a file has the format.
        suffixes: The ends of the names of other files that may have it.
        looks: Returns whether the content of such a file says that it has the format.
        anything: Whether a single file with one of the suffixes has it, if no other format fits.
    """

    name: str
    files: str
    read: Read | None = None
    write: Write | None = None
    named: Callable[[PurePosixPath], bool] = lambda _: False
    suffixes: tuple[str, ...] = ()
    looks: Callable[[File], bool] = _nothing
    anything: bool = False

    def may_have(self, path: PurePosixPath) -> bool:
        """Return whether a file may have the format, by its name."""
        return self.named(path) or path.name.lower().endswith(self.suffixes)


def formats(runner: Runner | None = None) -> dict[str, Format]:
    """Return all formats by name.

    Args:
        runner: Whose plugins may add formats; None for those of personakit alone.
    """
    found: dict[str, Format] = {
        name: importlib.import_module(f"personakit.formats.{module}").FORMAT
        for name, module in MODULES.items()
    }
    if runner is None:
        return found
    importers = runner.plugins.every("importer")
    exporters = runner.plugins.every("exporter")
    for name in sorted({*importers, *exporters} - {*found}):
        importer = importers.get(name)
        patterns = importer.files if importer else ()
        found[name] = Format(
            name,
            ", ".join(patterns),
            importer.read if importer else None,
            exporters.get(name),
            named=_matches(patterns),
        )
    return found


def _matches(patterns: tuple[str, ...]) -> Callable[[PurePosixPath], bool]:
    return lambda path: any(fnmatch.fnmatchcase(path.name, pattern) for pattern in patterns)


def chosen(name: str, known: Mapping[str, Format], option: str) -> Format:
    """Return the format that a user names.

    Raises:
        UsageError: There is none of that name that can do it.
    """
    attribute = "read" if option == "--from" else "write"
    able = {key: one for key, one in known.items() if getattr(one, attribute)}
    if name in able:
        return able[name]
    if name in known:
        verb = "imported" if option == "--from" else "exported"
        raise UsageError(f"{option}: {name!r} cannot be {verb}; use one of {', '.join(able)}")
    hint = did_you_mean(name, able) or f"; use one of {', '.join(able)}"
    raise UsageError(f"{option}: unknown format {name!r}{hint}")


def claimed(files: Iterable[File], format: Format) -> Iterator[File]:  # noqa: A002
    """Yield the files that may have a format which the user named."""
    for file in files:
        is_alone = file.tree.file
        if is_alone or (format.may_have(file.place) and file.name.lower() not in _NEVER):
            yield file


def detected(file: File, known: Mapping[str, Format]) -> Format | None:
    """Return the format of a file, by its name, else by its content; None if no format fits.

    Raises:
        UsageError: Two formats fit.
    """
    if file.name.lower() in _NEVER and not file.tree.file:
        return None
    able = [one for one in known.values() if one.read is not None]
    found = [one for one in able if one.named(file.place)]
    if len(found) != 1:
        lower = file.name.lower()
        likely = found or [one for one in able if lower.endswith(one.suffixes)]
        by_content = [one for one in likely if one.looks(file)]
        found = by_content or found
        if not found and file.tree.file:
            found = [one for one in likely if one.anything]
    if len(found) > 1:
        names = " or ".join(one.name for one in found)
        raise UsageError(f"{file.path}: it could be {names}; choose with --from {found[0].name}")
    return found[0] if found else None
