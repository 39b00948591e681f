"""The code that a template is compiled to: Jinja's own, which pays for what it does.

Each block of statements begins by paying for all the nodes that are evaluated when it runs once, as
gas metering does for virtual machines. What takes longer than its nodes say pays more in the
function that does it, see `environment` and `filters`. A few expressions that are cheap for values
of exactly these types are written out: looking up a key of a dict, an attribute of ``loop``, and
comparing short texts and numbers. All others call the environment, as in Jinja.

This is the only way in which a template renders, so there is nothing that could differ.
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
"""Characters up to which a text is compared or copied for the price of a node."""

_LOOP = frozenset("index index0 revindex revindex0 first last length depth depth0".split())
_VIEWS = frozenset(("items", "keys", "values"))
# Nodes whose work is a call of Python's, at least.
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
# The statements inside them pay for themselves when they run.
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
    """Return the steps of a statement that runs once, without those of the blocks inside it."""
    total, waiting = 0, [node]
    while waiting:
        item = waiting.pop()
        total += _PRICES.get(type(item), 1)
        waiting.extend(item.iter_child_nodes(exclude=_BODIES.get(type(item))))
    return total


class MeteredCodeGenerator(CodeGenerator):
    """Writes code that pays for itself."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # What is evaluated before the statements of a list, by the list's identity.
        self._before: dict[int, int] = {}

    def write_commons(self) -> None:
        """Give each function of a template the budget of the render."""
        super().write_commons()
        self.writeline("budget = environment.budget()")
        self.writeline("text, compared = environment.text, environment.compared")

    def pay(self, steps: int) -> None:
        """Write the statement that takes steps off the budget."""
        self.writeline(f"budget.left -= {steps}")
        self.writeline("if budget.left < 0: budget.exhausted()")

    def blockvisit(self, nodes: Iterable[nodes.Node], frame: Any) -> None:
        """Write statements, which run together, and what they cost."""
        statements = list(nodes)
        self.pay(1 + sum(map(price, statements)) + self._before.pop(id(nodes), 0))
        super().blockvisit(statements, frame)

    # --- what is written -------------------------------------------------------------------------

    def _output_child_to_const(self, node: Any, frame: Any, finalize: Any) -> str:
        """Work nothing out while compiling: an expression may be a bomb."""
        if not isinstance(node, nodes.TemplateData):
            raise nodes.Impossible
        return str(node.as_const(frame.eval_ctx))

    def _output_child_pre(self, node: Any, frame: Any, finalize: Any) -> None:
        self.write("(_v if (_v := ")

    def _output_child_post(self, node: Any, frame: Any, finalize: Any) -> None:
        self.write(").__class__ is str else text(_v))")

    # --- expressions that are written out --------------------------------------------------------

    def visit_Const(self, node: nodes.Const, frame: Any) -> None:  # noqa: N802
        """Write a constant; refuse a float that Python cannot write as a number."""
        if isinstance(node.value, float) and not math.isfinite(node.value):
            self.fail("a number is too large: the largest is about 1.8e308", node.lineno)
        super().visit_Const(node, frame)

    def visit_Getattr(self, node: nodes.Getattr, frame: Any) -> None:  # noqa: N802
        """Look a key up, or an attribute."""
        target = node.node
        if isinstance(target, nodes.Name) and target.name == "loop" and node.attr in _LOOP:
            slow = f"environment.getattr(_o, {node.attr!r})"
            self._inline(target, f"_o.{node.attr}", "is LoopContext", slow, frame)
        elif hasattr(dict, node.attr):
            # Jinja takes the method, also where the mapping has a key of that name.
            self.write("environment.method(")
            self.visit(target, frame)
            self.write(f", {node.attr!r}, {_shown(target)!r})")
        else:
            self._key(target, node.attr, f"environment.getattr(_o, {node.attr!r})", frame)

    def visit_Getitem(self, node: nodes.Getitem, frame: Any) -> None:  # noqa: N802
        """Look an item up; a slice is a copy, and pays for its size."""
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
        """Write the look-up of a key that a dict, and nothing but a dict, may have."""
        self._inline(target, f"_o[{key!r}]", f"is dict and {key!r} in _o", slow, frame)

    def _inline(self, target: nodes.Node, fast: str, test: str, slow: str, frame: Any) -> None:
        self.write(f"({fast} if (_o := ")
        self.visit(target, frame)
        self.write(f").__class__ {test} else {slow})")

    def visit_Compare(self, node: nodes.Compare, frame: Any) -> None:  # noqa: N802
        """Compare; what is not a short text or a number pays for its size."""
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

    # --- expressions that pay for what they make -------------------------------------------------

    def visit_Concat(self, node: nodes.Concat, frame: Any) -> None:  # noqa: N802
        """Join texts with `~`."""
        self.write("environment.concatenated((")
        for part in node.nodes:
            self.visit(part, frame)
            self.write(", ")
        self.write("))")

    def visit_List(self, node: nodes.List, frame: Any) -> None:  # noqa: N802
        """Make a list, which may hold large ones."""
        with self._held(node.items):
            super().visit_List(node, frame)

    def visit_Tuple(self, node: nodes.Tuple, frame: Any) -> None:  # noqa: N802
        """Make a tuple, or the target of an assignment."""
        with self._held(node.items if node.ctx == "load" else []):
            super().visit_Tuple(node, frame)

    def visit_Dict(self, node: nodes.Dict, frame: Any) -> None:  # noqa: N802
        """Make a dict."""
        with self._held([part for pair in node.items for part in (pair.key, pair.value)]):
            super().visit_Dict(node, frame)

    def _held(self, items: list[Any]) -> Any:
        """Return the block that writes a display, which pays unless it holds constants alone."""
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
        """Loop; a filter of the loop is evaluated for items that its body never sees."""
        if node.test is not None:
            steps = nodes.Const(1 + price(node.test), lineno=node.lineno)
            attribute = nodes.EnvironmentAttribute("steps", lineno=node.lineno)
            node.iter = nodes.Call(
                attribute, [node.iter, steps], [], None, None, lineno=node.lineno
            )
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
            # The method of a mapping is what is meant: it is called.
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
        """Write a macro, whose defaults are evaluated each time it is called."""
        self._before[id(node.body)] = sum(map(price, node.defaults))
        return super().macro_body(node, frame)

    def visit_ScopedEvalContextModifier(self, node: Any, frame: Any) -> NoReturn:  # noqa: N802
        """Refuse {% autoescape %}."""
        self.fail("autoescape: a prompt is not HTML", node.lineno)

    def visit_Block(self, node: nodes.Block, frame: Any) -> NoReturn:  # noqa: N802
        """Refuse {% block %}: its every turn in a loop copies all there is."""
        message = "block: there is nothing to inherit; write {% macro %} or {% include %}"
        self.fail(message, node.lineno)

    def fail(self, msg: str, lineno: int) -> NoReturn:
        """Refuse a template."""
        raise jinja2.TemplateSyntaxError(msg, lineno, self.name, self.filename)


def _is_long(value: Any) -> bool:
    return isinstance(value, str) and len(value) >= SHORT


def _shown(node: nodes.Node) -> str:
    """Return an expression as the template has it, where it is a name with fields."""
    if isinstance(node, nodes.Name):
        return node.name
    if isinstance(node, nodes.Getattr):
        return f"{_shown(node.node)}.{node.attr}"
    return "it"
