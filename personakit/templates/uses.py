"""How templates use their names."""

from __future__ import annotations

from collections.abc import Iterable

from jinja2 import nodes

from personakit.templates.compiler import Part, TemplateCompiler

_CAPTURES = (nodes.AssignBlock, nodes.CallBlock, nodes.FilterBlock, nodes.Macro)


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
            written = set() if captured else {id(n) for n in outputs if isinstance(n, nodes.Name)}
            for name in tree.find(nodes.Name):
                (plain if id(name) in written else other).add(name.name)
    return plain - other
