"""The sandboxed Jinja environment, metered.

The sandbox is Jinja's own (https://jinja.palletsprojects.com/en/stable/sandbox/); what happens in
it is charged to the budget of the current render (see `cost`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from typing import Any, NoReturn

import jinja2
from jinja2 import nodes
from jinja2.exceptions import SecurityError
from jinja2.filters import FILTERS
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from personakit import cost
from personakit.cost import Budget

# Left out: HTML filters, which have no place in a prompt, `random`, which would make a render
# differ from itself, and `pprint`, which writes memory addresses.
_DROPPED = frozenset(
    "e escape filesizeformat forceescape pprint random safe striptags urlize xmlattr".split()
)
_GLOBALS = ("range", "dict", "namespace")
current_budget: ContextVar[Budget] = ContextVar("personakit_render_budget")


class Undefined(jinja2.StrictUndefined):
    """A name that has no value: an error wherever it is used, whose message says which."""

    __slots__ = ()


class Environment(ImmutableSandboxedEnvironment):
    """Jinja's sandbox, charging what happens in it to the budget of the current render."""

    intercepted_binops = frozenset(["*", "**", "%", "+"])

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Charge for an operator before it runs."""
        current_budget.get().binop(operator, left, right)
        return super().call_binop(context, operator, left, right)

    def call(self, context: Any, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Charge for a call and for what it returns."""
        budget = current_budget.get()
        budget.call(obj, args, kwargs)
        return budget.made(super().call(context, obj, *args, **kwargs))

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Refuse what Jinja refuses, and formatting."""
        # A width in a format string makes a text of any size; `|format` does the same, measured.
        if isinstance(obj, str) and attr in ("format", "format_map", "translate"):
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

    That is: the steps of loops, the operator `~`, and list, tuple and dict displays.
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


def _finalize(value: Any) -> Any:
    """Refuse to write what has no business in a prompt, such as the address of a method."""
    if isinstance(value, str):
        return current_budget.get().made(value)
    if isinstance(value, int | float | jinja2.Undefined):
        return value
    if value is None:
        raise SecurityError(
            "nothing (null) would be written; test it first, as in {% if x %}{{ x }}{% endif %}"
        )
    if isinstance(value, list | tuple | dict | set | frozenset):
        current_budget.get().made(value)
        waiting: list[Any] = [value]
        while waiting:
            item = waiting.pop()
            if isinstance(item, Mapping):
                waiting.extend(item.values())
            elif isinstance(item, list | tuple | set | frozenset):
                waiting.extend(item)
            elif not isinstance(item, str | int | float | None):
                _refuse(item)
        return str(value)
    return _refuse(value)


def _refuse(value: Any) -> NoReturn:
    kind = type(value).__name__
    hint = "did you forget the ()?" if callable(value) else "end it with a filter such as |list"
    raise SecurityError(f"a {kind} object is not allowed in a prompt; {hint}")


def _tojson(value: Any, indent: int | None = None) -> str:
    """Jinja's tojson escapes for HTML, which a prompt is not."""
    return json.dumps(value, ensure_ascii=False, indent=indent)


def environment() -> Environment:
    """Return a new environment."""
    env = Environment(
        undefined=Undefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
        finalize=_finalize,
        extensions=["jinja2.ext.loopcontrols"],
        cache_size=0,
    )
    env.globals = {name: env.globals[name] for name in _GLOBALS}
    env.globals["range"] = cost.bounded_range
    env.filters = {
        name: cost.charged(name, function, current_budget.get)
        for name, function in (FILTERS | {"tojson": _tojson}).items()
        if name not in _DROPPED
    }
    env.filters["_steps"] = lambda values: current_budget.get().steps(values)
    env.filters["_made"] = lambda value: current_budget.get().made(value)
    env.filters["_concat"] = lambda parts: current_budget.get().concat(map(str, parts))
    return env
