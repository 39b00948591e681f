"""The linter: collects the problems of persona files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from personakit.base import read_file, walk
from personakit.errors import PersonaError, Problem
from personakit.linting import names, plugin_uses, schemas, templates, test_cases, texts
from personakit.linting.children import Children
from personakit.linting.codes import CODES
from personakit.linting.source import Source
from personakit.persona import Persona, examine, yaml
from personakit.runner import Runner
from personakit.templates import CompiledPersona

ENDINGS = (".yaml", ".yml")
PARTIALS = "partials"
# `personakit test` stores the answers of models in `recordings`.
_LEFT_OUT = ("recordings", "__pycache__", "node_modules")


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """A problem, ready to print.

    Attributes:
        path: The file, as the user wrote it.
        line: The line, counted from 1.
        column: The column, counted from 1.
        severity: ``error`` or ``warning``.
        code: One of `codes.CODES`.
        message: What was found and what would be right, on one line.
    """

    path: str
    line: int
    column: int
    severity: str
    code: str
    message: str


def files_in(folder: Path) -> Iterator[Path]:
    """Yield the YAML files in a folder and its subfolders, except hidden ones and recordings."""
    return walk(folder, ENDINGS, _LEFT_OUT)


@dataclass(slots=True)
class Linter:
    """A checker of persona files.

    Attributes:
        runner: Provides the library and the plugins; nothing is run or sent.
        strict: True to report warnings as errors.
    """

    runner: Runner
    strict: bool = False
    _sources: dict[str, Source] = field(default_factory=dict)
    _children: Children | None = None
    _named: dict[tuple[Path, str], Path] = field(default_factory=dict)

    def check(self, files: Sequence[Path]) -> list[Finding]:
        """Return all problems in files, sorted by path, line and column."""
        findings: dict[tuple[object, ...], Finding] = {}
        self._children = Children(self.runner, files)
        for file in files:
            for problem in self._file(file):
                self._add(findings, problem)
            for problem in self._source(str(file)).faults:
                self._add(findings, problem)
        return sorted(findings.values())

    def _add(self, found: dict[tuple[object, ...], Finding], problem: Problem) -> None:
        """Add a problem, unless a comment silences it or another file reported it before."""
        source = self._source(problem.path)
        line, column = source.place(problem)
        if source.silences(problem.code, line):
            return
        severity = "error" if self.strict else CODES[problem.code].severity
        message = " ".join(problem.message.split())
        finding = Finding(problem.path, line, column, severity, problem.code, message)
        found.setdefault((os.path.realpath(problem.path), line, column, message), finding)

    def _source(self, path: str) -> Source:
        if path not in self._sources:
            self._sources[path] = Source.read(path)
        return self._sources[path]

    def _file(self, file: Path) -> Iterator[Problem]:
        try:
            parsed = yaml.parse(read_file(file, yaml.MAX_BYTES), str(file), file=file)
        except PersonaError as error:
            yield from _coded(error.problems)
            return
        except OSError as error:
            message = f"cannot be read: {error.strerror}"
            yield Problem(message, str(file), code="PK001")
            return
        abstract = PARTIALS in file.absolute().parent.parts
        library = self.runner.library
        persona, problems = examine(parsed, parents=library.parents(file), abstract=abstract)
        yield from _coded(problems)
        if persona is not None:
            yield from self._persona(file, persona, problems, abstract=abstract)

    def _persona(
        self, file: Path, persona: Persona, problems: Iterable[Problem], *, abstract: bool
    ) -> Iterator[Problem]:
        """Yield the problems of a persona that was parsed."""
        compiler = self.runner.catalog.templates()
        broken = any(problem.code == "PK002" for problem in problems)
        data = persona.document.data
        broken = broken or not isinstance(data.get("variables") or {}, dict)
        doubtful = _doubtful(persona, problems)
        compiled = CompiledPersona(compiler, persona)
        children = self._children or Children(self.runner, [file])
        yield from templates.check(
            compiler, compiled, broken=broken, doubtful=doubtful, abstract=abstract,
            inherited=lambda: children.used(file),
        )  # fmt: skip
        yield from plugin_uses.check(self.runner.plugins, persona)
        needs_prompt = templates.needs_prompt(compiler, persona)
        yield from test_cases.check(
            persona, broken=broken, doubtful=doubtful, needs_prompt=needs_prompt,
            drops_prompt=not compiled.problems and not compiled.takes_input,
            catalog=self.runner.catalog,
        )  # fmt: skip
        yield from schemas.check(persona)
        yield from texts.check(persona, self._source(str(file)).lines)
        if abstract:
            return
        yield from names.check(self.runner.library, file, persona)
        first = self._named.setdefault((file.parent, persona.name), file)
        if persona.name and first.stem != file.stem:
            message = f"name: {first.name} is named {persona.name!r}, too; rename one of them"
            yield persona.document.problem(message, ("name",), code="PK041")
        if not persona.description and data.get("description") is None:
            message = "`description` is missing; add one sentence for `personakit list`"
            yield persona.document.problem(message, code="PK060")


def _doubtful(persona: Persona, problems: Iterable[Problem]) -> set[str]:
    """Return the variables whose declaration has a problem."""
    places = {(p.line, p.column) for p in problems if p.path == persona.path}
    return {
        str(at[1])
        for at, mark in persona.document.marks.items()
        if len(at) > 1 and at[0] == "variables" and places & {mark[:2], mark[2:4]}
    }


def _coded(problems: Iterable[Problem]) -> Iterator[Problem]:
    """Yield problems with a code; problems of the YAML itself come without one."""
    for problem in problems:
        if problem.code:
            yield problem
        else:
            yield Problem(problem.message, problem.path, problem.line, problem.column, "PK001")
