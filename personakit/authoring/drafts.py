"""The text of a new persona file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from personakit.authoring import writer
from personakit.errors import PersonaError
from personakit.frozen import thaw
from personakit.persona import Persona, Variable, yaml

DELIMITERS = ("{{", "{%", "{#")
_COMMENT = "tests:                                # `personakit test` runs them"
_NO_TESTS = f"""\
# {_COMMENT}
#   - name: contains the task
#     variables: {{…}}
#     render: {{contains: [a word of the system message]}}
"""
_ADD_SYSTEM = """
# To add to the system message:
# system: |
#   {{ parent.system }}
#   Your text.
"""
_ADD_MESSAGES = """
# To add to the messages of the parent:
# messages:
#   append:
#     - user: A question
#     - assistant: A good answer
"""


@dataclass(frozen=True, slots=True)
class Draft:
    """The content of a new persona file.

    Attributes:
        name: The persona's name.
        description: A description of one sentence.
        tags: Keywords of the persona.
        starter: The name of the starter template for the rest of the file; empty for none.
        system: The system message; empty if a starter or a parent provides it.
        literal: True if the system message is not a template.
        variables: The default of each variable; None for a required one.
        extends: The name of the parent; empty for none.
        parent: The parent; None for none.
        limit: The maximum number of tokens in its test; 0 for no test.
        prompted: True if its test needs a prompt.
    """

    name: str
    description: str
    tags: tuple[str, ...] = ()
    starter: str = ""
    system: str = ""
    literal: bool = False
    variables: Mapping[str, Any] = field(default_factory=dict)
    extends: str = ""
    parent: Persona | None = None
    limit: int = 0
    prompted: bool = False

    def source(self) -> str:
        """Return the content of the file.

        Raises:
            UsageError: YAML cannot represent a text.
        """
        lines = [f"name: {self.name}", f"description: {writer.sentence(self.description)}"]
        if self.tags:
            lines.append(f"tags: [{', '.join(map(writer.word, self.tags))}]")
        head = "\n".join(lines) + "\n"
        if self.starter:
            return head + starters()[self.starter].partition("\n")[2]
        if self.extends:
            return self._tested(head + self._child())
        return self._tested(head + self._declared() + self._system())

    def _system(self) -> str:
        head = ""
        if self.literal and any(mark in self.system for mark in DELIMITERS):
            head = "template: none                        # {{ and {% in the text are literal\n"
        return f"{head}system: {writer.text(self.system)}"

    def _declared(self) -> str:
        if not self.variables:
            return ""
        rows = [
            f"  {name}: {'{required: true}' if default is None else inline(default)}\n"
            for name, default in self.variables.items()
        ]
        note = "# values for {{ }} in the texts, with defaults"
        return f"variables:                            {note}\n{''.join(rows)}"

    def _child(self) -> str:
        """Return the rest of a file that extends another."""
        parts = [f"extends: {self.extends}\n", self._declared()]
        inherited = self.parent.variables if self.parent else {}
        if inherited and not self.variables:
            parts += ["\n# Variables of the parent; uncomment to change a default:\n# variables:\n"]
            parts += [f"#   {line}\n" for line in map(_described, inherited.values())]
        elif inherited:
            parts += [f"  # {line}\n" for line in map(_described, inherited.values())]
        if self.system:
            parts += ["\n", f"system: {writer.text(self.system)}"]
        elif self.has_parent_system:
            parts.append(_ADD_SYSTEM)
        if self.parent and self.parent.messages:
            parts.append(_ADD_MESSAGES)
        return "".join(parts)

    @property
    def has_parent_system(self) -> bool:
        """Whether `{{ parent.system }}` is defined."""
        return self.parent is not None and self.parent.system is not None

    def _tested(self, source: str) -> str:
        """Return the content of a file with a test appended."""
        # After a text that ends with empty lines, another one would become part of the text.
        gap = "" if source.endswith("\n\n") else "\n"
        if not self.limit:
            return source + gap + _NO_TESTS
        prompt = "    prompt: Hello\n" if self.prompted else ""
        limit = f"    render: {{max_tokens: {self.limit}}}\n"
        return f"{source}{gap}{_COMMENT}\n  - name: stays short\n{prompt}{limit}"


def starters() -> dict[str, str]:
    """Return the starter templates by name; the first line of each is a comment with its title."""
    folder = Path(__file__).parent / "starters"
    return {file.stem: file.read_text("utf-8") for file in sorted(folder.glob("*.yaml"))}


def inline(value: Any) -> str:
    """Return a value on one line of YAML."""
    if isinstance(value, str):
        return writer.word(value)
    return json.dumps(thaw(value), ensure_ascii=True)


def typed(text: str) -> Any:
    """Return the value of a default: a number, list or mapping if it parses as one, else text."""
    try:
        value = yaml.parse(text).data
    except PersonaError:
        return text
    if isinstance(value, dict | list):
        return value if text.lstrip()[:1] in "[{" else text
    return value if isinstance(value, int | float) else text


def _described(variable: Variable) -> str:
    """Return the line that overrides a variable of a parent."""
    key = "example" if variable.required else "default"
    example = variable.sample() if variable.nested else variable.example
    value = example if variable.required else variable.default
    start = f"{variable.name}: {{{key}: {inline(value)}}}"
    about = [variable.description.rstrip(".")] if variable.description else []
    if variable.enum:
        about.append("one of " + ", ".join(inline(choice) for choice in variable.enum))
    if variable.required:
        about.append("required")
    # A line end in a description would end the comment.
    note = "".join(c if c.isprintable() else " " for c in " ".join("; ".join(about).split()))
    return f"{start:<36}# {note}" if note else start
