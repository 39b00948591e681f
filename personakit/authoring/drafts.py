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
from personakit.persona import Variable, yaml

DELIMITERS = ("{{", "{%", "{#")
_COMMENT = "tests:                                # `personakit test` runs them"
_NO_TESTS = f"""\
# {_COMMENT}
#   - name: says what it does
#     variables: {{…}}
#     render: {{contains: [a word of the system message]}}
"""


@dataclass(frozen=True, slots=True)
class Draft:
    """What a new persona file says.

    Attributes:
        name: The persona's name.
        description: One sentence.
        tags: Words to find it by.
        starter: The name of the starter template that the rest comes from; empty without one.
        system: The system message; empty where a starter or a parent has it.
        literal: True when the system message is no template.
        variables: The default of each variable; None for one that is required.
        extends: What it extends; empty for nothing.
        inherited: The variables of what it extends.
        limit: How many tokens its test allows; 0 for no test.
        prompted: True when its test needs a prompt.
    """

    name: str
    description: str
    tags: tuple[str, ...] = ()
    starter: str = ""
    system: str = ""
    literal: bool = False
    variables: Mapping[str, Any] = field(default_factory=dict)
    extends: str = ""
    inherited: Mapping[str, Variable] = field(default_factory=dict)
    limit: int = 0
    prompted: bool = False

    def source(self) -> str:
        """Return the content of the file.

        Raises:
            UsageError: A text holds what no YAML can hold.
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
            head = (
                "template: none                        # {{ and {% in the text stay as they are\n"
            )
        return f"{head}system: {writer.text(self.system)}"

    def _declared(self) -> str:
        if not self.variables:
            return ""
        rows = [
            f"  {name}: {'{required: true}' if default is None else inline(default)}\n"
            for name, default in self.variables.items()
        ]
        note = "# what {{ }} in the texts takes, with defaults"
        return f"variables:                            {note}\n{''.join(rows)}"

    def _child(self) -> str:
        """Return the rest of a file that extends another."""
        parts = [f"extends: {self.extends}\n", self._declared()]
        if self.inherited and not self.variables:
            parts += ["\n# What can be changed, with the value that it has now:\n# variables:\n"]
            parts += [f"#   {line}\n" for line in map(_described, self.inherited.values())]
        elif self.inherited:
            parts += [f"  # {line}\n" for line in map(_described, self.inherited.values())]
        if self.system:
            parts += ["\n", f"system: {writer.text(self.system)}"]
        else:
            parts += [
                "\n# To add to the system message:\n",
                "# system: |\n#   {{ parent.system }}\n#   What comes after it.\n",
            ]
        return "".join(parts)

    def _tested(self, source: str) -> str:
        """Return a file's content with a test after it."""
        # An empty line after a text that ends in several would belong to it.
        gap = "" if source.endswith("\n\n") else "\n"
        if not self.limit:
            return source + gap + _NO_TESTS
        prompt = "    prompt: Hello\n" if self.prompted else ""
        limit = f"    render: {{max_tokens: {self.limit}}}\n"
        return f"{source}{gap}{_COMMENT}\n  - name: stays short\n{prompt}{limit}"


def starters() -> dict[str, str]:
    """Return the starter templates by name; the first line of each says what it is."""
    folder = Path(__file__).parent / "starters"
    return {file.stem: file.read_text("utf-8") for file in sorted(folder.glob("*.yaml"))}


def inline(value: Any) -> str:
    """Return a value on one line of YAML."""
    if isinstance(value, str):
        return writer.word(value)
    return json.dumps(thaw(value), ensure_ascii=True)


def typed(text: str) -> Any:
    """Return the value that an author means by a default: a number or a list, or else the text."""
    try:
        value = yaml.parse(text).data
    except PersonaError:
        return text
    if isinstance(value, dict | list):
        return value if text.lstrip()[:1] in "[{" else text
    return value if isinstance(value, int | float) else text


def _described(variable: Variable) -> str:
    """Return a variable of a parent as an author would change it."""
    key = "example" if variable.required else "default"
    value = variable.example if variable.required else variable.default
    start = f"{variable.name}: {{{key}: {inline(value)}}}"
    about = [variable.description.rstrip(".")] if variable.description else []
    if variable.enum:
        about.append("one of " + ", ".join(inline(choice) for choice in variable.enum))
    if variable.required:
        about.append("required")
    # A description may hold line ends, which would end the comment.
    note = "".join(c if c.isprintable() else " " for c in " ".join("; ".join(about).split()))
    return f"{start:<36}# {note}" if note else start
