"""The variables of a persona that only the personas use which extend it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Set
from pathlib import Path

from personakit.base import read_file
from personakit.errors import PersonakitError
from personakit.library import ENDING
from personakit.persona import Persona, examine, yaml
from personakit.runner import Runner
from personakit.templates import CompiledPersona, TemplateCompiler


class Children:
    """The personas that extend others: among some files, in their folders and in the library.

    Args:
        runner: Provides the library.
        compiler: Compiles the templates.
        files: The files.
    """

    def __init__(self, runner: Runner, compiler: TemplateCompiler, files: Iterable[Path]) -> None:
        self._runner = runner
        self._compiler = compiler
        self._files = list(files)
        self._used: dict[str, set[str]] | None = None

    def used(self, file: Path | str) -> Set[str]:
        """Return the names that the templates of those read that extend a file, also indirectly."""
        if self._used is None:
            self._used = {}
            for child in self._candidates():
                self._add(child)
        return self._used.get(os.path.realpath(file), frozenset())

    def _candidates(self) -> Iterator[Path]:
        """Yield the files that may extend another, each once."""
        library = self._runner.library
        folders = dict.fromkeys([*(file.parent for file in self._files), *library.folders()])
        beside = (path for folder in folders for path in sorted(folder.glob(f"*{ENDING}")))
        seen = set()
        for path in (*self._files, *beside):
            real = os.path.realpath(path)
            if real not in seen:
                seen.add(real)
                yield path

    def _add(self, file: Path) -> None:
        assert self._used is not None
        library = self._runner.library
        try:
            source = read_file(file, yaml.MAX_BYTES)
            if b"extends" not in source:
                return
            document = yaml.parse(source, str(file), file=file)
            persona, _ = examine(document, parents=library.parents(file), abstract=True)
        except (OSError, PersonakitError):
            return  # reported when that file is checked
        if persona is None or not persona.extends:
            return
        used = CompiledPersona(self._compiler, persona).used
        for ancestor in self._ancestors(persona, (file,)):
            self._used.setdefault(os.path.realpath(ancestor), set()).update(used)

    def _ancestors(self, persona: Persona, files: tuple[Path | str, ...]) -> Iterator[str]:
        """Yield the paths of the files that a persona extends.

        Args:
            persona: The persona.
            files: Its file, or the reference of one that a plugin loads, preceded by those that
                extend it.
        """
        for reference in persona.extends:
            try:
                parent = self._runner.library.parents(*files)(reference)
            except PersonakitError:
                continue
            yield parent.path
            loaded = parent.document.loaded
            place = parent.path if loaded else Path(parent.path)
            yield from self._ancestors(parent, (*files, place))
