"""The declared type of each expression in a template, and the fields that no value has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from jinja2 import nodes

from personakit.errors import did_you_mean
from personakit.persona import Variable
from personakit.templates import Tree

Scope = dict[str, Variable | None]
_METHODS = {"object": frozenset(dir(dict)), "array": frozenset(dir(list))}
# Filters that return the items of a list, in a list; and those that return one item.
_LISTS = frozenset("sort reverse unique list select reject selectattr rejectattr".split())
_ITEM = frozenset("first last min max".split())
# The position of the argument that names a field; other filters have it as a keyword only.
_ATTRIBUTES = {"selectattr": 0, "rejectattr": 0, "groupby": 0, "sum": 0, "join": 1, "sort": 2}
_ATTRIBUTES |= {"unique": 1, "min": 1, "max": 1, "map": 9}


class Missing(NamedTuple):
    """A field that no value of a variable has.

    Attributes:
        message: What was found and what would be right.
        line: The line of the template, counted from 1.
        subject: The text to point at.
    """

    message: str
    line: int
    subject: str


class Fields:
    """The types of the expressions in a template, as far as they are known without its values.

    Args:
        tree: The syntax tree of the template.
        variables: The declared variables.

    Attributes:
        missing: The fields that the template reads and that no value has.
    """

    def __init__(self, tree: Tree, variables: Mapping[str, Variable]) -> None:
        self.missing: list[Missing] = []
        self._types: dict[int, Variable] = {}
        self._handlers: dict[type[nodes.Node], Callable[..., Variable | None]] = {
            nodes.Name: self._name,
            nodes.Getattr: self._getattr,
            nodes.Getitem: self._getitem,
            nodes.Filter: self._filter,
            nodes.For: self._for,
            nodes.Assign: self._assign,
            nodes.AssignBlock: self._block,
            nodes.Macro: self._block,
            nodes.CallBlock: self._block,
            nodes.With: self._block,
        }
        loops = {id(name) for loop in tree.find(nodes.For) for name in _targets(loop.target)}
        names = [name for name in tree.find(nodes.Name) if name.ctx != "load"]
        # A name of a loop is known in the loop; one that is set elsewhere, only if it is set once.
        self._set = Counter(name.name for name in names if id(name) not in loops)
        self._set.update(
            name.name for name in names if id(name) in loops and name.name in self._set
        )
        self._set.update(name for name in variables if name in self._set)
        self._set.update({node.name: 2 for node in tree.find(nodes.Macro)})
        self._see(tree.root, {n: v for n, v in variables.items() if n not in self._set})

    def type_of(self, node: nodes.Node) -> Variable | None:
        """Return the declaration of what an expression refers to; None if it is unknown."""
        return self._types.get(id(node))

    def _see(self, node: nodes.Node, scope: Scope) -> Variable | None:
        handler = self._handlers.get(type(node))
        if handler is None:
            self._children(node, scope)
            return None
        result = handler(node, scope)
        if result is not None:
            self._types[id(node)] = result
        return result

    def _children(self, node: nodes.Node, scope: Scope) -> None:
        for child in node.iter_child_nodes():
            self._see(child, scope)

    def _name(self, node: nodes.Name, scope: Scope) -> Variable | None:
        return scope.get(node.name) if node.ctx == "load" else None

    def _getattr(self, node: nodes.Getattr, scope: Scope) -> Variable | None:
        base = self._see(node.node, scope)
        if base is None or node.attr in _METHODS.get(base.type, ()):
            return None
        return self._field(base, node.attr, node, spelled(node.node))

    def _getitem(self, node: nodes.Getitem, scope: Scope) -> Variable | None:
        base = self._see(node.node, scope)
        self._see(node.arg, scope)
        if base is None:
            return None
        if isinstance(node.arg, nodes.Slice):
            return base if base.type == "array" else None
        key = node.arg.value if isinstance(node.arg, nodes.Const) else None
        if isinstance(key, str):
            return self._field(base, key, node, spelled(node.node))
        return base.items

    def _field(self, base: Variable, name: str, node: nodes.Node, where: str) -> Variable | None:
        """Return a field of an object; note that no value has it."""
        if base.items is not None:
            message = (
                f"{where!r} is an array, which has no field {name!r}; write a loop, as in "
                f"{{% for item in {where} %}}{{{{ item.{name} }}}}{{% endfor %}}"
            )
            self.missing.append(Missing(message, node.lineno, f".{name}"))
        if not base.properties or name in base.properties:
            return base.properties.get(name)
        if not base.additional:
            known = f" (declared: {', '.join(base.properties)})"
            hint = did_you_mean(name, base.properties) or known
            message = f"{where!r} has no field {name!r}{hint}"
            self.missing.append(Missing(message, node.lineno, f".{name}"))
        return None

    def _filter(self, node: nodes.Filter, scope: Scope) -> Variable | None:
        base = self._see(node.node, scope) if node.node is not None else None
        for argument in (*node.args, *node.kwargs):
            self._see(argument, scope)
        if base is None or base.items is None or node.node is None:
            return None
        if node.name in _ATTRIBUTES:
            field = self._attribute(node, base.items, spelled(node.node))
            if node.name == "map":
                return Variable(base.name, "array", items=field) if field else None
        if node.name in _ITEM:
            return base.items
        return base if node.name in _LISTS else None

    def _attribute(self, node: nodes.Filter, item: Variable, where: str) -> Variable | None:
        """Return the field that a filter such as ``map(attribute="name")`` reads."""
        keywords: dict[str, nodes.Node] = {str(pair.key): pair.value for pair in node.kwargs}
        at = _ATTRIBUTES[node.name]
        written = node.args[at] if len(node.args) > at else keywords.get("attribute")
        if not isinstance(written, nodes.Const) or not isinstance(written.value, str):
            return None
        if "default" in keywords:
            return None
        field: Variable | None = None
        for path in written.value.split(",") if node.name == "sort" else [written.value]:
            field, place = item, f"{where}[]"
            for name in path.split("."):
                if field is not None and not name.isdigit():
                    field = self._field(field, name, node, place)
                    place = f"{place}.{name}"
        return field

    def _for(self, node: nodes.For, scope: Scope) -> None:
        base = self._see(node.iter, scope)
        inner = {**scope, **dict.fromkeys((it.name for it in _targets(node.target)), None)}
        # The items of a recursive loop also come from other lists.
        single = node.target if not node.recursive and isinstance(node.target, nodes.Name) else None
        if single is not None and single.name not in self._set:
            inner[single.name] = base.items if base is not None else None
        if node.test is not None:
            self._see(node.test, inner)
        for part, names in ((node.body, inner), (node.else_, dict(scope))):
            for child in part:
                self._see(child, names)

    def _assign(self, node: nodes.Assign, scope: Scope) -> None:
        value = self._see(node.node, scope)
        if isinstance(node.target, nodes.Name) and self._set[node.target.name] == 1:
            scope[node.target.name] = value

    def _block(self, node: nodes.Node, scope: Scope) -> None:
        """See a statement that sets names of its own, which `_set` contains."""
        self._children(node, dict(scope))


def spelled(node: nodes.Node) -> str:
    """Return an expression of names, fields and indexes as a template writes it."""
    if isinstance(node, nodes.Name):
        return node.name
    if isinstance(node, nodes.Getattr):
        return f"{spelled(node.node)}.{node.attr}"
    if isinstance(node, nodes.Getitem):
        key = repr(node.arg.value) if isinstance(node.arg, nodes.Const) else "…"
        return f"{spelled(node.node)}[{key}]"
    inner = node.node if isinstance(node, nodes.Filter) and node.node is not None else None
    return f"{spelled(inner)}|{node.name}" if isinstance(node, nodes.Filter) and inner else "…"


def _targets(target: nodes.Node) -> Iterator[nodes.Name]:
    yield from [target] if isinstance(target, nodes.Name) else target.find_all(nodes.Name)
