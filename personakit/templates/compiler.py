"""Compiling templates: the texts of personas and the partials that they include."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import jinja2
from jinja2 import meta, nodes

from personakit.base import State, state_of
from personakit.errors import Problem, TemplateError, UsageError, did_you_mean
from personakit.messages import Role
from personakit.persona import Text
from personakit.templates import budget
from personakit.templates.budget import Budget, Refused, current_budget
from personakit.templates.environment import Environment, environment
from personakit.templates.filters import measured

MAX_INCLUDES = 16
MAX_PROBLEMS = 50


@dataclass(frozen=True, slots=True)
class Place:
    """Where a template stands.

    Attributes:
        path: Its file.
        first: The line of the file on which it begins.
        label: The key that holds it, such as ``system``; empty for a file of its own.
        literal: Whether its lines are lines of the file; they are not where YAML folds lines.
    """

    path: str
    first: int = 1
    label: str = ""
    literal: bool = True

    @classmethod
    def of(cls, text: Text) -> Place:
        """Return the place of a persona's text."""
        mark = text.document.marks.get(text.at)
        label = ".".join(str(part) for part in text.at)
        if mark is None:
            return cls(text.document.path, 0, label)
        return cls(text.document.path, mark.text_line, label, mark.literal)

    def problem(
        self, message: str, line: int = 1, code: str = "PK020", subject: str = ""
    ) -> Problem:
        """Return a problem on a line of the template."""
        label = f"{self.label}: " if self.label else ""
        at = self.first + max(line, 1) - 1 if self.first and self.literal else self.first
        return Problem(f"{label}{message}", self.path, at, 0, code, subject)

    def fail(self, message: str, line: int = 1) -> NoReturn:
        """Raise a TemplateError for a line of the template."""
        raise TemplateError([self.problem(message, line)]) from None


@dataclass(frozen=True, slots=True)
class Unit:
    """A compiled template.

    Attributes:
        template: What renders it; None when there are problems.
        names: The names that it may take from outside, with the first line of each.
        stored: The names that it sets itself, somewhere.
        parts: Everything that it is made of: the place and source of itself and its partials.
        files: The partials, each with the state it was read in.
        problems: What is wrong with it and with its partials.
    """

    template: jinja2.Template | None
    names: Mapping[str, tuple[Place, int]]
    stored: frozenset[str]
    parts: tuple[tuple[Place, str], ...]
    files: Mapping[Path, State]
    problems: tuple[Problem, ...] = ()


class _Partials(jinja2.BaseLoader):
    """Hands out partials that are compiled already."""

    def __init__(self) -> None:
        self.units: dict[str, Unit] = {}

    def load(self, environment: Any, name: str, globals: Any = None) -> jinja2.Template:  # noqa: A002
        """Return a partial by its path."""
        if name not in self.units:
            raise jinja2.TemplateNotFound(name)
        template = self.units[name].template
        assert template is not None  # a template with a broken partial is never rendered
        return template


def _budget() -> Budget:
    """Return the budget of the persona that is being compiled, or a new one."""
    try:
        return current_budget.get()
    except LookupError:
        return Budget()


def _no_library(name: str, path: str) -> Path:
    raise UsageError(f"no library to include {name!r} from")


