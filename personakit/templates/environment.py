"""The sandboxed Jinja environment, metered.

The sandbox is Jinja's own (https://jinja.palletsprojects.com/en/stable/sandbox/); what happens in
it is charged to the budget of the current render (see `cost`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NoReturn

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.lexer import TokenStream
from jinja2.runtime import LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.tests import TESTS
from jinja2.utils import Namespace as JinjaNamespace
from jinja2.visitor import NodeTransformer

from personakit.templates import budget
from personakit.templates.budget import current_budget
from personakit.templates.filters import (
    FILTERS,
    Undefined,
    joined,
    measured,
    tested,
    text,
    writable,
)

# Methods whose result cannot be foreseen, or is no text.
_UNSAFE = {
    str: frozenset("encode format format_map maketrans translate".split()),
    int: frozenset("from_bytes to_bytes".split()),
}
# Compiling 6,000 tokens takes up to a third of a second and 30 MB.
_STEPS_PER_TOKEN = 30


class Namespace(JinjaNamespace):
    """Jinja's namespace, which does not write out what it holds: that could be without end."""

    def __repr__(self) -> str:
        return "<namespace>"


class _Tokens(Extension):
    """Charges for the length of a template's code; the text between it is free."""

    def filter_stream(self, stream: TokenStream) -> Iterable[Any]:
        budget = current_budget.get()
        for token in stream:
            budget.charge(_STEPS_PER_TOKEN)
            yield token


class Environment(ImmutableSandboxedEnvironment):
    """Jinja's sandbox, charging what happens in it to the budget of the current render."""

    intercepted_binops = frozenset(ImmutableSandboxedEnvironment.default_binop_table)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Charge for an operator before it runs."""
        current_budget.get().binop(operator, left, right)
        if operator == "%" and isinstance(left, str):
            writable(right)
        return super().call_binop(context, operator, left, right)

    def call(self, context: Any, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Charge for a call and for what it returns."""
        budget = current_budget.get()
        budget.call(obj, args, kwargs)
        if isinstance(obj, LoopContext) and args:
            args = (budget.steps(args[0]), *args[1:])
        if getattr(obj, "__name__", "") == "join" and isinstance(getattr(obj, "__self__", 0), str):
            return joined(obj.__self__, *args)
        return budget.made(super().call(context, obj, *args, **kwargs))

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Charge for a long text: a sort or a join may ask for it again and again."""
        return current_budget.get().read(super().getattr(obj, attribute))

    def getitem(self, obj: Any, argument: Any) -> Any:
        """Charge as `getattr` does."""
        budget = current_budget.get()
        if isinstance(argument, tuple):
            budget.made(argument)
        return budget.read(super().getitem(obj, argument))

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Refuse what Jinja refuses, and methods that the budget cannot measure."""
        # `dict.update` of the class would change what the sandbox keeps from change.
        if isinstance(obj, bytes | type) or any(
            isinstance(obj, kind) and attr in names for kind, names in _UNSAFE.items()
        ):
            return False
        return super().is_safe_attribute(obj, attr, value)

    def wrap_str_format(self, value: Any) -> None:
        """Leave `str.format` to `is_safe_attribute`."""

    @staticmethod
    def concat(parts: Iterable[str]) -> str:
        """Join the parts of an output, within the budget."""
        return current_budget.get().concat(parts)


class Meter(NodeTransformer):
    """Rewrites a template so that what Jinja has no hook for goes through the budget, too.

    That is: the steps of loops, the operator `~`, comparisons, slices, and list, tuple and dict
    displays.
    """

    def __init__(self, env: Environment) -> None:
        self.env = env

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802
        """Count the steps of a loop."""
        self.generic_visit(node)
        node.iter = self._filtered(node.iter, "_steps")
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        """Measure `~`."""
        self.generic_visit(node)
        parts = nodes.List(node.nodes, lineno=node.lineno)
        return self._filtered(parts, "_concat")

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:  # noqa: N802
        """Measure both sides of a comparison."""
        self.generic_visit(node)
        sides: list[Any] = [node, *node.ops]
        for side in sides:
            if not isinstance(side.expr, nodes.Const):
                side.expr = self._filtered(side.expr, "_read")
        return node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:  # noqa: N802
        """Measure a slice, which is a copy."""
        self.generic_visit(node)
        return self._filtered(node, "_made") if isinstance(node.arg, nodes.Slice) else node

    def visit_ScopedEvalContextModifier(self, node: Any) -> NoReturn:  # noqa: N802
        """Refuse {% autoescape %}."""
        raise jinja2.TemplateSyntaxError("autoescape: a prompt is not HTML", node.lineno)

    def visit_Block(self, node: nodes.Block) -> NoReturn:  # noqa: N802
        """Refuse {% block %}: its every turn in a loop copies all there is."""
        message = "block: there is nothing to inherit; write {% macro %} or {% include %}"
        raise jinja2.TemplateSyntaxError(message, node.lineno)

    def visit_List(self, node: nodes.List) -> nodes.Node:  # noqa: N802
        """Measure a list display."""
        self.generic_visit(node)
        return self._filtered(node, "_made")

    visit_Dict = visit_List  # noqa: N815

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:  # noqa: N802
        """Measure a tuple display, not a target of assignment."""
        self.generic_visit(node)
        return node if node.ctx == "store" else self._filtered(node, "_made")

    def _filtered(self, value: Any, name: str) -> nodes.Filter:
        made = nodes.Filter(value, name, [], [], None, None, lineno=value.lineno)
        made.set_environment(self.env)
        return made


# A function of the context is not called while a template is compiled.
@jinja2.pass_context
def _finalize(_context: Any, value: Any) -> Any:
    return text(value)


def environment() -> Environment:
    """Return a new environment."""
    env = Environment(
        undefined=Undefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
        finalize=_finalize,
        extensions=["jinja2.ext.loopcontrols", _Tokens],
        cache_size=0,
        # Nothing of a template is worked out before it is rendered.
        optimized=False,
    )
    env.globals = {"range": budget.bounded_range, "dict": dict, "namespace": Namespace}
    env.filters = {name: measured(name, function) for name, function in FILTERS.items()}
    env.filters["_steps"] = lambda values: current_budget.get().steps(values)
    env.filters["_made"] = lambda value: current_budget.get().made(value)
    env.filters["_read"] = lambda value: current_budget.get().read(value)
    env.filters["_concat"] = lambda parts: current_budget.get().concat(map(text, parts))
    env.tests = {name: tested(name, function) for name, function in TESTS.items()}
    return env
