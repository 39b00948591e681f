"""How templates use their names."""

from __future__ import annotations

from collections.abc import Iterable

from jinja2 import nodes

from personakit.templates.compiler import Part, TemplateCompiler

_CAPTURES = (nodes.AssignBlock, nodes.CallBlock, nodes.FilterBlock, nodes.Macro)


_CHOICES = (
    nodes.And,
    nodes.Compare,
    nodes.CondExpr,
    nodes.Const,
    nodes.Not,
    nodes.Operand,
    nodes.Or,
    nodes.Test,
)


def _written(output: nodes.Expr) -> list[nodes.Name]:
    """Return the names of an output that is a value itself, or an empty text in its place.

    So are ``{{ x }}``, ``{{ x or '' }}`` and ``{{ x if x is not none else '' }}``.
    """
    if isinstance(output, nodes.Name):
        return [output]
    names = list(output.find_all(nodes.Name))
    below = [node for node in output.find_all(nodes.Node) if not isinstance(node, nodes.Name)]
    same = len({name.name for name in names}) == 1
    chooses = isinstance(output, nodes.CondExpr | nodes.Or)
    texts = [n.value for n in below if isinstance(n, nodes.Const) and isinstance(n.value, str)]
    known = all(isinstance(node, _CHOICES) for node in below)
    return names if same and chooses and known and {*texts} <= {"", "true", "false"} else []


def written_as_they_are(templates: TemplateCompiler, parts: Iterable[Part]) -> set[str]:
    """Return the names that templates write unchanged wherever they use them.

    Any text can stand for such a value, and is found again in what is rendered.

    Args:
        templates: Parses the templates.
        parts: The texts.
    """
    plain: set[str] = set()
    other: set[str] = set()
    for part in parts:
        for _, source in part.unit.parts if part.unit is not None else ():
            tree = templates.parse(source)
            if tree is None:
                continue
            captured = bool(tree.find(*_CAPTURES))
            outputs = [child for output in tree.find(nodes.Output) for child in output.nodes]
            written = set() if captured else {id(n) for one in outputs for n in _written(one)}
            for name in tree.find(nodes.Name):
                (plain if id(name) in written else other).add(name.name)
    return plain - other