@dataclass(slots=True)
class TemplateCompiler:
    """Compiles templates.

    Attributes:
        filters: Further filters by name, asked for only when a template names one that Jinja
            does not have.
        globals: Further global names, likewise.
        find: Returns the file of a partial, by the name in the template and the template's file.
    """

    filters: Callable[[], Mapping[str, Callable[..., Any]]] = dict
    globals: Callable[[], Mapping[str, Any]] = dict
    find: Callable[[str, str], Path] = _no_library
    _env: Environment = field(default_factory=environment, init=False)
    _partials: _Partials = field(default_factory=_Partials, init=False)

    def __post_init__(self) -> None:
        self._env.loader = self._partials

    def compile(self, source: str, place: Place) -> Unit:
        """Compile a template; the `problems` of what is returned say what is wrong with it."""
        unit = self._compile(source, place, ())
        if unit.problems:
            # A broken partial is kept only as long as it may be met again; it may be mended.
            units = self._partials.units
            self._partials.units = {name: u for name, u in units.items() if not u.problems}
        return unit

    def parse(self, source: str) -> nodes.Template | None:
        """Return the syntax tree of a template; None when it is no template."""
        token = current_budget.set(_budget())
        try:
            return self._env.parse(source)
        except (jinja2.TemplateSyntaxError, RecursionError, Refused, ValueError):
            return None
        finally:
            current_budget.reset(token)

    def _compile(self, source: str, place: Place, stack: tuple[Path, ...]) -> Unit:
        problems: list[Problem] = []
        included: list[Unit] = []
        names: dict[str, tuple[Place, int]] = {}
        stored: frozenset[str] = frozenset()
        template = None
        token = current_budget.set(_budget())
        try:
            current_budget.get().charge(100)
            tree = self._env.parse(source)
            problems += list(self._unknown(tree, place))[:MAX_PROBLEMS]
            for made in self._included(tree, place, stack):
                included += [made] if isinstance(made, Unit) else []
                problems += made.problems if isinstance(made, Unit) else [made]
                problems = list(dict.fromkeys(problems))
            names, stored = _names(tree, place, included)
            if not problems:
                code = self._env.compile(tree, filename=place.path)
                template = jinja2.Template.from_code(self._env, code, self._env.globals, None)
        except jinja2.TemplateSyntaxError as error:
            problems.append(place.problem(_syntax_error(error.message), error.lineno))
        except RecursionError:
            problems.append(place.problem("the template is nested too deep"))
        except (Refused, MemoryError, SyntaxError, ValueError, OverflowError) as error:
            problems.append(place.problem(f"the template cannot be compiled: {error}"))
        finally:
            current_budget.reset(token)
        files: dict[Path, State] = {}
        for unit in included:
            files |= unit.files
        # Each once: partials that include one another many times would come to more than fits.
        parts = dict(part for unit in included for part in unit.parts)
        own = (place, source)
        return Unit(template, names, stored, (own, *parts.items()), files, tuple(problems))

    def _unknown(self, tree: nodes.Template, place: Place) -> Iterator[Problem]:
        """Yield the filters and tests that nobody brings, and put known ones in their place.

        Jinja finds the names in a tree by compiling it, which an unknown filter would stop.
        """
        self._ask_for_filters(tree)
        known = {"filter": set(self.known_filters()), "test": set(self._env.tests)}
        for node in tree.find_all((nodes.Filter, nodes.Test)):
            assert isinstance(node, nodes.Filter | nodes.Test)
            kind = type(node).__name__.lower()
            if node.name not in known[kind]:
                hint = did_you_mean(node.name, sorted(known[kind]))
                message = f"unknown {kind} {node.name!r}{hint}"
                yield place.problem(message, node.lineno, "PK021", node.name)
                node.name = "string"

    def _included(
        self, tree: nodes.Template, place: Place, stack: tuple[Path, ...]
    ) -> Iterator[Unit | Problem]:
        """Compile the partials of a template, and name each by its path in the tree."""
        for node in tree.find_all((nodes.Import, nodes.FromImport, nodes.Extends)):
            kind = {"FromImport": "from"}.get(type(node).__name__, type(node).__name__.lower())
            found = f"{{% {kind} %}} is not supported; use {{% include %}}"
            yield place.problem(found, node.lineno, "PK022", kind)
        for include in tree.find_all(nodes.Include):
            name = include.template
            if not isinstance(name, nodes.Const) or not isinstance(name.value, str):
                wanted = '{% include "partials/tone.md" %}'
                found = f"the name to include is written out, as in {wanted}"
                yield place.problem(found, include.lineno, "PK022", "include")
                continue
            try:
                file = self.find(name.value, place.path)
            except UsageError as error:
                if include.ignore_missing and "no file" in str(error):
                    include.template = nodes.Const("", lineno=include.lineno)
                else:
                    yield place.problem(str(error), include.lineno, "PK022", name.value)
                continue
            if file in stack or len(stack) >= MAX_INCLUDES:
                what = "includes itself" if file in stack else f"is the {MAX_INCLUDES}th in a row"
                found = f"include {name.value!r} {what}"
                yield place.problem(found, include.lineno, "PK022", name.value)
                continue
            include.template = nodes.Const(str(file), lineno=include.lineno)
            yield self._partial(file, (*stack, file))

    def _partial(self, file: Path, stack: tuple[Path, ...]) -> Unit | Problem:
        known = self._partials.units.get(str(file))
        if known is not None and fresh(known.files):
            return known
        place, state = Place(str(file)), state_of(file)
        try:
            with file.open("rb") as opened:
                data = opened.read(budget.MAX_SIZE + 1)
            source = data.decode("utf-8-sig").replace("\r\n", "\n")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            return place.problem("is not UTF-8", line, "PK022")
        except OSError as error:
            return place.problem(f"cannot be read: {error.strerror}", code="PK022")
        if len(data) > budget.MAX_SIZE:
            found = f"is too large to include: the limit is {budget.MAX_SIZE:,} bytes"
            return place.problem(found, code="PK022")
        unit = self._compile(source, place, stack)
        unit = dataclasses.replace(unit, files={**unit.files, file: state})
        self._partials.units[str(file)] = unit
        return unit

    def _ask_for_filters(self, tree: nodes.Template) -> None:
        """Ask the plugins when a filter is unknown."""
        used = {found.name for found in tree.find_all(nodes.Filter)}
        if used - self._env.filters.keys():
            for name, function in self.filters().items():
                made = measured(name, function)
                self._env.filters.setdefault(name, made)

    def known_globals(self, names: set[str]) -> set[str]:
        """Return which of the names are globals, asking the plugins if need be."""
        if names - self._env.globals.keys():
            for name, value in self.globals().items():
                self._env.globals.setdefault(name, value)
        return names & self._env.globals.keys()

    def known_filters(self) -> list[str]:
        """Return the names of the filters, without those of the plugins."""
        return [name for name in self._env.filters if not name.startswith("_")]


