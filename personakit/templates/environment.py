"""The sandboxed Jinja environment, which charges operations to the budget of the render.

The sandbox is Jinja's own (https://jinja.palletsprojects.com/en/stable/sandbox/). The code from
`codegen` charges for costs that are known from the template, and calls this module for costs that
depend on values.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from jinja2.ext import Extension
from jinja2.lexer import TokenStream
from jinja2.nodes import EvalContext
from jinja2.runtime import Context, LoopContext, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace as JinjaNamespace
from jinja2.utils import missing

from personakit.templates.budget import Refused, bounded_range, current_budget
from personakit.templates.codegen import MeteredCodeGenerator
from personakit.templates.filters import FILTERS, TESTS, Undefined, joined, text, writable

# Methods whose result has no predictable size, or is not a text; and `escape` of Markup, a str that
# makes any object a text.
_UNSAFE = {
    str: frozenset("encode escape format format_map maketrans translate".split()),
    int: frozenset("from_bytes to_bytes".split()),
}
# Compiling 6,000 tokens takes up to 0.33 s and 30 MB.
_STEPS_PER_TOKEN = 60
# Below this, no operator except ** gives a number that is too large.
_SMALL = 1 << 64


class Namespace(JinjaNamespace):
    """Jinja's namespace with a fixed repr: the content may refer to itself without end."""

    def __repr__(self) -> str:
        return "<namespace>"


class _Tokens(Extension):
    """An extension that charges for the tokens of a template; literal text is free."""

    def filter_stream(self, stream: TokenStream) -> Iterable[Any]:
        budget = current_budget.get()
        for token in stream:
            budget.charge(_STEPS_PER_TOKEN)
            yield token


class _Names(dict[str, Any]):
    """The values of a render by name; others are missing, without a call of Python code."""

    def __missing__(self, name: str) -> Any:
        return missing


class RenderContext(Context):
    """The names of one render: what `Template.new_context` returns, in a third of the time."""

    name = None
    # No template has blocks or imports another, so nothing is ever put into these.
    blocks: dict[str, list[Any]] = {}  # noqa: RUF012
    globals_keys: set[str] = set()  # noqa: RUF012

    def __init__(self, environment: Any, values: dict[str, Any]) -> None:
        self.environment = environment
        # A name that the template sets takes the place of a value, as `Context` resolves them.
        self.parent = self.vars = names = _Names(environment.globals)
        names.update(values)
        self.resolve_or_missing = names.__getitem__  # type: ignore[assignment]
        self.exported_vars: set[str] = set()
        self.eval_ctx = environment.eval_context


