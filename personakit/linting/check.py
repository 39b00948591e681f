"""The linter: collects the problems of persona files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from personakit.base import LOADED, Texts, brief_repr, is_file, is_stream, overlaid, walk
from personakit.errors import PersonaError, Problem, UsageError
from personakit.linting import names, plugin_uses, schemas, templates, test_cases, texts
from personakit.linting.children import Children
from personakit.linting.codes import CODES
from personakit.linting.source import Source
from personakit.persona import Persona, examine, yaml
from personakit.runner import Runner
from personakit.templates import CompiledPersona, TemplateCompiler

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
        code: The kind of problem, such as ``PK010``; docs/lint.md lists them.
        message: What was found and what would be right, on one line.
        end_line: The line on which it ends.
        end_column: The column after its last character, counted from 1. A finding about a mapping
            or list of several lines ends after its first key.
    """

    path: str
    line: int
    column: int
    severity: str
    code: str
    message: str
    end_line: int
    end_column: int

    __repr__ = brief_repr


@dataclass(slots=True)
class Examined:
    """A persona file as the linter sees it.

    Attributes:
        findings: All problems, sorted.
        persona: The persona, as far as it could be parsed; None if it could not.
        compiled: Its compiled templates; None without a persona.
        stops: The problems that stop it from being rendered, with their places.
    """

    findings: list[Finding] = field(default_factory=list)
    persona: Persona | None = None
    compiled: CompiledPersona | None = None
    stops: list[Problem] = field(default_factory=list)


def files_in(folder: Path) -> Iterator[Path]:
    """Yield the YAML files in a folder and its subfolders, except hidden ones and recordings."""
    return walk(folder, ENDINGS, _LEFT_OUT)


