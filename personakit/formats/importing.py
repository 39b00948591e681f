"""Importing: a source, its files, their drafts, and the persona files that are written."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from personakit.authoring import persona_files
from personakit.base import private_files
from personakit.errors import PersonakitError, UsageError
from personakit.formats.draft import Draft, legal_tools
from personakit.formats.dumping import plain
from personakit.formats.files.earlier import Earlier
from personakit.formats.files.persona_file import persona_source
from personakit.formats.files.report import Imported, Report, Skipped, Status
from personakit.formats.files.spdx import license_of
from personakit.formats.format import Format, chosen, claimed, detected, formats
from personakit.formats.names import free_name, persona_name
from personakit.formats.note import Note, Unreadable
from personakit.formats.sources import File, Tree, opened

if TYPE_CHECKING:
    from personakit.runner import Runner

_STEMLESS = ("SKILL.md", "system.md", "Modelfile", "index.yaml")
"""The files that are called alike everywhere: their folder has the name."""
_KINDS = (".agent", ".chatmode", ".instructions", ".prompt")
"""What the name of a file has before its suffix to say what it is."""


def import_personas(
    source: str | Path,
    folder: str | Path,
    *,
    format: str | None = None,  # noqa: A002 - the field's term
    force: bool = False,
    dry_run: bool = False,
    keep_tools: bool = False,
    runner: Runner | None = None,
) -> Report:
    """Write the prompts of another tool as persona files.

    Nothing that the source mentions is run or fetched. A file that an earlier import wrote is
    written again if the source has changed, unless it was edited since. No other file is replaced.

    Args:
        source: A file, a folder, a zip archive, ``-`` for standard input, a URL of git, or
            ``gh:owner/name[@revision][:path]``.
        folder: Where the persona files go.
        format: The format's name; None to recognise it by names and content.
        force: Write again what was edited since an earlier import.
        dry_run: Write nothing.
        keep_tools: Write the tools of the source whose names are legal here into `tools`.
        runner: Whose plugins may add formats; None for those of personakit alone.

    Returns:
        What was written, what is different, and what could not be imported.

    Raises:
        UsageError: The source cannot be read, the format is unknown, or nothing in the source has
            one.
    """
    known = formats(runner)
    asked = None if format is None else chosen(format, known, "--from")
    with opened(str(source)) as tree:
        work = _Import(tree, Path(folder), force, dry_run, keep_tools)
        count = 0
        for file, one in _files(tree, asked, known, work.report):
            count += 1
            work.read(file, one)
        if not count and not work.report.skipped:
            raise UsageError(_nothing(str(source), tree, asked, known))
        work.write()
    return work.report


def _files(
    tree: Tree, asked: Format | None, known: Mapping[str, Format], report: Report
) -> Iterator[tuple[File, Format]]:
    if asked is not None:
        for file in claimed(tree.files(), asked):
            yield file, asked
        return
    # What lies below a skill belongs to it.
    skills = {path.parent for path in tree.paths if path.name == "SKILL.md"}
    for file in tree.files():
        if file.name != "SKILL.md" and not skills.isdisjoint(file.path.parents):
            continue
        try:
            one = detected(file, known)
        except UsageError as error:
            if tree.file:
                raise
            report.skipped.append(Skipped(str(file.path), None, None, str(error)))
            continue
        if one is not None:
            yield file, one


def _nothing(source: str, tree: Tree, asked: Format | None, known: Mapping[str, Format]) -> str:
    if asked is not None:
        return f"{source}: nothing has the form of {asked.name}: {asked.files}"
    names = ", ".join(name for name, one in known.items() if one.read)
    what = "the file has no form" if tree.file else "no file has a form"
    return f"{source}: {what} that is recognised; name it with --from ({names})"


@dataclass(slots=True)
class _Import:
    """One import.

    Attributes:
        tree: The source.
        folder: Where the persona files go.
    """

    tree: Tree
    folder: Path
    force: bool
    dry_run: bool
    keep_tools: bool
    report: Report = field(default_factory=Report)
    _drafts: list[tuple[File, Draft]] = field(default_factory=list)

    def read(self, file: File, format: Format) -> None:  # noqa: A002
        """Collect the drafts of a file."""
        assert format.read is not None
        try:
            for one in format.read(file):
                if isinstance(one, Draft):
                    self._drafts.append((file, one))
                elif isinstance(one, Note):
                    self.report.notes.append((str(file.path), one))
                else:
                    self._skip(file, one)
        except Unreadable as error:
            self._skip(file, error)
        except (RecursionError, MemoryError):
            self._skip(file, Unreadable("it is nested too deep"))

    def _skip(self, file: File, error: Unreadable) -> None:
        skipped = Skipped(str(file.path), error.item, error.line, error.reason)
        self.report.skipped.append(skipped)

    def write(self) -> None:
        """Write the persona files of all drafts."""
        earlier = Earlier.of(self.folder)
        spdx, free = license_of(self.tree), bool(self.tree.url)
        taken = earlier.names()
        for _, draft in self._drafts:
            draft.keys = {key: plain(value) for key, value in draft.keys.items()}
            draft.kept = plain(draft.kept)
            if self.keep_tools and draft.tools:
                draft.keys["tools"] = legal_tools(draft.tools)
            if spdx and not draft.keys.get("license"):
                draft.keys["license"] = spdx
            elif free and not draft.keys.get("license"):
                free = False
                draft.note(
                    "license",
                    f"{self.tree.url} names no licence; ask its authors before you share what was "
                    f"imported",
                )
        places = earlier.matched(self._provenance(f, d) for f, d in self._drafts)
        first: dict[str, str] = {}
        for (file, draft), place in zip(self._drafts, places, strict=True):
            original = draft.name or original_name(file)
            name = place.stem if place is not None else persona_name(original, draft.format)
            if place is None and (name in taken or name in first):
                name = self._freed(name, file, draft, {*taken, *first}, first)
            elif place is None and name != original:
                draft.note("name", f"{original!r:.80} is called {name!r}, which a file can have")
            first.setdefault(name, str(file.path))
            self._write(file, draft, name, original, place, earlier)

    def _freed(
        self, name: str, file: File, draft: Draft, taken: set[str], first: Mapping[str, str]
    ) -> str:
        result = free_name(name, taken)
        other = first.get(name) or f"{self.folder / name}.yaml"
        draft.note(
            "name-collision",
            f"the name {name!r} of {file.path} is taken by {other}; it is called {result!r}",
            line=draft.line,
        )
        return result

    def _provenance(self, file: File, draft: Draft) -> dict[str, Any]:
        data = file.data if draft.data is None else draft.data
        result = {
            "format": draft.format,
            "dialect": draft.dialect,
            "file": str(file.path),
            "url": self.tree.url,
            "revision": self.tree.revision,
            "item": draft.item,
            "sha256": hashlib.sha256(data).hexdigest(),
            "name": draft.name or original_name(file),
        }
        return {key: value for key, value in result.items() if value not in ("", None)}

    def _write(
        self,
        file: File,
        draft: Draft,
        name: str,
        original: str,
        place: Path | None,
        earlier: Earlier,
    ) -> None:
        provenance = self._provenance(file, draft)
        if name == original:
            del provenance["name"]
        if self.tree.url and not draft.keys.get("source"):
            draft.keys["source"] = self.tree.url
        try:
            source = persona_source(draft, name, provenance)
        except Unreadable as error:
            self._skip(file, Unreadable(error.reason, error.line or draft.line, draft.item))
            return
        except PersonakitError as error:
            message = re.sub(r"^[^\n]*?\.yaml:\d+:\d+: ", "", str(error))
            self._skip(file, Unreadable(f"it makes no persona: {message}", draft.line, draft.item))
            return
        target = self.folder / f"{name}.yaml"
        status = self._status(draft, provenance, source, place, earlier)
        if status in ("new", "changed") and not self.dry_run:
            if status == "new":
                persona_files.save(target, source)
            else:
                _replace(target, source)
        self.report.personas.append(
            Imported(
                target, name, str(file.path), draft.item, dict(draft.renamed), draft.input, status,
                tuple(draft.notes),
            )
        )  # fmt: skip

    def _status(
        self,
        draft: Draft,
        provenance: Mapping[str, Any],
        source: str,
        place: Path | None,
        earlier: Earlier,
    ) -> Status:
        if place is None:
            return "new"
        before = earlier.provenance(place)
        if before.get("sha256") == provenance["sha256"] and not (
            self.force and not earlier.is_untouched(place)
        ):
            return "same"
        if earlier.is_untouched(place) or self.force:
            return "changed"
        draft.note(
            "name-collision",
            f"{place} was edited since it was imported and is kept; --force writes it again",
        )
        return "kept"


def _replace(target: Path, source: str) -> None:
    try:
        private_files.replace(target, [source.encode()], mode=None)
    except OSError as error:
        raise UsageError(f"{target} cannot be written: {error.strerror}") from None


def original_name(file: File) -> str:
    """Return the name of a persona whose source gives none: that of its file or folder."""
    if file.name in _STEMLESS or file.name.lower() in ("modelfile", "skill.md"):
        return file.folder or file.path.stem
    stem = PurePosixPath(file.name.lstrip(".")).stem
    return stem.removesuffix(next((one for one in _KINDS if stem.endswith(one)), "")) or file.name
