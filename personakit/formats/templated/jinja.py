"""Templates of Jinja2 with other settings, and those of Nunjucks, as templates of a persona."""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import jinja2
from jinja2 import meta, nodes

from personakit.formats.draft import Draft
from personakit.formats.note import Unreadable
from personakit.formats.templates import Builder, Text

_GIVEN = frozenset(
    "range dict namespace loop lipsum cycler joiner caller varargs kwargs self "
    "true false none True False None".split()
)
"""The names that Jinja2 gives a template."""
_TAG = re.compile(
    r"""\{([{%])((?:[^'"{}%]|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[{}%](?![}]))*?)"""
    r"[%}]\}"
)
_STRING = re.compile(r"""("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')""")
_OPERATORS = (
    (re.compile(r"!=="), "!="),
    (re.compile(r"==="), "=="),
    (re.compile(r"&&"), " and "),
    (re.compile(r"\|\|"), " or "),
    (re.compile(r"!(?!=)"), " not "),
    (re.compile(r"\|\s*dump\b"), "| tojson(compact=true)"),
    (re.compile(r"\b([A-Za-z_][\w.]*)\.length\b"), r"(\1 | length)"),
    (re.compile(r"\b(?:undefined|null)\b"), "none"),
)
_LONGEST = 1_000_000


@functools.cache
def _environment() -> jinja2.Environment:
    # It only parses: nothing is rendered with it.
    return jinja2.Environment(  # noqa: S701
        keep_trailing_newline=True, extensions=["jinja2.ext.loopcontrols"]
    )


@dataclass(slots=True)
class Uses:
    """What a template does with its variables.

    Attributes:
        names: The variables, in the order of the text.
        types: The type of each that is used as more than a text.
    """

    names: list[str] = field(default_factory=list)
    types: dict[str, str] = field(default_factory=dict)


def uses_of(source: str) -> Uses:
    """Return what a template of Jinja2 does with its variables.

    Raises:
        Unreadable: It is no template.
    """
    try:
        tree = _environment().parse(source)
        undeclared = meta.find_undeclared_variables(tree)
    except jinja2.TemplateSyntaxError as error:
        raise Unreadable(f"not a template: {error.message}", error.lineno) from None
    except (jinja2.TemplateError, RecursionError) as error:
        raise Unreadable(f"not a template that can be read: {error}") from None
    uses = Uses()
    written = [n for output in tree.find_all(nodes.Output) for n in output.nodes]
    plain = {id(node) for node in written if isinstance(node, nodes.Name)}
    for node in tree.find_all(nodes.Name):
        if node.name in undeclared and node.name not in _GIVEN:
            if node.name not in uses.names:
                uses.names.append(node.name)
            if id(node) not in plain and not _is_text(node, written):
                uses.types[node.name] = "any"
    return uses


def _is_text(node: nodes.Name, written: Iterable[nodes.Node]) -> bool:
    """Return whether a name is only passed through filters of texts before it is written."""
    for part in written:
        current: Any = part
        while isinstance(current, nodes.Filter) and current.name in _TEXT_FILTERS:
            current = current.node
        if current is node:
            return True
    return False


_TEXT_FILTERS = "capitalize default escape e lower safe string title trim truncate upper".split()


def adapted(source: str, draft: Draft, *, optional: bool, known: Collection[str] = ()) -> Text:
    """Return a template of Jinja2 as one of a persona.

    Args:
        source: The template, for an environment with Jinja2's own defaults.
        draft: Its variables are declared.
        optional: Whether a variable without a value is empty; otherwise it is required.
        known: The variables that the source declares, whose type is known.

    Raises:
        Unreadable: It is no template, or does what a persona cannot do.
    """
    if len(source) > _LONGEST:
        raise Unreadable(f"a template has {len(source):,} characters; the limit is {_LONGEST:,}")
    source = _defined_as_none(source)
    uses = uses_of(source)
    wrapped = set()
    for name in uses.names:
        given = draft.variables.get(draft.renamed.get(name, ""), {})
        declared: dict[str, Any] = {}
        if name not in known and "type" not in given and name in uses.types:
            declared["type"] = "any"
        if optional and "default" not in given and not given.get("required"):
            declared["required"] = False
            wrapped.add(name)
        draft.variable(name, **declared)
    builder = Builder()
    for kind, tokens in _parts(source):
        if kind == "text":
            builder.text(tokens[0][1])
        elif kind == "expression":
            code = "".join(_rewritten(tokens, draft, uses, wrapped)).strip()
            bare = _bare(tokens)
            if bare in wrapped:
                own = draft.renamed[bare]
                is_text = draft.variables[own].get("type", "string") == "string"
                code = f"{own} or ''" if is_text else f"{own} if {own} is not none else ''"
            builder.expression(code)
        else:
            builder.statement("".join(_rewritten(tokens, draft, uses, set())).strip())
    return builder.built()