@dataclass(slots=True)
class Linter:
    """A checker of persona files.

    Attributes:
        runner: Provides the library and the plugins; nothing is run or sent.
        strict: True to report warnings as errors.
        texts: Texts that take the place of files, by path, as those of an editor that are not
            saved. A file need not exist. Personas extend and include them, too.
    """

    runner: Runner
    strict: bool = False
    texts: Texts = field(default_factory=dict)
    _sources: dict[str, Source] = field(default_factory=dict)
    _children: Children = field(init=False)
    _compiler: TemplateCompiler = field(init=False)
    _named: dict[tuple[Path, str], Path] = field(default_factory=dict)

    def check(self, files: Sequence[Path | str]) -> list[Finding]:
        """Return all problems in files, sorted by path, line and column.

        Args:
            files: The files, and as a str the references of personas that plugins load.
        """
        found: dict[tuple[object, ...], Finding] = {}
        with overlaid(self.texts):
            self._begin(files)
            for file in files:
                self._collect(file, found, Examined())
        return sorted(found.values())

    def examine(self, file: Path) -> Examined:
        """Return the problems of a file, and its persona compiled for rendering."""
        found: dict[tuple[object, ...], Finding] = {}
        result = Examined()
        with overlaid(self.texts):
            self._begin([file])
            self._collect(file, found, result)
        result.findings = sorted(found.values())
        return result

    def placed(self, problem: Problem) -> Problem:
        """Return a problem with its start and end in its file."""
        return self._source(problem.path).placed(problem)

    def _begin(self, files: Sequence[Path | str]) -> None:
        self._sources.clear()
        self._named.clear()
        # Not the compiler of the runs, which could include a partial that is not saved.
        self._compiler = self.runner.catalog.compiler({})
        paths = [file for file in files if isinstance(file, Path)]
        self._children = Children(self.runner, self._compiler, [*paths, *map(Path, self.texts)])

    def _collect(
        self, file: Path | str, found: dict[tuple[object, ...], Finding], into: Examined
    ) -> None:
        for problem in self._file(file, into):
            self._add(found, problem)
        for problem in self._source(str(file)).faults:
            self._add(found, problem)
        if into.compiled is not None:
            into.stops += into.compiled.problems
        into.stops = [self.placed(problem) for problem in into.stops]

    def _add(self, found: dict[tuple[object, ...], Finding], problem: Problem) -> None:
        """Add a problem, unless a comment silences it or another file reported it before."""
        source = self._source(problem.path)
        problem = source.placed(problem)
        line, column = problem.line, problem.column
        if source.silences(problem.code, line):
            return
        severity = "error" if self.strict else CODES[problem.code].severity
        message = " ".join(problem.message.split())
        end = problem.end_line, problem.end_column
        finding = Finding(problem.path, line, column, severity, problem.code, message, *end)
        found.setdefault((os.path.realpath(problem.path), line, column, message), finding)

    def _source(self, path: str) -> Source:
        if path not in self._sources:
            self._sources[path] = Source.read(path, self._loaded(path))
        return self._sources[path]

    def _loaded(self, path: str) -> bytes | None:
        """Return the text of a persona that a plugin loads; None for a file."""
        if not LOADED.match(path) or is_file(path):
            return None
        try:
            text = self.runner.library.text(path)
        except UsageError:
            return None
        return text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text

    def _file(self, file: Path | str, into: Examined) -> Iterator[Problem]:
        source = self._source(str(file))
        if source.fault is not None:
            message = f"cannot be read: {source.fault.strerror}"
            into.stops = [Problem(message, str(file), code="PK001")]
            yield from into.stops
            return
        try:
            loaded = isinstance(file, str)
            parsed = yaml.parse(source.data, str(file), file=file, loaded=loaded)
        except PersonaError as error:
            into.stops = _coded(error.problems)
            yield from into.stops
            return
        abstract = not isinstance(file, str) and _is_partial(file)
        library = self.runner.library
        persona, problems = examine(parsed, parents=library.parents(file), abstract=abstract)
        into.persona, into.stops = persona, _coded(problems)
        yield from into.stops
        if persona is not None:
            # A copy, which does not keep the persona in the catalog: see `Catalog.compiled`.
            into.compiled = CompiledPersona(self._compiler, replace(persona))
            yield from self._persona(file, into.compiled, problems, abstract=abstract)

    def _persona(
        self,
        file: Path | str,
        compiled: CompiledPersona,
        problems: Iterable[Problem],
        *,
        abstract: bool,
    ) -> Iterator[Problem]:
        """Yield the problems of a persona that was parsed."""
        compiler, persona = self._compiler, compiled.persona
        broken = any(problem.code == "PK002" for problem in problems)
        data = persona.document.data
        broken = broken or not isinstance(data.get("variables") or {}, dict)
        doubtful = _doubtful(persona, problems)
        children = self._children
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
        if not persona.description and data.get("description") is None:
            message = "`description` is missing; add one sentence for `personakit list`"
            yield persona.document.problem(message, code="PK060")
        if isinstance(file, str) or is_stream(file):
            return
        yield from names.check(self.runner.library, file, persona)
        first = self._named.setdefault((file.parent, persona.name), file)
        if persona.name and first.stem != file.stem:
            message = f"name: {first.name} is named {persona.name!r}, too; rename one of them"
            yield persona.document.problem(message, ("name",), code="PK041")


def _is_partial(file: Path) -> bool:
    return PARTIALS in file.absolute().parent.parts and not is_stream(file)


def _doubtful(persona: Persona, problems: Iterable[Problem]) -> set[str]:
    """Return the variables whose declaration has a problem."""
    places = {(p.line, p.column) for p in problems if p.path == persona.path}
    return {
        str(at[1])
        for at, mark in persona.document.marks.items()
        if len(at) > 1 and at[0] == "variables" and places & {mark[:2], mark[2:4]}
    }


def _coded(problems: Iterable[Problem]) -> list[Problem]:
    """Return problems with a code; problems of the YAML itself come without one."""
    return [problem if problem.code else replace(problem, code="PK001") for problem in problems]
