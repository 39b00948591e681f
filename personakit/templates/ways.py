"""The short way from a persona's texts to messages, where every text has a shortcut."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from jinja2 import nodes
from jinja2.utils import missing

from personakit.errors import PersonakitError
from personakit.frozen import FrozenDict
from personakit.messages import Message, Role
from personakit.persona import Values
from personakit.templates.compiler import TemplateCompiler, Unit
from personakit.templates.plain import Context
from personakit.templates.shortcut import NoShortcut, Shortcut, shortcut
from personakit.templates.unmetered import environment

if TYPE_CHECKING:
    from personakit.templates.compiler import Part


class _Way(NamedTuple):
    """One text.

    Attributes:
        message: The message of a text that is no template.
        role: Whose message it makes.
        shortcut: What renders it, if it is a template.
        parent: The text of the parent, where the template uses `parent`.
    """

    message: Message | None
    role: Role
    shortcut: Shortcut | None
    parent: _Way | None


class Ways:
    """The shortcuts of all texts of a persona.

    Args:
        templates: What they were compiled by.
        parts: The texts before the user's.
        prompt: The user's, if the persona has one.
    """

    def __init__(self, templates: TemplateCompiler, parts: list[Part], prompt: Part | None) -> None:
        self._steps = self._linear = self._longest = self._piece = 0
        self._names_input = prompt is not None
        try:
            texts = parts if prompt is None else [*parts, prompt]
            self._ways = [self._way(templates, part) for part in texts]
        except NoShortcut:
            self._ways = []

    def _way(self, templates: TemplateCompiler, part: Part) -> _Way:
        if part.unit is None:
            return _Way(Message(part.role, part.text.source), part.role, None, None)
        found = _shortcut(templates, part.unit)
        if found is None:
            raise NoShortcut
        self._steps += found.steps
        self._linear += found.linear
        self._longest = max(self._longest, found.longest)
        self._piece = max(self._piece, found.piece)
        parent = None if part.parent is None else self._way(templates, part.parent)
        return _Way(None, part.role, found, parent)

    def render(self, values: Values, prompt: str | None) -> list[Message] | None:
        """Return the messages, or None where the metered way is needed."""
        if not self._ways or values.longest is None:
            return None
        names: Mapping[str, Any] = values.frozen
        longest = values.longest
        if prompt is not None:
            if type(prompt) is not str:
                return None
            longest = max(longest, len(prompt))
        if self._names_input:
            names = {**names, "input": missing if prompt is None else prompt}
        try:
            context = Context(names, max(longest, self._longest), self._steps, self._linear)
            messages = []
            for way in self._ways:
                if way.shortcut is not None and way.parent is None:
                    text = context.run(way.shortcut.root, self._piece)
                    messages.append(Message(way.role, text))
                else:
                    found = way.message or Message(way.role, self._text(way, context, names))
                    messages.append(found)
        # Whatever it is, the metered way says what is wrong.
        except Exception:
            return None
        if prompt is not None and not self._names_input:
            messages.append(Message("user", prompt))
        size = context.steps * max(context.longest, self._piece)
        if size > context.most and sum(len(message.text) for message in messages) > context.most:
            return None
        return messages

    def _text(self, way: _Way, context: Context, names: Mapping[str, Any]) -> str:
        if way.message is not None:
            return way.message.text
        assert way.shortcut is not None
        if way.parent is None:
            return context.run(way.shortcut.root, self._piece)
        above = context.made(self._text(way.parent, context, names))
        context.resolve_or_missing = {**names, "parent": FrozenDict(system=above)}.__getitem__
        text = context.run(way.shortcut.root, self._piece)
        context.resolve_or_missing = names.__getitem__
        return text


def _shortcut(templates: TemplateCompiler, unit: Unit) -> Shortcut | None:
    """Compile a template without the meter; None for one that needs it."""
    sources = {place.path: source for place, source in unit.parts[1:]}

    def tree(source: str) -> nodes.Template:
        found = templates.parse(source)
        if found is None:
            raise NoShortcut
        return found

    def partial(name: str, path: str) -> tuple[nodes.Template, str]:
        try:
            file = str(templates.find(name, path))
        except PersonakitError as error:
            raise NoShortcut from error
        if file not in sources:
            raise NoShortcut
        # As it was when the unit was compiled.
        return tree(sources[file]), file

    if templates.bare is None:
        templates.bare = environment()
    place, source = unit.parts[0]
    return shortcut(templates.bare, tree(source), place.path, partial)
