"""The code generator of templates: Jinja's own, extended to charge for each step.

Each block of statements begins by charging for all nodes that are evaluated when it runs once, as
gas metering does in virtual machines. An operation that costs more than its nodes is charged in the
function that performs it; see `environment` and `filters`. A few expressions that are cheap for
values of exact types are inlined: looking up a key of a dict, an attribute of ``loop``, and
comparing short texts and numbers. All others call the environment, as in Jinja.

There is no second, unmetered code generator, so the results cannot differ.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import jinja2
from jinja2 import nodes
from jinja2.compiler import CodeGenerator
from jinja2.compiler import operators as PYTHON  # noqa: N812

SHORT = 4_096
"""The length up to which comparing or copying a text is included in the price of its node."""

_LOOP = frozenset("index index0 revindex revindex0 first last length depth depth0".split())
_VIEWS = frozenset(("items", "keys", "values"))
# Nodes that cost at least one Python call.
_PRICES: dict[type[nodes.Node], int] = {
    nodes.Call: 4,
    nodes.Filter: 3,
    nodes.Test: 2,
    nodes.Getattr: 2,
    nodes.Getitem: 2,
    nodes.Include: 10,
    nodes.Macro: 4,
    nodes.CallBlock: 4,
    nodes.For: 3,
}
# Fields with nested statements, which charge for themselves when they run.
_BODIES: dict[type[nodes.Node], tuple[str, ...]] = {
    nodes.For: ("body", "else_"),
    nodes.If: ("body", "else_"),
    nodes.Macro: ("body",),
    nodes.CallBlock: ("body",),
    nodes.FilterBlock: ("body",),
    nodes.AssignBlock: ("body",),
    nodes.With: ("body",),
    nodes.Scope: ("body",),
}


def price(node: nodes.Node) -> int:
    """Return the steps of running a statement once, without its nested blocks."""
    total, waiting = 0, [node]
    while waiting:
        item = waiting.pop()
        total += _PRICES.get(type(item), 1)
        waiting.extend(item.iter_child_nodes(exclude=_BODIES.get(type(item))))
    return total


class MeteredCodeGenerator(CodeGenerator):
    """A code generator whose output charges for each step.

    Attributes:
        undeclared: The names that the template may read from the context; complete after `visit`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.undeclared: set[str] = set()
        # The price of what runs before a list of statements, by the identity of the list.
        self._before: dict[int, int] = {}

    def enter_frame(self, frame: Any) -> None:
        """Collect names as `jinja2.meta.TrackingCodeGenerator` does, without a second walk."""
        super().enter_frame(frame)
        loads = [name for action, name in frame.symbols.loads.values() if action == "resolve"]
        self.undeclared.update(name for name in loads if name not in self.environment.globals)

    def write_commons(self) -> None:
        """Write the local variables of each function, such as the budget of the render."""
        super().write_commons()
        self.writeline("budget = environment.budget()")
        self.writeline("text, compared = environment.text, environment.compared")

    def pay(self, steps: int) -> None:
        """Write the statement that charges steps."""
        self.writeline(f"budget.left -= {steps}")
        self.writeline("if budget.left < 0: budget.exhausted()")

    def blockvisit(self, nodes: Iterable[nodes.Node], frame: Any) -> None:
        """Write a block of statements that begins by charging for all of them."""
        statements = list(nodes)
        self.pay(1 + sum(map(price, statements)) + self._before.pop(id(nodes), 0))
        super().blockvisit(statements, frame)

    # --- output ----------------------------------------------------------------------------------

    def _output_child_to_const(self, node: Any, frame: Any, finalize: Any) -> str:
        """Evaluate no expression while compiling: it could exceed every limit."""
        if not isinstance(node, nodes.TemplateData):
            raise nodes.Impossible
        return str(node.as_const(frame.eval_ctx))

    def _output_child_pre(self, node: Any, frame: Any, finalize: Any) -> None:
        self.write("(_v if (_c := (_v := ")

    def _output_child_post(self, node: Any, frame: Any, finalize: Any) -> None:
        self.write(").__class__) is str else str(_v) if _c is int else text(_v))")

    # --- inlined expressions ---------------------------------------------------------------------

    def visit_Const(self, node: nodes.Const, frame: Any) -> None:  # noqa: N802
        """Write a constant; reject a float without a literal in Python, such as infinity."""
        if isinstance(node.value, float) and not math.isfinite(node.value):
            self.fail("a number is too large: the largest is about 1.8e308", node.lineno)
        super().visit_Const(node, frame)

    def visit_Getattr(self, node: nodes.Getattr, frame: Any) -> None:  # noqa: N802
        """Write the lookup of a key or an attribute."""
        target = node.node
        if isinstance(target, nodes.Name) and target.name == "loop" and node.attr in _LOOP:
            slow = f"environment.getattr(_o, {node.attr!r})"
            self._inline(target, f"_o.{node.attr}", "is LoopContext", slow, frame)
        elif hasattr(dict, node.attr):
            # Jinja prefers the method even if the mapping has a key of that name.
            self.write("environment.method(")
            self.visit(target, frame)
            self.write(f", {node.attr!r}, {_shown(target)!r})")
        else:
            self._key(target, node.attr, f"environment.getattr(_o, {node.attr!r})", frame)

    def visit_Getitem(self, node: nodes.Getitem, frame: Any) -> None:  # noqa: N802
        """Write the lookup of an item; a slice is a copy and is charged by its size."""
        if isinstance(node.arg, nodes.Slice):
            with self._around("environment.copied(", ")"):
                super().visit_Getitem(node, frame)
        elif isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, str):
            self._key(
                node.node, node.arg.value, f"environment.getitem(_o, {node.arg.value!r})", frame
            )
        else:
            super().visit_Getitem(node, frame)

    def _key(self, target: nodes.Node, key: str, slow: str, frame: Any) -> None:
        """Write the lookup of a key, inlined for exact dicts."""
        self._inline(target, f"_o[{key!r}]", f"is dict and {key!r} in _o", slow, frame)

    def _inline(self, target: nodes.Node, fast: str, test: str, slow: str, frame: Any) -> None:
        self.write(f"({fast} if (_o := ")
        self.visit(target, frame)
        self.write(f").__class__ {test} else {slow})")

    def visit_Compare(self, node: nodes.Compare, frame: Any) -> None:  # noqa: N802
        """Write a comparison; all but short texts and numbers are charged by size."""
        operators = [operand.op for operand in node.ops]
        if operators in (["in"], ["notin"]):
            self.write("(not " if operators == ["notin"] else "(")
            self.write("environment.contains(")
            self.visit(node.expr, frame)
            self.write(", ")
            self.visit(node.ops[0].expr, frame)
            self.write("))")
            return
        searched = not {"in", "notin"}.isdisjoint(operators)
        self.write("(")
        self._side(node.expr, frame, searched=searched)
        for operand in node.ops:
            self.write(f" {PYTHON[operand.op]} ")
            self._side(operand.expr, frame, searched=searched)
        self.write(")")

    def _side(self, node: nodes.Node, frame: Any, *, searched: bool) -> None:
        if isinstance(node, nodes.Const) and not (searched or _is_long(node.value)):
            self.visit(node, frame)
            return
        self.write("environment.searched(" if searched else "(_s if (_c := (_s := ")
        self.visit(node, frame)
        short = f").__class__) is int or _c is str and len(_s) < {SHORT} else compared(_s))"
        self.write(")" if searched else short)

    # --- expressions charged by their result -----------------------------------------------------

    def visit_Concat(self, node: nodes.Concat, frame: Any) -> None:  # noqa: N802
        """Write a concatenation with `~`."""
        self.write("environment.concatenated((")
        for part in node.nodes:
            self.visit(part, frame)
            self.write(", ")
        self.write("))")

    def visit_List(self, node: nodes.List, frame: Any) -> None:  # noqa: N802
        """Write a list, which may contain large lists."""
        with self._held(node.items):
            super().visit_List(node, frame)

    def visit_Tuple(self, node: nodes.Tuple, frame: Any) -> None:  # noqa: N802
        """Write a tuple, or the target of an assignment."""
        with self._held(node.items if node.ctx == "load" else []):
            super().visit_Tuple(node, frame)

    def visit_Dict(self, node: nodes.Dict, frame: Any) -> None:  # noqa: N802
        """Write a dict."""
        with self._held([part for pair in node.items for part in (pair.key, pair.value)]):
            super().visit_Dict(node, frame)

    def _held(self, items: list[Any]) -> Any:
        """Return a context that charges for a display, unless all its items are constants."""
        if all(isinstance(item, nodes.Const) for item in items):
            return self._around("", "")
        return self._around("environment.made(", ")")

    @contextmanager
    def _around(self, before: str, after: str) -> Iterator[None]:
        self.write(before)
        yield
        self.write(after)

    # --- statements ------------------------------------------------------------------------------

    def visit_For(self, node: nodes.For, frame: Any) -> None:  # noqa: N802
        """Write a loop; its filter is charged for every item, also for those that it drops."""
        if node.test is not None:
            steps = nodes.Const(1 + price(node.test), lineno=node.lineno)
            attribute = nodes.EnvironmentAttribute("steps", lineno=node.lineno)
            plain = node.iter
            node.iter = nodes.Call(attribute, [plain, steps], [], None, None, lineno=node.lineno)
            super().visit_For(node, frame)
            # The linter reads the tree, too.
            node.iter = plain
        else:
            super().visit_For(node, frame)

    def visit_Call(self, node: nodes.Call, frame: Any, forward_caller: bool = False) -> None:  # noqa: N802, D102
        if isinstance(node.node, nodes.EnvironmentAttribute):
            self.visit(node.node, frame)
            self.write("(")
            for argument in node.args:
                self.visit(argument, frame)
                self.write(", ")
            self.write(")")
            return
        called = node.node
        if isinstance(called, nodes.Getattr):
            given = (node.args, node.kwargs, node.dyn_args, node.dyn_kwargs)
            if called.attr in _VIEWS and not any(given):
                slow = f"environment.call(context, environment.getattr(_o, {called.attr!r}))"
                self._inline(called.node, f"_o.{called.attr}()", "is dict", slow, frame)
                return
            # In a call, the name means the method of a mapping, not a key.
            self.write("environment.call(context, environment.getattr(")
            self.visit(called.node, frame)
            self.write(f", {called.attr!r})")
            self._arguments(node, frame, forward_caller=forward_caller)
            return
        super().visit_Call(node, frame, forward_caller=forward_caller)

    def _arguments(self, node: nodes.Call, frame: Any, *, forward_caller: bool) -> None:
        """Write the rest of a call, as `CodeGenerator.visit_Call` does."""
        more = {"caller": "caller"} if forward_caller else {}
        more |= {"_loop_vars": "_loop_vars"} if frame.loop_frame else {}
        more |= {"_block_vars": "_block_vars"} if frame.block_frame else {}
        self.signature(node, frame, more or None)
        self.write(")")

    def macro_body(self, node: Any, frame: Any) -> Any:
        """Write a macro; its defaults are evaluated, and charged, at each call."""
        self._before[id(node.body)] = sum(map(price, node.defaults))
        return super().macro_body(node, frame)

    def visit_ScopedEvalContextModifier(self, node: Any, frame: Any) -> NoReturn:  # noqa: N802
        """Reject {% autoescape %}."""
        self.fail("{% autoescape %} is not supported: a prompt is not HTML", node.lineno)

    def visit_Block(self, node: nodes.Block, frame: Any) -> NoReturn:  # noqa: N802
        """Reject {% block %}: in a loop, each iteration would copy all variables."""
        message = "{% block %} is not supported; use {% macro %} or {% include %}"
        self.fail(message, node.lineno)

    def fail(self, msg: str, lineno: int) -> NoReturn:
        """Raise a TemplateSyntaxError."""
        raise jinja2.TemplateSyntaxError(msg, lineno, self.name, self.filename)


def _is_long(value: Any) -> bool:
    return isinstance(value, str) and len(value) >= SHORT


def _shown(node: nodes.Node) -> str:
    """Return the source of a name with attributes; ``it`` for any other expression."""
    if isinstance(node, nodes.Name):
        return node.name
    if isinstance(node, nodes.Getattr):
        return f"{_shown(node.node)}.{node.attr}"
    return "it"
