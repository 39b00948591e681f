"""A persona on its way to another tool: rendered, with places left for variables."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from personakit.errors import UsageError
from personakit.formats.note import Note
from personakit.frozen import thaw
from personakit.persona import Persona, Variable
from personakit.runner import Runner
from personakit.templates import written_as_they_are

_MARK = "\ue000{}\ue001"
_MARKS = re.compile("\ue000([A-Za-z_][A-Za-z0-9_]*)\ue001")

Slot = Callable[[str], str]


@dataclass(slots=True)
class Outgoing:
    """A persona for an exporter, which asks for its texts and fields.

    Attributes:
        persona: The persona, with what it inherits.
        runner: Renders it.
        values: Values of variables that the user gave with ``--set``.
        model: The model that the user chose; empty for that of the persona.
        picture: The content of a picture that the user gave; empty for none.
        folder: Whether the files are written into a folder, so that there may be several.
        notes: What is different in the files.
        format: The name of the format.
    """

    persona: Persona
    runner: Runner
    format: str
    values: Mapping[str, Any] = field(default_factory=dict)
    model: str = ""
    picture: bytes = b""
    folder: bool = False
    notes: list[Note] = field(default_factory=list)

    def note(self, code: str, message: str, *, field: str = "", lost: bool = False) -> None:
        """Add a note, once."""
        made = Note(code, message, field, None, lost)
        if made not in self.notes:
            self.notes.append(made)

    @property
    def kept(self) -> dict[str, Any]:
        """What an import of this format kept in `metadata`."""
        found = self.persona.metadata.get(self.format)
        return dict(thaw(found)) if isinstance(found, Mapping) else {}

    @property
    def original_name(self) -> str:
        """The name that the persona had in the source of its import; else its own."""
        found = self.persona.metadata.get("import")
        if isinstance(found, Mapping) and found.get("format") == self.format:
            return str(found.get("name", self.persona.name))
        return self.persona.name

    def fields(self, *written: str) -> None:
        """Note the keys of the persona that the format cannot hold.

        Args:
            written: The keys that the exporter writes, apart from the texts and the name.
        """
        persona = self.persona
        held = {
            "description": persona.description,
            "version": persona.version,
            "tags": persona.tags,
            "authors": persona.authors,
            "license": persona.license,
            "source": persona.source,
            "model": persona.model,
            "parameters": persona.parameters,
            "tools": persona.tools,
            "output": persona.output,
            "history": persona.history,
            "plugins": persona.plugins,
            "tests": persona.tests,
        }
        codes = {"tools": "tools", "output": "output", "history": "history"}
        codes |= {"parameters": "parameter", "model": "model"}
        for key, value in held.items():
            if value and key not in written:
                self.note(
                    codes.get(key, "unmapped"),
                    f"`{key}:` has no place in {self.format} and is left out",
                    field=key,
                    lost=True,
                )

    def messages(self, *, variables: bool | Collection[str]) -> list[tuple[str, str]]:
        """Return role and content of each message, with marks where variables stand.

        The user's text is the last message, if the persona takes one, with a mark of its own.

        Args:
            variables: Whether the format has places for variables, or for which ones. One that a
                template uses for anything but its own text gets its value all the same.

        Raises:
            UsageError: A required variable has no value.
        """
        persona, values = self._with_marks(variables)
        takes_input = self.runner.catalog.compiled(persona).takes_input
        request = self.runner.render(
            persona, _MARK.format("input") if takes_input else None, variables=values
        )
        return [(message.role, message.text or "") for message in request.messages]

    @property
    def marked(self) -> list[str]:
        """The variables of which the messages can have places."""
        compiled = self.runner.catalog.compiled(self.persona)
        plain = written_as_they_are(self.runner.catalog.templates(), compiled.everything())
        return [
            name
            for name, variable in self.persona.variables.items()
            if variable.type in ("string", "any") and name in plain and name not in self.values
        ]

    def _with_marks(self, has_variables: bool | Collection[str]) -> tuple[Persona, dict[str, Any]]:
        persona, values = self.persona, dict(self.values)
        marked = [
            name for name in self.marked if has_variables is True or name in (has_variables or ())
        ]
        used = self.runner.catalog.compiled(persona).used
        for name, variable in persona.variables.items():
            if name in values or name in marked or name not in used:
                continue
            if variable.required:
                raise UsageError(
                    f"{persona.name}: {self.format} has no place for the variable {name!r}, which "
                    f"needs a value: --set {name}=VALUE"
                )
            self.note(
                "logic",
                f"variable {name!r} was rendered with its default, {variable.default!r:.60}; "
                f"another value: --set {name}=VALUE",
                field=name,
                lost=True,
            )
        if not marked:
            return persona, {**self._unused(values), **values}
        free = {name: Variable(name, required=True) for name in marked}
        open_ = dataclasses.replace(persona, variables={**persona.variables, **free})
        values |= {name: _MARK.format(name) for name in marked}
        return open_, {**self._unused(values), **values}

    def _unused(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return a value for each required variable that no template uses."""
        samples: dict[str, Any] = {
            "string": "", "integer": 0, "number": 0, "boolean": False, "array": [], "object": {}
        }  # fmt: skip
        return {
            name: variable.example if variable.example is not None else samples[variable.type]
            for name, variable in self.persona.variables.items()
            if variable.required and name not in values
        }


def filled(text: str, slot: Slot, literal: Callable[[str], str] = str) -> str:
    """Return a text in the language of a format.

    Args:
        text: A content of `Outgoing.messages`.
        slot: Returns the place for a variable, or for ``input``.
        literal: Escapes what stands between.
    """
    return "".join(
        slot(part) if is_slot else literal(part) for is_slot, part in pieces(text) if part
    )


def pieces(text: str) -> Iterator[tuple[bool, str]]:
    """Yield the parts of a text: whether it is the place of a variable, and its name or text."""
    start = 0
    for match in _MARKS.finditer(text):
        yield False, text[start : match.start()]
        yield True, match[1]
        start = match.end()
    yield False, text[start:]


def is_input(text: str) -> bool:
    """Return whether a text is the user's text alone."""
    return text == _MARK.format("input")