_Token = tuple[str, str]


def _parts(source: str) -> Iterator[tuple[str, list[_Token]]]:
    """Yield texts, and the tokens of expressions and statements."""
    tag: list[_Token] | None = None
    kind = ""
    for _, name, value in _environment().lex(source):
        if name in ("variable_begin", "block_begin"):
            tag, kind = [], "expression" if name == "variable_begin" else "statement"
        elif name in ("variable_end", "block_end"):
            yield kind, tag or []
            tag = None
        elif tag is not None:
            tag.append((name, value))
        elif name == "data":
            yield "text", [("data", value)]


def _bare(tokens: list[_Token]) -> str:
    """Return the name that is the whole of an expression; else nothing."""
    found = [token for token in tokens if token[0] != "whitespace"]
    return found[0][1] if len(found) == 1 and found[0][0] == "name" else ""


def _rewritten(tokens: list[_Token], draft: Draft, uses: Uses, wrapped: set[str]) -> Iterator[str]:
    """Yield the code of tokens with the persona's names of variables."""
    found = [index for index, token in enumerate(tokens) if token[0] != "whitespace"]
    after = dict(itertools.pairwise(found))
    before = {right: left for left, right in after.items()}
    for index, (kind, value) in enumerate(tokens):
        if kind != "name" or value not in uses.names:
            yield value
            continue
        left = tokens[before[index]][1] if index in before else ""
        right = tokens[after[index]][1] if index in after else ""
        is_argument = right == "=" and left in ("(", ",")
        if left in (".", "|", "is") or is_argument:
            yield value
            continue
        own = draft.renamed[value]
        alone = right not in (".", "[", "(", "is") and left != "in"
        if value not in wrapped or not alone:
            yield own
        elif draft.variables[own].get("type", "string") == "string":
            yield f"({own} or '')"
        else:
            yield f"({own} if {own} is not none else '')"


_DEFAULT = re.compile(
    r"""(?<![\w.|'"])([A-Za-z_]\w*)\s*\|\s*(?:default|d)\(\s*"""
    r"""("[^"\\]*"|'[^'\\]*'|[\w.]+)\s*(,\s*true\s*)?\)"""
)


def _default(match: re.Match[str]) -> str:
    name, value, falsy = match.groups()
    return f"({name} or {value})" if falsy else f"({name} if {name} is not none else {value})"


def _defined_as_none(source: str) -> str:
    """Return a template in which ``x is defined`` is ``x is not none``.

    All variables of a persona are defined; those without a value are null.
    """

    def tag(match: re.Match[str]) -> str:
        text = _DEFAULT.sub(_default, match[0])
        text = re.sub(r"\bis\s+not\s+defined\b", "is none", text)
        text = re.sub(r"\bis\s+undefined\b", "is none", text)
        return re.sub(r"\bis\s+defined\b", "is not none", text)

    return _TAG.sub(tag, source)


def from_nunjucks(source: str) -> str:
    """Return a template of Nunjucks as one of Jinja2: its operators and filters are spelled so."""

    def tag(match: re.Match[str]) -> str:
        parts = _STRING.split(match[2])
        for index in range(0, len(parts), 2):
            for pattern, other in _OPERATORS:
                parts[index] = pattern.sub(other, parts[index])
        end = "}}" if match[1] == "{" else "%}"
        return f"{{{match[1]}{''.join(parts)}{end}"

    return _TAG.sub(tag, source)
