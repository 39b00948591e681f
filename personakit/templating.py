"""Rendering: the sandboxed environment, and what a template may use.

Only a persona's own texts are templates. Values never are, and what comes out is never read again.

A persona file may come from anywhere, so a render is bounded: every loop step, call, filter and
operator that makes something new is charged to one budget (see `cost`), and operations whose result
could be far larger than their inputs are checked before they run. The sandbox is Jinja's own
(https://jinja.palletsprojects.com/en/stable/sandbox/).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

import jinja2
from jinja2 import meta, nodes

from personakit import cost
from personakit.cost import Budget, LimitExceeded
from personakit.errors import Problem, TemplateError, did_you_mean
from personakit.messages import Message
from personakit.persona import Persona, Text
from personakit.sandbox import Environment, Meter, current_budget, environment


@dataclass(slots=True)
class Templates:
    """Compiles and renders the texts of personas.

    Attributes:
        filters: Further filters by name, asked for only when a template names one that Jinja
            does not have.
        globals: Further global names, likewise.
    """

    filters: Callable[[], Mapping[str, Callable[..., Any]]] = dict
    globals: Callable[[], Mapping[str, Any]] = dict
    _env: Environment = field(default_factory=environment, init=False)

    def compile(self, persona: Persona) -> Compiled:
        """Check and compile every text of a persona.

        Raises:
            TemplateError: A text is no template, or its names and the variables do not match.
        """
        return Compiled(self, persona)

    def template(self, persona: Persona, text: Text) -> tuple[jinja2.Template, set[str]]:
        """Compile one text; return it with the names that it takes from outside."""
        token = current_budget.set(Budget())
        try:
            tree = self._parsed(text.source)
            names = meta.find_undeclared_variables(tree)
            for found in tree.find_all(
                (nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)
            ):
                kind = type(found).__name__.lower()
                fail(
                    persona, text, f"{{% {kind} %}} is not supported by this version", found.lineno
                )
            code = self._env.compile(Meter(self._env).visit(tree))
            return jinja2.Template.from_code(self._env, code, self._env.globals, None), names
        except jinja2.TemplateSyntaxError as error:
            fail(persona, text, _explain(error, self._env), error.lineno)
        except RecursionError:
            fail(persona, text, "the template is nested too deep", 1)
        except (LimitExceeded, MemoryError, SyntaxError, ValueError, OverflowError) as error:
            fail(persona, text, f"the template cannot be compiled: {error}", 1)
        finally:
            current_budget.reset(token)

    def _parsed(self, source: str) -> nodes.Template:
        """Parse, and ask the plugins when a filter is unknown."""
        tree = self._env.parse(source)
        used = {found.name for found in tree.find_all(nodes.Filter)}
        if used - self._env.filters.keys():
            for name, function in self.filters().items():
                self._env.filters.setdefault(name, cost.charged(name, function, current_budget.get))
        return tree

    def known_globals(self, names: set[str]) -> set[str]:
        """Return which of the names are globals, asking the plugins if need be."""
        if names - self._env.globals.keys():
            for name, value in self.globals().items():
                self._env.globals.setdefault(name, value)
        return names & self._env.globals.keys()


class Compiled:
    """The texts of one persona, ready to render.

    Attributes:
        persona: Whose they are.
        used: The names that its templates take from outside.
    """

    __slots__ = ("_messages", "_prompt", "_system", "persona", "used")

    def __init__(self, templates: Templates, persona: Persona) -> None:
        self.persona = persona
        self.used: set[str] = set()
        self._system = self._prepare(templates, persona.system)
        self._messages = [(role, self._prepare(templates, text)) for role, text in persona.messages]
        self._prompt = None
        if persona.prompt is not None:
            self._prompt = self._prepare(templates, persona.prompt, {"input"})

    def _prepare(
        self, templates: Templates, text: Text, extra: frozenset[str] | set[str] = frozenset()
    ) -> tuple[Text, jinja2.Template | None]:
        if self.persona.template == "none" or not _is_template(text.source):
            return text, None
        template, names = templates.template(self.persona, text)
        self.used |= names
        declared = self.persona.variables.keys() | extra
        unknown = names - declared
        if unknown:
            unknown -= templates.known_globals(unknown)
        for name in sorted(unknown):
            hint = did_you_mean(name, declared) or "; declare it under `variables:`"
            line = next((n for n, row in enumerate(text.source.split("\n"), 1) if name in row), 1)
            fail(self.persona, text, f"{name!r} is undefined{hint}", line)
        return text, template

    def render(self, values: Mapping[str, Any], prompt: str | None = None) -> list[Message]:
        """Return the messages of a request.

        Args:
            values: A value for every variable, as `variables.resolve` returns them.
            prompt: What the user typed; None when nothing was.

        Raises:
            TemplateError: A template fails, or asks for more than a render may use.
        """
        budget = Budget(allowance=cost.size_of(values) + len(prompt or ""))
        token = current_budget.set(budget)
        try:
            messages = [Message("system", self._text(self._system, values))]
            messages += [Message(role, self._text(pair, values)) for role, pair in self._messages]
            if self._prompt is not None:
                text = self._text(self._prompt, self._with_input(values, prompt))
                messages.append(Message("user", text))
            elif prompt is not None:
                messages.append(Message("user", prompt))
            return messages
        finally:
            current_budget.reset(token)

    def _with_input(self, values: Mapping[str, Any], prompt: str | None) -> dict[str, Any]:
        return dict(values) if prompt is None else {**values, "input": prompt}

    def _text(self, pair: tuple[Text, jinja2.Template | None], values: Mapping[str, Any]) -> str:
        text, template = pair
        if template is None:
            return text.source
        try:
            context = template.new_context(dict(values))
            return Environment.concat(template.root_render_func(context))
        except LimitExceeded as error:
            fail(self.persona, text, str(error), _line(error))
        except jinja2.UndefinedError as error:
            message = str(error)
            if message == "'input' is undefined":
                message = "this persona needs a prompt: type one, or pipe a text in"
            fail(self.persona, text, message, _line(error))
        except RecursionError as error:
            fail(self.persona, text, "the template calls itself too deep (recursion)", _line(error))
        except Exception as error:
            # A template is not this program's code: whatever it raises is a mistake in the file.
            fail(self.persona, text, f"the template fails: {error}", _line(error))


def _is_template(source: str) -> bool:
    """Tell whether Jinja would change a text at all; most few-shot messages it would not."""
    return "{{" in source or "{%" in source or "{#" in source


def fail(persona: Persona, text: Text, message: str, line: int) -> NoReturn:
    """Raise a TemplateError that points into the YAML file, given a line of the template."""
    mark = persona.document.marks.get(text.at)
    where = ".".join(str(part) for part in text.at)
    at = mark.text_line + max(line, 1) - 1 if mark else 0
    raise TemplateError([Problem(f"{where}: {message}", persona.path, at)]) from None


def _line(error: BaseException) -> int:
    """Return the line of the template in which an error was raised."""
    found, trace = 1, error.__traceback__
    while trace is not None:
        template = trace.tb_frame.f_globals.get("__jinja_template__")
        if template is not None:
            found = template.get_corresponding_lineno(trace.tb_lineno)
        trace = trace.tb_next
    return int(found)


def _explain(error: jinja2.TemplateSyntaxError, env: Environment) -> str:
    message = (error.message or "cannot be read").rstrip(".")
    if message.startswith("No filter named"):
        name = message.split("'")[1]
        hint = did_you_mean(name, env.filters)
        return f"unknown filter {name!r}{hint}"
    if message.startswith("No test named"):
        name = message.split("'")[1]
        return f"unknown test {name!r}{did_you_mean(name, env.tests)}"
    return f"template syntax: {message}"
