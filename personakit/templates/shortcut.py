"""A shortcut around the meter, for templates whose cost is known before they run.

To charge for every operation costs several times what the operations do. Most templates write
variables, test them and loop over lists, and need none of it: they are compiled a second time,
without the meter. Three rules keep every promise of `sandbox` and `cost`:

- A shortcut decides nothing. Another kind of value, a large result or any error ends the attempt,
  and the template is rendered again in the metered way, which says what is wrong. That can be done
  at any time, because a template changes nothing.
- It meets plain values only (see `plain`), so that no operation runs anybody's code.
- It is bounded, below what the meter allows. Each part of a template is a step. A loop is charged
  for all of its turns when it is entered, so the steps are bounded before they are done; and so are
  the characters that are looked at, as if each operation that reads a text read the longest one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.visitor import NodeTransformer

from personakit.templates import operations, plain, unmetered

Partial = Callable[[str, str], tuple[nodes.Template, str]]

# Beyond it, compiling a second time would take longer than it is worth.
_MAX_NODES = 2_000
# Parts that cost the same whatever the values are; what is written is counted at the end.
_CONSTANT = (
    nodes.Output, nodes.TemplateData, nodes.Name, nodes.Const, nodes.If, nodes.For, nodes.Assign,
    nodes.With, nodes.And, nodes.Or, nodes.Not, nodes.CondExpr, nodes.Include, nodes.Tuple,
    nodes.Break, nodes.Continue, nodes.Call,
)  # fmt: skip
# Parts that may read a text, or make one.
_LINEAR = (
    nodes.Getattr, nodes.Getitem, nodes.Slice, nodes.Compare, nodes.Operand, nodes.Filter,
    nodes.Test, nodes.Concat, nodes.Add, nodes.Sub, nodes.Mul, nodes.Div, nodes.FloorDiv,
    nodes.Mod, nodes.Neg, nodes.Pos,
)  # fmt: skip


class NoShortcut(Exception):
    """A template has something in it that needs the meter."""


@dataclass(frozen=True, slots=True)
class Shortcut:
    """A template that is compiled without the meter.

    Attributes:
        root: What renders it, with a `plain.Context`.
        steps: The number of its parts, without those in loops.
        linear: How many of them may read or make a text.
        longest: The length of the longest text written out in it.
        piece: The length of the longest text between its tags.
    """

    root: plain.Root
    steps: int
    linear: int
    longest: int
    piece: int


def shortcut(
    env: unmetered.Environment, tree: nodes.Template, path: str, partial: Partial
) -> Shortcut | None:
    """Return the shortcut of a template, or None for one that needs the meter.

    Args:
        env: What compiles it.
        tree: Its syntax tree, which is used up.
        path: Its file.
        partial: Returns the syntax tree and the file of a partial, given the name in an include
            and the file that holds it.
    """
    found = _Shortener(partial, path)
    try:
        # A scope, so that a name which is set at the top is not exported.
        body = nodes.Scope([found.visit(child) for child in tree.body], lineno=1)
        whole = nodes.Template([body], lineno=1)
        whole.set_environment(env)
        template = jinja2.Template.from_code(env, env.compile(whole), env.globals, None)
    # What cannot be compiled here has been compiled, or refused, with the meter.
    except (NoShortcut, jinja2.TemplateError, RecursionError, SyntaxError, MemoryError):
        return None
    return Shortcut(
        template.root_render_func, found.steps, found.linear, found.longest, found.piece
    )


class _Shortener(NodeTransformer):
    """Rewrites a syntax tree for a shortcut, counting its parts.

    Attributes:
        total: The number of parts.
        steps: The number of parts of the innermost loop, or of what stands in none.
        linear: How many of those may read or make a text.
        longest: As in `Shortcut`.
        piece: As in `Shortcut`.
    """

    def __init__(self, partial: Partial, path: str) -> None:
        self.partial, self.path = partial, path
        self.total = self.steps = self.linear = 0
        self.longest = self.piece = 1

    def visit(self, node: nodes.Node, *args: Any, **kwargs: Any) -> Any:
        """Count a part, and refuse one that is of another kind."""
        if not isinstance(node, _CONSTANT + _LINEAR):
            raise NoShortcut
        self.total += 1
        if self.total > _MAX_NODES:
            raise NoShortcut
        self.steps += 1
        self.linear += isinstance(node, _LINEAR)
        return super().visit(node, *args, **kwargs)

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802
        """Charge for the turns of a loop as it is entered."""
        if node.recursive:
            raise NoShortcut
        self._targets(node.target)
        node.iter = self._iterated(node.iter)
        before, self.steps, self.linear = (self.steps, self.linear), 1, 0
        node.body = [self.visit(child) for child in node.body]
        node.test = self.visit(node.test) if node.test is not None else None
        costs = [nodes.Const(self.steps), nodes.Const(self.linear)]
        self.steps, self.linear = before
        node.else_ = [self.visit(child) for child in node.else_]
        node.iter = self._filter(node.iter, "_each", *costs)
        return node

    def _iterated(self, node: Any) -> Any:
        """Return what a loop goes over: a variable, a list that is written out, or a view."""
        if _written_out(node):
            self.longest = max(self.longest, _length(node))
            return node
        method = _method(node)
        if method in operations.VIEWS:
            return self._filter(self.visit(node.node.node), f".{method}")
        if _is_range(node):
            first, *rest = [self.visit(limit) for limit in node.args]
            return self._filter(first, "_range", *rest)
        return self.visit(node)

    def visit_Assign(self, node: nodes.Assign) -> nodes.Node:  # noqa: N802
        """Let a name be set, and no more than a name."""
        self._targets(node.target)
        node.node = self.visit(node.node)
        return node

    def visit_With(self, node: nodes.With) -> nodes.Node:  # noqa: N802
        """As `visit_Assign`."""
        self._targets(*node.targets)
        return self.generic_visit(node)

    @staticmethod
    def _targets(*targets: nodes.Node) -> None:
        held = [t.items if isinstance(t, nodes.Tuple) else [t] for t in targets]
        names = [name for items in held for name in items]
        if not all(isinstance(n, nodes.Name) and n.name not in ("loop", "range") for n in names):
            raise NoShortcut

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:  # noqa: N802
        """Refuse a tuple that is no target: written out it would not be like a list."""
        if node.ctx != "store":
            raise NoShortcut
        return node

    def visit_Const(self, node: nodes.Const) -> nodes.Node:  # noqa: N802
        """Refuse nothing (null), which the metered way does not write."""
        if type(node.value) not in (str, int, float, bool):
            raise NoShortcut
        self.longest = max(self.longest, len(str(node.value)))
        return node

    def visit_TemplateData(self, node: nodes.TemplateData) -> nodes.Node:  # noqa: N802
        """Note how long a piece is."""
        self.piece = max(self.piece, len(node.data))
        return node

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:  # noqa: N802
        """Let a value be compared with null, and looked for in a list that is written out."""
        node.expr = self.visit(node.expr)
        for side in node.ops:
            self.steps, self.linear = self.steps + 1, self.linear + 1
            null = isinstance(side.expr, nodes.Const) and side.expr.value is None
            listed = side.op in ("in", "notin") and _written_out(side.expr)
            self.longest = max(self.longest, _length(side.expr))
            if not listed and not (null and side.op in ("eq", "ne")):
                side.expr = self.visit(side.expr)
        return node

    def visit_Getattr(self, node: nodes.Getattr) -> nodes.Node:  # noqa: N802
        """Refuse what would be a method of a mapping."""
        if node.attr.startswith("_") or hasattr(dict, node.attr):
            raise NoShortcut
        node.ctx = "load"
        return self.generic_visit(node)

    def visit_Call(self, node: nodes.Call) -> nodes.Node:  # noqa: N802
        """Turn a method of a text into a filter; refuse any other call."""
        called = node.node
        if not isinstance(called, nodes.Getattr) or called.attr not in operations.METHODS:
            raise NoShortcut
        if node.kwargs or node.dyn_args or node.dyn_kwargs:
            raise NoShortcut
        self.linear += 1
        text, *given = [self.visit(value) for value in (called.node, *node.args)]
        return self._filter(text, f".{called.attr}", *given)

    def visit_Name(self, node: nodes.Name) -> nodes.Node:  # noqa: N802
        """Refuse the template itself."""
        if node.name == "self":
            raise NoShortcut
        return node

    def visit_Filter(self, node: nodes.Filter) -> nodes.Node:  # noqa: N802
        """Refuse a filter that is not known to be cheap."""
        if node.dyn_args or node.dyn_kwargs or node.name not in operations.SAFE_FILTERS:
            raise NoShortcut
        node.node = self.visit(self._mapped(node))
        if node.name in ("default", "d"):
            _may_be_missing(node.node)
        node.args = [self.visit(argument) for argument in node.args]
        for pair in node.kwargs:
            pair.value = self.visit(pair.value)
        return node

    @staticmethod
    def _mapped(node: nodes.Filter) -> nodes.Node:
        """Return what a filter is given, `map(attribute=…)|join` taken as one filter."""
        inner = node.node
        if inner is None:
            raise NoShortcut
        if node.name == "join" and isinstance(inner, nodes.Filter) and inner.name == "map":
            known = not inner.args and [pair.key for pair in inner.kwargs] == ["attribute"]
            if not known or inner.node is None or len(node.args) > 1 or node.kwargs:
                raise NoShortcut
            node.kwargs, inner = inner.kwargs, inner.node
        return inner

    def visit_Test(self, node: nodes.Test) -> nodes.Node:  # noqa: N802
        """Refuse a test that is not known to be cheap."""
        if node.dyn_args or node.dyn_kwargs or node.kwargs or node.name not in operations.TESTS:
            raise NoShortcut
        node.node = self.visit(node.node)
        node.args = [self.visit(argument) for argument in node.args]
        _may_be_missing(node.node)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        """Write the operands of `~` as an output is written."""
        first, *rest = [self.visit(operand) for operand in node.nodes]
        return self._filter(first, "_concat", *rest)

    def visit_Include(self, node: nodes.Include) -> nodes.Node:  # noqa: N802
        """Put a partial in the place where it is included."""
        if not node.with_context or not isinstance(node.template, nodes.Const):
            raise NoShortcut
        tree, path = self.partial(node.template.value, self.path)
        outer, self.path = self.path, path
        body = [self.visit(child) for child in tree.body]
        self.path = outer
        return nodes.Scope(body, lineno=node.lineno)

    def _filter(self, value: Any, name: str, *args: Any) -> nodes.Filter:
        return nodes.Filter(value, name, list(args), [], None, None, lineno=value.lineno)


def _written_out(node: nodes.Node) -> bool:
    return isinstance(node, nodes.List | nodes.Tuple) and all(
        isinstance(item, nodes.Const) and item.value is not None for item in node.items
    )


def _is_range(node: Any) -> bool:
    named = isinstance(node, nodes.Call) and isinstance(node.node, nodes.Name) and node.args
    return bool(named and node.node.name == "range" and not (node.kwargs or node.dyn_args))


def _may_be_missing(node: nodes.Node) -> None:
    """Let a key be looked up with care: most are there, and one that is not is a mistake."""
    if isinstance(node, nodes.Getattr):
        node.ctx = "maybe"


def _length(node: nodes.Node) -> int:
    """Return the length of a list that is written out, all its texts counted."""
    items = node.items if isinstance(node, nodes.List | nodes.Tuple) else []
    return len(items) + sum(len(str(getattr(item, "value", ""))) for item in items)


def _method(node: nodes.Node) -> str:
    """Return the name of a method that is called without arguments."""
    if not isinstance(node, nodes.Call) or not isinstance(node.node, nodes.Getattr):
        return ""
    given = node.args or node.kwargs or node.dyn_args or node.dyn_kwargs
    return "" if given else node.node.attr
