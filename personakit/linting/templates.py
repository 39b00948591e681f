"""Checks of how the templates of a persona use its variables."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping, Set
from typing import Any

from jinja2 import nodes

from personakit.base import article, is_type
from personakit.errors import Problem, did_you_mean
from personakit.linting.fields import Fields, spelled
from personakit.persona import Persona, Text, Variable
from personakit.persona import variables as declarations
from personakit.templates import CompiledPersona, Place, TemplateCompiler, Tree


def check(
    templates: TemplateCompiler,
    compiled: CompiledPersona,
    *,
    broken: bool,
    doubtful: Set[str],
    abstract: bool,
    inherited: Callable[[], Set[str]],
) -> Iterator[Problem]:
    """Yield the problems of the texts of a persona and of the variables in them.

    Args:
        templates: Compiles the texts.
        compiled: The texts of the persona, as far as it could be parsed.
        broken: True if not all of its variables, or those of a parent, could be parsed.
        doubtful: Variables with an invalid declaration; their uses are not checked.
        abstract: True for a file that is only extended: its children may declare what it uses.
        inherited: Returns the names that the texts of its children use.
    """
    persona = compiled.persona
    for problem in compiled.problems:
        if problem.code != "PK023" or not (broken or abstract):
            yield problem
    unreadable = any(problem.code in ("PK020", "PK022") for problem in compiled.problems)
    if not unreadable and not abstract:
        yield from _unused(persona, compiled.used, inherited)
    own_prompt = isinstance(persona.document.data.get("prompt"), str)
    if own_prompt and not compiled.problems and not compiled.takes_input:
        yield compiled.unused_input()
    variables = {n: v for n, v in persona.variables.items() if n not in doubtful}
    for text in _own_texts(persona):
        tree = templates.parse(text.source)
        if tree is not None:
            # Jinja's search of a tree is recursive; a tree that is too deep was reported above.
            with contextlib.suppress(RecursionError):
                yield from _uses(tree, variables, Place.of(text), abstract)


def _uses(
    tree: Tree, variables: Mapping[str, Variable], place: Place, abstract: bool
) -> list[Problem]:
    """Return the problems of how a text uses the variables."""
    checks = _Text(tree, variables, place)
    fields = () if abstract else checks.unknown_fields()
    return [*checks.comparisons(), *checks.always_there(), *checks.maybe_null(), *fields]


def needs_prompt(templates: TemplateCompiler, persona: Persona) -> bool:
    """Check whether a persona's `prompt:` cannot be rendered without the user's input."""
    text = persona.prompt
    tree = templates.parse(text.source) if text is not None and not text.literal else None
    if tree is None:
        return False
    uses = [node for node in tree.find(nodes.Name) if node.name == "input"]
    guards = [
        node
        for node in tree.find(nodes.Test, nodes.Filter)
        if node.name in ("defined", "undefined", "default", "d")
        and isinstance(node.node, nodes.Name)
        and node.node.name == "input"
    ]
    return bool(uses) and not guards and all(node.ctx == "load" for node in uses)


def _own_texts(persona: Persona) -> Iterator[Text]:
    """Yield the templates in the persona's own file."""
    texts = (persona.system, *(text for _, text in persona.messages), persona.prompt)
    for text in texts:
        if text is not None and text.document is persona.document and not text.literal:
            yield text


def _unused(
    persona: Persona, used: set[str], inherited: Callable[[], Set[str]]
) -> Iterator[Problem]:
    declared = persona.document.data.get("variables")
    literal = persona.document.data.get("template") == "none"
    for name in declared if isinstance(declared, dict) else ():
        if name not in used and name in persona.variables and name not in inherited():
            why = "`template: none` makes every text literal" if literal else "no template uses it"
            way = "use or remove it"
            if name in declarations.KEYS:
                way += ", or indent it below the variable that it describes"
            if any(_in_braces(name, text.source) for text in _own_texts(persona)):
                way = f"a template writes {{{{ {name} }}}}, not {{{name}}}"
            message = f"variable {name!r} is declared, but {why}; {way}"
            at = ("variables", name)
            yield persona.document.problem(message, at, key=True, code="PK024")


def _in_braces(name: str, source: str) -> bool:
    """Return whether a text has a name in single braces, as Python's format strings do."""
    return re.search(rf"(?<!\{{)\{{ ?{name} ?\}}(?!\}})", source) is not None


