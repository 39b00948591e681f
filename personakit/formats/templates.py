"""Jinja2 templates that give exactly the text which they were made for."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_DELIMITER = re.compile(r"\{(?=[{%#])")
DELIMITERS = ("{{", "{%", "{#")


@dataclass(frozen=True, slots=True)
class Text:
    """A text of a persona.

    Attributes:
        value: The text.
        template: Whether it is a Jinja2 template by the rules of persona files.
        simple: Whether the template only writes variables, so that it need not be checked.
    """

    value: str
    template: bool = False
    simple: bool = False

    @property
    def needs_escapes(self) -> bool:
        """Whether a template would have to escape something of this literal text."""
        return not self.template and any(mark in self.value for mark in DELIMITERS)

    def source(self) -> str:
        """Return the template that renders to this text."""
        return self.value if self.template else escaped(self.value)


def escaped(text: str) -> str:
    """Return the template that renders to a text.

    Each delimiter is an expression, since ``{% raw %}`` would eat line feeds and spaces around it.
    """
    result, start = [], 0
    for match in _DELIMITER.finditer(text):
        if match.start() < start:
            continue
        end = match.start() + 2
        mark = text[match.start() : end]
        result += [text[start : match.start()], f"{{{{ '{mark}' }}}}"]
        start = end
    return "".join([*result, text[start:]])


@dataclass(slots=True)
class Builder:
    """Builds a template of literal texts, expressions and statements, in which no space is lost.

    Statements get ``+`` where `trim_blocks` or `lstrip_blocks` would take something away.
    """

    _parts: list[tuple[str, str]] = field(default_factory=list)

    def text(self, value: str) -> Builder:
        """Add a literal text."""
        if value:
            if self._parts and self._parts[-1][0] == "text":
                value = self._parts.pop()[1] + value
            self._parts.append(("text", value))
        return self

    def expression(self, code: str) -> Builder:
        """Add an expression, such as ``name`` or ``name | upper``."""
        self._parts.append(("expression", code))
        return self

    def statement(self, code: str) -> Builder:
        """Add a statement, such as ``if name`` or ``endfor``."""
        self._parts.append(("statement", code))
        return self

    @property
    def has_tags(self) -> bool:
        """Whether there is anything but literal text."""
        return any(kind != "text" for kind, _ in self._parts)

    def literal(self) -> str:
        """Return the text, if there is nothing else."""
        return "".join(value for _, value in self._parts)

    def built(self) -> Text:
        """Return the template, or the literal text if there is nothing else."""
        if not self.has_tags:
            return Text(self.literal())
        tags = [(kind, code) for kind, code in self._parts if kind != "text"]
        simple = all(kind == "expression" and code.isidentifier() for kind, code in tags)
        return Text(self.source(), template=True, simple=simple)

    def source(self) -> str:
        """Return the template."""
        result: list[str] = []
        for index, (kind, value) in enumerate(self._parts):
            if kind == "text":
                result.append(self._literal(index, value))
            elif kind == "expression":
                result.append(f"{{{{ {value} }}}}")
            else:
                result.append(self._statement(index, value))
        return "".join(result)

    def _literal(self, index: int, value: str) -> str:
        is_last = index + 1 == len(self._parts)
        head = value if is_last else value.rstrip("{")
        # Braces before those of a tag would be read as another tag.
        braces = value[len(head) :]
        return escaped(head) + (f"{{{{ '{braces}' }}}}" if braces else "")

    def _statement(self, index: int, code: str) -> str:
        before = self._parts[index - 1] if index else ("text", "\n")
        after = self._parts[index + 1] if index + 1 < len(self._parts) else ("", "")
        start, end = "{%", "%}"
        if before[0] == "text":
            line = before[1].rpartition("\n")[2]
            begins = index < 2 or "\n" in before[1]
            if line and not line.strip() and begins:
                start = "{%+"
        if after[0] == "text" and after[1].startswith("\n"):
            end = "+%}"
        return f"{start} {code} {end}"