class Environment(ImmutableSandboxedEnvironment):
    """Jinja's sandbox, which charges operations to the budget of the current render."""

    code_generator_class = MeteredCodeGenerator
    eval_context: EvalContext
    intercepted_binops = frozenset(ImmutableSandboxedEnvironment.default_binop_table)
    budget = staticmethod(current_budget.get)
    text = staticmethod(text)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Charge for an operator before it runs."""
        small = type(left) is type(right) is int and -_SMALL < left < _SMALL > right > -_SMALL
        if not small or operator == "**":
            current_budget.get().binop(operator, left, right)
            if operator == "%" and isinstance(left, str):
                writable(right)
        return self.binop_table[operator](left, right)

    def call(self, context: Any, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Charge for a call and for what it returns."""
        if obj.__class__ is Macro:
            # The statements of a macro charge for themselves and for their output.
            kwargs.pop("_loop_vars", None)
            return obj(*args, **kwargs)
        budget = current_budget.get()
        more = {k: v for k, v in kwargs.items() if k != "_loop_vars"} if kwargs else kwargs
        owner = getattr(obj, "__self__", None)
        if isinstance(owner, str):
            if obj.__name__ == "join" and len(args) == 1 and not more:
                return joined(owner, args[0])
            if owner.__class__ is not str:
                # Methods of Markup convert their arguments to text.
                for value in args:
                    if value is not None:
                        writable(value)
        budget.call(obj, args, more)
        if isinstance(obj, LoopContext) and args:
            args = (budget.steps(args[0]), *args[1:])
        return budget.made(super().call(context, obj, *args, **kwargs))

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Return an attribute or a key, as Jinja does."""
        if obj.__class__ is Namespace and not attribute.startswith("_"):
            try:
                return obj._Namespace__attrs[attribute]
            except KeyError:
                return self.undefined(obj=obj, name=attribute)
        return super().getattr(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """Return an item, as Jinja does; charge for a tuple as key, because all of it is hashed."""
        if argument.__class__ is tuple:
            current_budget.get().whole(argument)
        return super().getitem(obj, argument)

    def method(self, obj: Any, name: str, shown: str) -> Any:
        """Return an attribute that mappings have as a method, where it is not called.

        Raises:
            Refused: The mapping also has a key of that name, which the author certainly meant.
        """
        if isinstance(obj, dict) and name in obj:
            raise Refused(
                f"{shown}.{name} is a method that every mapping has; for the key "
                f'write {shown}["{name}"]'
            )
        return self.getattr(obj, name)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Reject what Jinja rejects, and methods that the budget cannot measure."""
        # `dict.update`, called on the class, would modify values that the sandbox protects.
        if isinstance(obj, bytes | type) or any(
            isinstance(obj, kind) and attr in names for kind, names in _UNSAFE.items()
        ):
            return False
        return super().is_safe_attribute(obj, attr, value)

    def wrap_str_format(self, value: Any) -> None:
        """Leave `str.format` to `is_safe_attribute`."""

    # --- functions that compiled templates call --------------------------------------------------

    @staticmethod
    def compared(value: Any) -> Any:
        """Charge for one side of a comparison with all nested items; return it."""
        if value is not None and value.__class__ is not float and value.__class__ is not bool:
            current_budget.get().whole(value)
        return value

    @staticmethod
    def searched(value: Any) -> Any:
        """Charge for one side of a comparison chain with `in`, whatever the other side is."""
        budget = current_budget.get()
        if isinstance(value, str) and len(value) > 1:
            budget.searching(value, value)
        budget.whole(value)
        return value

    @staticmethod
    def contains(item: Any, container: Any) -> bool:
        """Return ``item in container``, and charge for the search."""
        budget = current_budget.get()
        if isinstance(container, str):
            budget.searching(container, item)
        elif isinstance(container, range):
            budget.charge(0 if isinstance(item, int) else len(container) // 12)
        else:
            # Comparing texts of different lengths takes constant time.
            budget.whole(item)
            if not isinstance(container, dict):
                budget.whole(container)
        return item in container

    @staticmethod
    def copied(value: Any) -> Any:
        """Charge for a slice, which is a copy; return it."""
        return current_budget.get().made(value)

    made = copied

    @staticmethod
    def steps(values: Iterable[Any], price: int) -> Iterator[Any]:
        """Yield the items of a loop with a filter, and charge for each."""
        return current_budget.get().steps(values, price)

    @staticmethod
    def concatenated(values: tuple[Any, ...]) -> str:
        """Return values joined into one text."""
        return current_budget.get().concat([v if v.__class__ is str else text(v) for v in values])

    @staticmethod
    def concat(parts: Iterable[str]) -> str:
        """Join the parts of an output, within the budget."""
        return current_budget.get().concat(parts)


def environment() -> Environment:
    """Return a new environment."""
    env = Environment(
        undefined=Undefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
        extensions=["jinja2.ext.loopcontrols", _Tokens],
        cache_size=0,
        # No expression may be evaluated before rendering, outside the budget.
        optimized=False,
    )
    env.eval_context = EvalContext(env)
    env.globals = {"range": bounded_range, "dict": dict, "namespace": Namespace}
    env.filters, env.tests = dict(FILTERS), dict(TESTS)
    return env
