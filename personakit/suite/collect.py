"""Collection of the tests of personas: cases, broken files and outcomes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from personakit.base import read_file, walk
from personakit.errors import PersonaError, Problem
from personakit.library import ENDING
from personakit.persona import Persona, PersonaTest, yaml
from personakit.suite.assertions import Failure, indent
from personakit.suite.cassettes import FOLDER


@dataclass(frozen=True, slots=True)
class Case:
    """A test of a persona."""

    persona: Persona
    test: PersonaTest

    @property
    def path(self) -> str:
        """The file of the persona, as the user wrote it."""
        return self.persona.path

    @property
    def name(self) -> str:
        """The name of the test in a report."""
        return f"{self.persona.name} › {self.test.name}"  # noqa: RUF001

    def line(self, *at: str) -> int:
        """Return the line of the test, or of one of its keys."""
        return self.test.document.problem("", (*self.test.at, *at)).line


@dataclass(frozen=True, slots=True)
class Broken:
    """A file whose tests cannot be run, with the error."""

    path: str
    message: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a test; it passed if it has no failures.

    Attributes:
        case: The test.
        failures: The checks that failed.
        seconds: The duration.
        recorded: The number of answers that were recorded.
        replayed: The number of answers that were replayed.
        note: A remedy for a failure.
    """

    case: Case
    failures: tuple[Failure, ...] = ()
    seconds: float = 0.0
    recorded: int = 0
    replayed: int = 0
    note: str = ""

    def fault(self) -> str:
        """Return the first failure on one line."""
        first = self.failures[0]
        message = first.message.partition("\n")[0]
        return f"{first.check}: {message.rstrip(':')}"

    def report(self) -> str:
        """Return the failures, with positions that editors recognize."""
        lines = [f"{self.case.path}:{self.case.line()}: {self.case.name}"]
        for failure in self.failures:
            line = self.case.line(*failure.check.split(" "))
            lines.append(indent(f"line {line}, {failure.check}: {failure.message}"))
            lines += [indent(indent(failure.detail))] if failure.detail else []
        lines += [indent(self.note)] if self.note else []
        return "\n".join(lines)


def collect(
    references: Iterable[str], load: Callable[[str | Path], Persona]
) -> list[Case | Broken]:
    """Return the tests of personas; a file that is named twice counts once.

    Args:
        references: Files, folders (with their subfolders), and names of personas.
        load: Returns the persona for a name or a path.

    Raises:
        PersonaNotFound: A name or path does not exist.
    """
    by_file: dict[str, list[Case | Broken]] = {}
    for reference in references:
        folder = Path(reference)
        for one in walk(folder, (ENDING,), (FOLDER,)) if folder.is_dir() else [reference]:
            cases = _cases(one, load)
            if cases:
                by_file.setdefault(os.path.realpath(cases[0].path), cases)
    return [case for cases in by_file.values() for case in cases]


def _cases(reference: str | Path, load: Callable[[str | Path], Persona]) -> list[Case | Broken]:
    try:
        if isinstance(reference, Path) and not _is_whole(reference):
            return []
        persona = load(reference)
    except PersonaError as error:
        return [Broken(error.problems[0].path or str(reference), str(error))]
    return [Case(persona, test) for test in persona.tests]


def _is_whole(file: Path) -> bool:
    """Check whether a file in a folder is a persona, not only a partial.

    Raises:
        PersonaError: The file cannot be read as YAML.
    """
    try:
        data = yaml.parse(read_file(file, yaml.MAX_BYTES), str(file)).data
    except OSError as error:
        raise PersonaError([Problem(f"cannot be read: {error.strerror}", str(file))]) from None
    return isinstance(data, dict) and ("tests" in data or "system" in data)