def fresh(files: Mapping[Path, State]) -> bool:
    """Tell whether files are still in the state they were read in."""
    return all(state_of(file) == state for file, state in files.items())


def _names(
    tree: nodes.Template, place: Place, included: list[Unit]
) -> tuple[dict[str, tuple[Place, int]], frozenset[str]]:
    """Return the names that a template and its partials take from outside, and those they set.

    A name that is set in a branch may be one of both.
    """
    lines: dict[str, int] = {}
    stored = {node.name for node in tree.find_all(nodes.Macro)}
    for node in tree.find_all(nodes.Name):
        lines.setdefault(node.name, node.lineno)
        if node.ctx != "load":
            stored.add(node.name)
    # As meta.find_undeclared_variables, which works constants out and fails where one of them does.
    tracker = meta.TrackingCodeGenerator(tree.environment)  # type: ignore[arg-type]
    tracker.optimizer = None
    tracker.visit(tree)
    names = {n: (place, lines.get(n, 1)) for n in tracker.undeclared_identifiers}
    for unit in included:
        for name, where in unit.names.items():
            names.setdefault(name, where)
        # What a partial sets stays in it, and so it may be missing there.
        stored |= unit.stored
    return names, frozenset(stored)


@dataclass(frozen=True, slots=True)
class Part:
    """One text of a persona, ready to render.

    Attributes:
        role: Whose message it makes.
        text: The text.
        unit: Its template; None for a text that renders to itself.
        parent: The system text of the parent, where the template uses `parent`.
    """

    role: Role
    text: Text
    unit: Unit | None
    parent: Part | None = None


# What authors write for what Jinja expects, by what its message holds; the first counts.
_HINTS = {
    "token ':', got '}'": "; between {{ and }} stands one expression, without further braces",
    "got '='": "; compare with ==",
    "got 'if'": "; write {% elif … %} for else if",
    "unexpected '}'": "; an expression ends in }}, a statement in %}",
    "got '}'": "; an expression ends in }}, a statement in %}",
    "got '&'": "; write `and`",
    "unexpected char '&'": "; write `and`",
    "unexpected char '!'": "; write `not`",
    "unexpected char '?'": "; write x if y else z",
    "'name', got '|'": "; write `or`",
    "unknown tag 'else": "; write {% elif … %} for else if",
    "unknown tag 'elsif": "; write {% elif … %} for else if",
}
_TAGS = "if elif else endif for endfor set endset include macro endmacro filter endfilter".split()
_CURLED = "\u201c\u201d\u201e\u2018\u2019"


def _syntax_error(message: str | None) -> str:
    """Return Jinja's message with what would be right, where that is known."""
    said = (message or "cannot be read").rstrip(".")
    hint = next((hint for part, hint in _HINTS.items() if part in said), "")
    if any(quote in said for quote in _CURLED):
        hint = "; write straight quotes"
    elif said.startswith("Encountered unknown tag") and not hint:
        tag = said.split("'")[1]
        hint = did_you_mean(tag, _TAGS) or f" (tags: {', '.join(_TAGS)})"
        hint = "; there is nothing open that it belongs to" if tag in _TAGS else hint
    return f"template syntax: {said}{hint}"