class _Text:
    """A text of a persona.

    Attributes:
        tree: Its syntax tree.
        variables: The declared variables, except those that the text sets itself.
        place: Its position.
    """

    def __init__(self, tree: Tree, variables: Mapping[str, Variable], place: Place) -> None:
        self.tree = tree
        own = {node.name for node in tree.find(nodes.Name) if node.ctx != "load"}
        self.variables = {name: v for name, v in variables.items() if name not in own}
        self.fields = Fields(tree, variables)
        self.place = place

    def variable(self, node: nodes.Node) -> Variable | None:
        """Return the variable that a node refers to, or None."""
        return self.variables.get(node.name) if isinstance(node, nodes.Name) else None

    def declared(self, node: nodes.Node) -> Variable | None:
        """Return the variable, item or field that an expression refers to, or None.

        Its name is the expression as the template writes it.
        """
        if not isinstance(node, nodes.Name | nodes.Getattr | nodes.Getitem):
            return None
        variable = self.variable(node) or self.fields.type_of(node)
        return dataclasses.replace(variable, name=spelled(node)) if variable else None

    def unknown_fields(self) -> Iterator[Problem]:
        """Yield the fields that no value of a variable has."""
        for missing in self.fields.missing:
            yield self.place.problem(missing.message, missing.line, "PK029", missing.subject)

    def comparisons(self) -> Iterator[Problem]:
        """Yield comparisons of a variable with values that it cannot have."""
        for node in self.tree.find(nodes.Compare):
            if len(node.ops) != 1:
                continue
            left, operator, right = node.expr, node.ops[0].op, node.ops[0].expr
            if operator in ("eq", "ne") and isinstance(left, nodes.Const):
                left, right = right, left
            variable = self.declared(left)
            if variable is None:
                continue
            if operator in ("in", "notin"):
                values = right.items if isinstance(right, nodes.List | nodes.Tuple) else []
            else:
                values = [right] if operator in ("eq", "ne") else []
            for value in values:
                if isinstance(value, nodes.Const) and value.value is not None:
                    fault = _never(variable, value.value)
                    if fault:
                        outcome = "always" if operator in ("ne", "notin") else "never"
                        message = f"{fault}; the comparison is {outcome} true"
                        line, subject = value.lineno, str(value.value)
                        yield self.place.problem(message, line, "PK025", subject)

    def always_there(self) -> Iterator[Problem]:
        """Yield `is defined` tests and `default` filters of declared variables."""
        for node in self.tree.find(nodes.Test, nodes.Filter):
            variable = self.variable(node.node)
            if variable is None:
                continue
            name = variable.name
            if isinstance(node, nodes.Test) and node.name in ("defined", "undefined"):
                outcome = "always" if node.name == "defined" else "never"
                message = (
                    f"{name!r} is declared, so `{name} is {node.name}` is {outcome} true; "
                    f"write {{% if {name} %}}"
                )
            elif node.name in ("default", "d") and len(node.args) < 2 and not node.kwargs:
                message = (
                    f"{name!r} is declared, so `{name}|{node.name}` never applies; set "
                    f"`default:` under `variables:`, or use `|default(…, true)` for empty values"
                )
            else:
                continue
            subject = f"{name} is" if isinstance(node, nodes.Test) else f"{name}|{node.name}"
            yield self.place.problem(message, node.lineno, "PK026", subject)

    def maybe_null(self) -> Iterator[Problem]:
        """Yield variables that may be null and are written without a test."""
        tested = set(self._tested())
        for output in self.tree.find(nodes.Output):
            for node in output.nodes:
                variable = self.declared(node)
                if variable is None or variable.required or variable.default is not None:
                    continue
                name = variable.name
                if name not in tested:
                    message = (
                        f"{name!r} is null unless a value is set, and null cannot be written; "
                        f"add a default, or write {{% if {name} %}} around it"
                    )
                    yield self.place.problem(message, node.lineno, "PK027", name)

    def _tested(self) -> Iterator[str]:
        """Yield the names and fields in conditions."""
        for node in self.tree.find(nodes.If, nodes.CondExpr, nodes.For, nodes.And, nodes.Or):
            has_test = isinstance(node, nodes.If | nodes.CondExpr | nodes.For)
            condition: nodes.Node | None = node.test if has_test else node  # type: ignore[attr-defined]
            if condition is not None:
                kinds = (nodes.Name, nodes.Getattr, nodes.Getitem)
                uses = [condition, *condition.find_all(kinds)]
                yield from (spelled(use) for use in uses if isinstance(use, kinds))


def _never(variable: Variable, value: Any) -> str:
    """Return why a variable cannot have a value; empty if it can."""
    numbers = ("integer", "number")
    number = variable.type in numbers and is_type(value, "number")
    if not number and not is_type(value, variable.type):
        if variable.type == "boolean" and isinstance(value, int):
            return ""  # 1 == True
        return f"{variable.name!r} is {article(variable.type)}, never {value!r}"
    if variable.enum and value not in variable.enum:
        words = [str(word) for word in variable.enum]
        hint = did_you_mean(str(value), words) or f" (allowed: {', '.join(words)})"
        return f"{variable.name!r} is never {value!r}{hint}"
    return ""
