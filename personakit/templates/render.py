"""Rendering a persona, its variables and a prompt to messages.

Only a persona's own texts and the partials of the library are templates. Values are never parsed as
templates, and neither is the output. Persona files are untrusted, so a render has limits: see
`codegen` and `budget`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from personakit.base import State
from personakit.errors import Problem, TemplateError, did_you_mean
from personakit.frozen import thaw
from personakit.messages import Message, Role
from personakit.persona import Persona, Text, Values, described
from personakit.providers import AUTO
from personakit.templates.budget import Budget, current_budget
from personakit.templates.compiler import MAX_PROBLEMS, Part, Place, TemplateCompiler, fresh
from personakit.templates.environment import RenderContext
from personakit.templates.failures import failure

_NO_SYSTEM = "the parent has no system message; remove {{ parent.system }}"

# What of a variable can change a request.
_SENT = ("name", "type", "default", "required", "enum", "minimum", "maximum", "pattern")


class CompiledPersona:
    """The compiled texts of one persona.

    Attributes:
        persona: The persona.
        used: The names that its templates read from the context.
        parts: The texts in the order of their messages, without the prompt.
        files: The partials, each with its state when it was read.
    """

    def __init__(self, templates: TemplateCompiler, persona: Persona) -> None:
        self.persona = persona
        self.used: set[str] = set()
        self._problems: dict[Problem, None] = {}
        self._templates = templates
        self.files: dict[Path, State] = {}
        token = current_budget.set(Budget())
        try:
            self.parts = [self._part("system", persona.system)] if persona.system else []
            self.parts += [self._part(role, text) for role, text in persona.messages]
            self._prompt = self._part("user", persona.prompt, "input") if persona.prompt else None
        finally:
            current_budget.reset(token)
        for part in self.everything():
            self.files |= part.unit.files if part.unit is not None else {}

    def _part(self, role: Role, text: Text, *extra: str) -> Part:
        if text.literal or not _is_template(text.source):
            return Part(role, text, None, fixed=Message(role, text.source, cache=text.cache))
        unit = self._templates.compile(text.source, Place.of(text))
        self.used |= unit.names.keys()
        self._note(unit.problems)
        parent = None
        if "parent" in unit.names and text.parent is not None:
            extra = (*extra, "parent")
            if text.parent.system is not None:
                parent = self._part("system", text.parent.system)
            else:
                place, line = unit.names["parent"]
                self._note([place.problem(_NO_SYSTEM, line, "PK023", "parent")])
        declared = self.persona.variables.keys() | set(extra)
        unknown = unit.names.keys() - declared - unit.stored
        unknown -= self._templates.known_globals(unknown) if unknown else set()
        for name in sorted(unknown)[:MAX_PROBLEMS]:
            place, line = unit.names[name]
            message = f"{name!r} is undefined{self._hint(name, declared)}"
            self._note([place.problem(message, line, "PK023", name)])
        return Part(role, text, unit, parent)

    @property
    def problems(self) -> list[Problem]:
        """The problems of the texts; if there are any, the persona cannot be rendered."""
        return list(self._problems)

    def _note(self, problems: Iterable[Problem]) -> None:
        """Add problems, each once: several texts may include the same partial."""
        self._problems.update(dict.fromkeys(problems))

    @staticmethod
    def _hint(name: str, declared: set[str]) -> str:
        if name == "input":
            return "; it is defined in `prompt:` only"
        if name == "parent":
            return "; it is defined only in a persona that extends another"
        return did_you_mean(name, declared) or "; declare it under `variables:`"

    @property
    def takes_input(self) -> bool:
        """Whether the text of the user is part of the request: not for a `prompt:` without it."""
        part = self._prompt
        return part is None or (part.unit is not None and "input" in part.unit.names)

    def check_input(self) -> None:
        """Raise TemplateError if the persona has no place for the text of a user."""
        if not self.takes_input:
            raise TemplateError([self.unused_input()])

    def unused_input(self) -> Problem:
        """Return the problem of a `prompt:` that does not use the text of the user."""
        text = self.persona.prompt
        assert text is not None
        way = "add {{ input }} to it"
        if text.literal:
            way = "`template: none` makes {{ input }} literal, so remove one of the two keys"
        message = (
            f"`prompt:` does not use {{{{ input }}}}, so the text of the user would be lost; "
            f"{way}, or run the persona without a text"
        )
        return text.document.problem(message, text.at, code="PK028")

    def everything(self) -> Iterator[Part]:
        """Yield every text, including those of parents that are used."""
        for part in (*self.parts, *((self._prompt,) if self._prompt else ())):
            current: Part | None = part
            while current is not None:
                yield current
                current = current.parent

    @cached_property
    def _source(self) -> int:
        """The number of characters in all texts and partials."""
        units = (part.unit.parts if part.unit else () for part in self.everything())
        partials = sum(len(source) for parts in units for _, source in parts[1:])
        return partials + sum(len(part.text.source) for part in self.everything())

    @cached_property
    def _fixed_size(self) -> int:
        """The number of characters in the messages without template syntax."""
        return sum(len(part.text.source) for part in self.parts if part.fixed is not None)

    def is_fresh(self) -> bool:
        """Return whether the partials are unchanged since they were compiled."""
        return fresh(self.files)

    @cached_property
    def hash(self) -> str:
        """The SHA-256 of everything that can change a request, independent of file formatting."""
        persona = self.persona
        texts = []
        for part in self.everything():
            sources = [source for _, source in part.unit.parts] if part.unit else [part.text.source]
            mark = ["cache"] if part.text.cache else []
            texts.append([part.role, part.unit is not None, sources, *mark])
        identity = {
            "name": persona.name,
            "model": persona.model,
            "parameters": thaw(persona.parameters),
            "variables": {name: described(it, _SENT) for name, it in persona.variables.items()},
            "texts": texts,
            "prompt": self._prompt is not None,
            "tools": persona.tools,
            "output": thaw(persona.output),
            "plugins": [[use.name, thaw(use.options), use.on_error] for use in persona.plugins],
        }
        if persona.history is not None:
            identity["history"] = persona.history.keep
        if persona.api != AUTO:
            identity["api"] = persona.api
        canonical = json.dumps(identity, sort_keys=True, ensure_ascii=True)
        return "sha256:" + hashlib.sha256(canonical.encode()).hexdigest()

    def render(self, values: Values, prompt: str | None = None) -> list[Message]:
        """Return the messages of a request.

        Args:
            values: A value for every variable.
            prompt: The prompt of the user; None for none.

        Raises:
            TemplateError: A template fails, or exceeds a limit of a render, or the persona does
                not use the prompt.
        """
        if prompt and self._prompt is not None:
            self.check_input()
        given = values.own
        budget = Budget(values.size + len(prompt or ""), self._source)
        token = current_budget.set(budget)
        try:
            messages, size = [], self._fixed_size
            for part in self.parts:
                if part.fixed is not None:
                    messages.append(part.fixed)
                    continue
                text = _rendered(part, given, budget)
                messages.append(Message(part.role, text, cache=part.text.cache))
                size += len(text)
            many = len(self.parts) > 1 or self._prompt is not None
            if self._prompt is not None:
                given = given if prompt is None else {**given, "input": prompt}
                prompt = _rendered(self._prompt, given, budget)
            if prompt is not None:
                messages.append(Message("user", prompt))
                size += len(prompt)
            # Each message is within the limit; check their sum.
            if many and size > budget.size:
                found = f"the messages would be too large: the limit is {budget.size:,} characters"
                Place.of(next(self.everything()).text).fail(found)
            return messages
        finally:
            current_budget.reset(token)


def _rendered(part: Part, values: dict[str, Any], budget: Budget) -> str:
    """Render a part to its text."""
    if part.unit is None:
        return part.text.source
    if part.parent is not None:
        values = {**values, "parent": {"system": _rendered(part.parent, values, budget)}}
    template = part.unit.template
    assert template is not None  # a persona with problems is never rendered
    try:
        context = RenderContext(template.environment, values)
        return budget.concat(template.root_render_func(context))
    except Exception as error:
        raise failure(error, Place.of(part.text), values) from None


def _is_template(source: str) -> bool:
    """Return whether a text has template syntax; most few-shot messages have none."""
    return "{{" in source or "{%" in source or "{#" in source
