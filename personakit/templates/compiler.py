"""Compiling templates: the texts of personas and their partials."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import jinja2
from jinja2 import meta, nodes

from personakit.base import State, read_file, state_of
from personakit.errors import PersonaNotFound, Problem, TemplateError, UsageError, did_you_mean
from personakit.messages import Message, Role
from personakit.persona import Text
from personakit.templates import budget
from personakit.templates.budget import Budget, Refused, current_budget
from personakit.templates.codegen import MeteredCodeGenerator
from personakit.templates.environment import Environment, environment
from personakit.templates.filters import measured

MAX_INCLUDES = 16
MAX_PROBLEMS = 50

_Node = TypeVar("_Node", bound=nodes.Node)


@dataclass(frozen=True, slots=True)
class Place:
    """The location of a template.

    Attributes:
        path: The path of its file.
        first: The line of the file on which it begins; 0 if unknown.
        label: The key that contains it, such as ``system``; empty for a partial.
        literal: Whether its lines are lines of the file; False where YAML folds lines.
    """

    path: str
    first: int = 1
    label: str = ""
    literal: bool = True

    @classmethod
    def of(cls, text: Text) -> Place:
        """Return the location of a persona's text."""
        mark = text.document.marks.get(text.at)
        label = ".".join(str(part) for part in text.at)
        if mark is None:
            return cls(text.document.path, 0, label)
        return cls(text.document.path, mark.text_line, label, mark.literal)

    def problem(
        self, message: str, line: int = 1, code: str = "PK020", subject: str = ""
    ) -> Problem:
        """Return a problem on a line of the template, counted from 1."""
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
        template: The Jinja template; None if there are problems.
        names: The names that it may read from the context, with the first line of each.
        stored: The names that it sets.
        parts: The location and source of the template and of each partial.
        files: The partials, each with its state when it was read.
        problems: The problems of the template and its partials.
    """

    template: jinja2.Template | None
    names: Mapping[str, tuple[Place, int]]
    stored: frozenset[str]
    parts: tuple[tuple[Place, str], ...]
    files: Mapping[Path, State]
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class Tree:
    """A syntax tree with a list of its nodes: Jinja walks the whole tree for each search.

    Attributes:
        root: The root.
        below: All nodes below it, in the order of `nodes.Node.find_all`.
    """

    root: nodes.Template
    below: list[nodes.Node]

    @classmethod
    def of(cls, root: nodes.Template) -> Tree:
        """Return a tree by its root.

        Raises:
            RecursionError: The tree is too deep.
        """
        return cls(root, list(root.find_all(nodes.Node)))

    def find(self, *kinds: type[_Node]) -> list[_Node]:
        """Return the nodes of some types."""
        return [node for node in self.below if isinstance(node, kinds)]


class _Partials(jinja2.BaseLoader):
    """A loader of compiled partials."""

    def __init__(self) -> None:
        self.units: dict[str, Unit] = {}

    def load(self, environment: Any, name: str, globals: Any = None) -> jinja2.Template:  # noqa: A002
        """Return the compiled partial with a path."""
        if name not in self.units:
            raise jinja2.TemplateNotFound(name)
        template = self.units[name].template
        assert template is not None  # a template with a broken partial is never rendered
        return template


def _budget() -> Budget:
    """Return the budget of the persona being compiled, or a new budget."""
    try:
        return current_budget.get()
    except LookupError:
        return Budget()


def _no_library(name: str, path: str) -> Path:
    raise UsageError(f"cannot include {name!r}: the persona is not in a library")


@dataclass(slots=True)
class TemplateCompiler:
    """A compiler of templates, which caches partials.

    Attributes:
        filters: Returns further filters by name; called only if a template uses a filter that
            Jinja does not have.
        globals: Returns further global names; called only if a name is otherwise undefined.
        find: Returns the file of a partial for its name and the path of the template's file.
        trees: The syntax trees of valid templates by their source, for `parse`; None to keep none.
    """

    filters: Callable[[], Mapping[str, Callable[..., Any]]] = dict
    globals: Callable[[], Mapping[str, Any]] = dict
    find: Callable[[str, str], Path] = _no_library
    trees: dict[str, Tree] | None = None
    _env: Environment = field(default_factory=environment, init=False)
    _partials: _Partials = field(default_factory=_Partials, init=False)

    def __post_init__(self) -> None:
        self._env.loader = self._partials

    def compile(self, source: str, place: Place) -> Unit:
        """Compile a template; errors are in the `problems` of the result."""
        unit = self._compile(source, place, ())
        if unit.problems:
            # A broken partial is cached only during one compilation: its file may be fixed later.
            units = self._partials.units
            self._partials.units = {name: u for name, u in units.items() if not u.problems}
        return unit

    def parse(self, source: str) -> Tree | None:
        """Return the syntax tree of a template; None if its syntax is invalid."""
        if self.trees is not None and source in self.trees:
            return self.trees[source]
        token = current_budget.set(_budget())
        try:
            return Tree.of(self._env.parse(source))
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
            tree = Tree.of(self._env.parse(source))
            problems += list(self._unknown(tree, place))[:MAX_PROBLEMS]
            for unit in self._included(tree, place, stack):
                included += [unit] if isinstance(unit, Unit) else []
                problems += unit.problems if isinstance(unit, Unit) else [unit]
                problems = list(dict.fromkeys(problems))
            code = StringIO()
            generator = MeteredCodeGenerator(self._env, None, place.path, code, optimized=False)
            if not problems:
                problems += _visit(generator, tree, place)
            undeclared = _undeclared(tree) if problems else generator.undeclared
            names, stored = _names(tree, undeclared, place, included)
            if not problems:
                made = compile(code.getvalue(), place.path, "exec")
                template = jinja2.Template.from_code(self._env, made, self._env.globals, None)
                if self.trees is not None:
                    self.trees[source] = tree
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
        # Each part once: partials that include each other often would multiply their size.
        parts = dict(part for unit in included for part in unit.parts)
        own = (place, source)
        return Unit(template, names, stored, (own, *parts.items()), files, tuple(problems))

    def _unknown(self, tree: Tree, place: Place) -> Iterator[Problem]:
        """Yield a problem for each unknown filter and test, and replace it with a known one.

        Jinja finds the names in a tree by compiling it, which fails for an unknown filter.
        """
        self._ask_for_filters(tree)
        choices = {"filter": set(self.known_filters()), "test": set(self._env.tests)}
        for node in tree.find(nodes.Filter, nodes.Test):
            kind = type(node).__name__.lower()
            if node.name not in choices[kind]:
                hint = did_you_mean(node.name, sorted(choices[kind]))
                message = f"unknown {kind} {node.name!r}{hint}"
                yield place.problem(message, node.lineno, "PK021", node.name)
                node.name = "string"

    def _included(
        self, tree: Tree, place: Place, stack: tuple[Path, ...]
    ) -> Iterator[Unit | Problem]:
        """Compile the partials of a template, and replace each name in the tree by its path."""
        for node in tree.find(nodes.Import, nodes.FromImport, nodes.Extends):
            kind = {"FromImport": "from"}.get(type(node).__name__, type(node).__name__.lower())
            message = f"{{% {kind} %}} is not supported; use {{% include %}}"
            yield place.problem(message, node.lineno, "PK022", kind)
        for include in tree.find(nodes.Include):
            name = include.template
            if not isinstance(name, nodes.Const) or not isinstance(name.value, str):
                example = '{% include "partials/tone.md" %}'
                message = f"the path to include must be a literal string, as in {example}"
                yield place.problem(message, include.lineno, "PK022", "include")
                continue
            try:
                file = self.find(name.value, place.path)
            except UsageError as error:
                if include.ignore_missing and isinstance(error, PersonaNotFound):
                    include.template = nodes.Const("", lineno=include.lineno)
                else:
                    yield place.problem(str(error), include.lineno, "PK022", name.value)
                continue
            if file in stack or len(stack) >= MAX_INCLUDES:
                limit = f"exceeds the limit of {MAX_INCLUDES} nested includes"
                what = "includes itself" if file in stack else limit
                message = f"include {name.value!r} {what}"
                yield place.problem(message, include.lineno, "PK022", name.value)
                continue
            include.template = nodes.Const(str(file), lineno=include.lineno)
            yield self._partial(file, (*stack, file))

    def _partial(self, file: Path, stack: tuple[Path, ...]) -> Unit | Problem:
        cached = self._partials.units.get(str(file))
        if cached is not None and fresh(cached.files):
            return cached
        place, state = Place(str(file)), state_of(file)
        try:
            data = read_file(file, budget.MAX_SIZE)
            source = data.decode("utf-8-sig").replace("\r\n", "\n")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            return place.problem("not valid UTF-8; save the file as UTF-8", line, "PK022")
        except OSError as error:
            return place.problem(f"cannot be read: {error.strerror}", code="PK022")
        unit = self._compile(source, place, stack)
        unit = dataclasses.replace(unit, files={**unit.files, file: state})
        self._partials.units[str(file)] = unit
        return unit

    def _ask_for_filters(self, tree: Tree) -> None:
        """Add the filters of the plugins if the template uses an unknown filter."""
        used = {node.name for node in tree.find(nodes.Filter)}
        if used - self._env.filters.keys():
            for name, function in self.filters().items():
                self._env.filters.setdefault(name, measured(name, function))

    def known_globals(self, names: set[str]) -> set[str]:
        """Return the global names among `names`; ask the plugins only for unknown names."""
        if names - self._env.globals.keys():
            for name, value in self.globals().items():
                self._env.globals.setdefault(name, value)
        return names & self._env.globals.keys()

    def known_filters(self) -> list[str]:
        """Return the names of the filters, without those of the plugins."""
        return [name for name in self._env.filters if not name.startswith("_")]


def fresh(files: Mapping[Path, State]) -> bool:
    """Return whether files are unchanged since they were read."""
    return all(state_of(file) == state for file, state in files.items())


def _visit(generator: MeteredCodeGenerator, tree: Tree, place: Place) -> list[Problem]:
    """Generate the code of a template, and return the problem that stops it, if any."""
    try:
        generator.visit(tree.root)
    except jinja2.TemplateSyntaxError as error:
        return [place.problem(_syntax_error(error.message), error.lineno)]
    return []


def _undeclared(tree: Tree) -> set[str]:
    """Return the names that a template reads from the context, which need not be valid."""
    # As meta.find_undeclared_variables, which evaluates constants and fails if one of them fails.
    tracker = meta.TrackingCodeGenerator(tree.root.environment)  # type: ignore[arg-type]
    tracker.optimizer = None
    tracker.visit(tree.root)
    return tracker.undeclared_identifiers


def _names(
    tree: Tree, undeclared: set[str], place: Place, included: list[Unit]
) -> tuple[dict[str, tuple[Place, int]], frozenset[str]]:
    """Return the names that a template and its partials read from the context, and those they set.

    A name that is set in a branch may be in both.
    """
    lines: dict[str, int] = {}
    stored = {node.name for node in tree.find(nodes.Macro)}
    for node in tree.find(nodes.Name):
        lines.setdefault(node.name, node.lineno)
        if node.ctx != "load":
            stored.add(node.name)
    names = {n: (place, lines.get(n, 1)) for n in undeclared}
    for unit in included:
        for name, where in unit.names.items():
            names.setdefault(name, where)
        # What a partial sets stays in it, and so it may be missing there.
        stored |= unit.stored
    return names, frozenset(stored)


@dataclass(frozen=True, slots=True)
class Part:
    """One text of a persona, compiled for rendering.

    Attributes:
        role: The role of its message.
        text: The text.
        unit: The compiled template; None for a text without template syntax.
        parent: The system text of the parent, if the template uses `parent`.
        fixed: The message of a text without template syntax, created once.
    """

    role: Role
    text: Text
    unit: Unit | None
    parent: Part | None = None
    fixed: Message | None = None


# Advice for frequent mistakes, by a part of Jinja's message; the first match counts.
_HINTS = {
    "token ':', got '}'": "; write one expression between {{ and }}, without further braces",
    "got '='": "; compare with ==",
    "got 'if'": "; write {% elif … %} for else if",
    "unexpected '}'": "; an expression ends in }}, a statement in %}",
    "got '}'": "; an expression ends in }}, a statement in %}",
    "got '&'": "; write `and`",
    "unexpected char '&'": "; write `and`",
    "unexpected char '#'": "; write {% if … %} for {{#if}}, and {% for … %} for {{#each}}",
    "end of comment tag": "; a comment ends in #}",
    "unexpected char '!'": "; write `not`",
    "unexpected char '?'": "; write x if y else z",
    "'name', got '|'": "; write `or`",
    "unknown tag 'else": "; write {% elif … %} for else if",
    "unknown tag 'elsif": "; write {% elif … %} for else if",
}
_TAGS = "if elif else endif for endfor set endset include macro endmacro filter endfilter".split()
_CURLED = "\u201c\u201d\u201e\u2018\u2019"


def _syntax_error(message: str | None) -> str:
    """Return Jinja's message with advice for frequent mistakes."""
    text = (message or "cannot be read").rstrip(".")
    hint = next((hint for part, hint in _HINTS.items() if part in text), "")
    inner = re.search(r"end of template.*needs to be closed is '(\w+)'", text)
    if inner:
        text = f"a {{% {inner[1]} %}} is not closed; write {{% end{inner[1]} %}} where it ends"
    if any(quote in text for quote in _CURLED):
        hint = "; write straight quotes"
    elif text.startswith("Encountered unknown tag") and not hint:
        tag = text.split("'")[1]
        hint = did_you_mean(tag, _TAGS) or f" (tags: {', '.join(_TAGS)})"
        hint = "; no open tag matches it" if tag in _TAGS else hint
        innermost = re.search(r"following tags: '(end\w+)'", text)
        if innermost and tag.startswith("end"):
            text, hint = f"found {{% {tag} %}}, expected {{% {innermost[1]} %}}", ""
    return f"template syntax: {text}{hint}"
