"""The sandbox without the meter, for what `shortcut` has rewritten and for plain values."""

from __future__ import annotations

from typing import Any

from jinja2 import nodes
from jinja2.compiler import CodeGenerator
from jinja2.sandbox import ImmutableSandboxedEnvironment

from personakit.frozen import FrozenDict
from personakit.templates import operations, plain
from personakit.templates.filters import Undefined
from personakit.templates.plain import GivenUp, calculable


class _Code(CodeGenerator):
    """Writes code that calls no function for what is usual.

    That is: to write a text, to look up a key that a mapping has, and to ask a loop where it is.
    Jinja's code calls one each time, which is a third of what a loop over mappings costs.
    """

    def visit_Getattr(self, node: nodes.Getattr, frame: Any) -> None:  # noqa: N802
        """Write `name.attribute`."""
        if isinstance(node.node, nodes.Name) and node.node.name == "loop":
            self.visit(node.node, frame)
            self.write(f".{node.attr}")
        elif node.ctx == "load":
            self._key(node.node, node.attr, frame)
            self.write(f"environment.getattr(_found, {node.attr!r}))")
        else:
            super().visit_Getattr(node, frame)

    def visit_Getitem(self, node: nodes.Getitem, frame: Any) -> None:  # noqa: N802
        """Write `name["key"]`."""
        if isinstance(node.arg, nodes.Const):
            self._key(node.node, node.arg.value, frame)
            self.write(f"environment.getitem(_found, {node.arg.value!r}))")
        else:
            super().visit_Getitem(node, frame)

    def _key(self, node: nodes.Node, key: Any, frame: Any) -> None:
        self.write(f"(_found[{key!r}] if (_found := ")
        self.visit(node, frame)
        self.write(").__class__ is environment.mapping else ")

    def _output_child_pre(self, node: nodes.Expr, frame: Any, finalize: Any) -> None:
        self.write("(_text if (_text := ")

    def _output_child_post(self, node: nodes.Expr, frame: Any, finalize: Any) -> None:
        self.write(").__class__ is str else environment.text(_text))")


class Environment(ImmutableSandboxedEnvironment):
    """The sandbox, for plain values."""

    intercepted_binops = frozenset(ImmutableSandboxedEnvironment.default_binop_table)
    code_generator_class = _Code
    text = staticmethod(plain.text)
    mapping = FrozenDict

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Return the value of a key of a mapping."""
        if type(obj) is FrozenDict:
            return obj[attribute] if attribute in obj else Undefined(obj=obj, name=attribute)
        raise GivenUp

    def getitem(self, obj: Any, argument: Any) -> Any:
        """Return a value of a mapping, or a piece of a list or text."""
        if type(obj) is not FrozenDict and type(obj) is not tuple and type(obj) is not str:
            raise GivenUp
        return obj[argument]

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Calculate with numbers that are not large, and add texts."""
        if type(left) is str and type(right) is str and operator == "+":
            return context.made(left + right)
        calculable(left)
        calculable(right)
        return self.binop_table[operator](left, right)


def environment() -> Environment:
    """Return a new environment."""
    env = Environment(undefined=Undefined, autoescape=False, optimized=False, cache_size=0)
    env.globals = {}
    env.filters = dict(operations.FILTERS)
    env.tests = dict(operations.TESTS)
    return env
