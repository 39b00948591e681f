"""Docstrings of public names, in their parts, as Markdown."""

from __future__ import annotations

import inspect
import logging
import re
import sys
import textwrap
from pathlib import Path
from typing import Any, NamedTuple

import griffe

SPAN = re.compile(r"(`[^`\n]+`)")
# Types are taken from signatures, so it does not matter that docstrings have none.
logging.getLogger("griffe").setLevel(logging.ERROR)


class Docs(NamedTuple):
    """A docstring: its text, and (name, text) pairs of its sections."""

    text: str
    arguments: list[tuple[str, str]]
    attributes: list[tuple[str, str]]
    raises: list[tuple[str, str]]
    returns: str

    @property
    def is_long(self) -> bool:
        """Whether it has more than one paragraph."""
        return bool(self.arguments or self.raises or self.returns or "\n\n" in self.text)


def parse(docstring: str) -> Docs:
    """Return the parts of a docstring in Google's style."""
    found: dict[str, list[Any]] = {}
    options: Any = {"warn_unknown_params": False, "warn_missing_types": False, "warnings": False}
    for section in griffe.Docstring(docstring).parse("google", **options):
        found.setdefault(section.kind.value, []).append(section.value)
    text = "\n\n".join(found.pop("text", []))
    pairs = {kind: [item for part in parts for item in part] for kind, parts in found.items()}
    result = Docs(
        text=markdown(text),
        arguments=_named(pairs.pop("parameters", [])),
        attributes=_named(pairs.pop("attributes", [])),
        raises=[(str(it.annotation), line(it.description)) for it in pairs.pop("raises", [])],
        returns=" ".join(line(it.description) for it in pairs.pop("returns", [])),
    )
    assert not pairs, f"the page has no place for the sections {', '.join(pairs)}"
    return result


def _named(items: list[Any]) -> list[tuple[str, str]]:
    return [(item.name, line(item.description)) for item in items]


def constant_docs(name: str, value: Any) -> Docs:
    """Return the docstring below the assignment of a constant, wherever that is."""
    for module in [*sys.modules.values()]:
        if module.__name__.startswith("personakit") and vars(module).get(name) is value:
            file = Path(inspect.getsourcefile(module) or "")
            source = file.read_text("utf-8")
            found = griffe.visit(module.__name__, file, source).members.get(name)
            if found is not None and not found.is_alias and found.docstring is not None:
                return parse(found.docstring.value)
    return parse("")


def markdown(text: str) -> str:
    """Return the text of a docstring as Markdown."""
    paragraphs = []
    for paragraph in re.split(r"\n{2,}", text.strip()):
        if paragraph.startswith("    "):
            paragraphs.append(f"```py\n{textwrap.dedent(paragraph).rstrip()}\n```")
        else:
            lines = re.sub(r"::$", ":", _escaped(paragraph)).strip()
            paragraphs.append(lines if re.search(r"^- ", lines, re.M) else line(lines, done=True))
    return "\n\n".join(paragraph for paragraph in paragraphs if paragraph)


def line(text: str, *, done: bool = False) -> str:
    """Return the description of an argument as one line of Markdown."""
    return " ".join((text if done else _escaped(text)).split())


def _escaped(text: str) -> str:
    """Return a text in which only code spans are marked."""
    parts = SPAN.split(re.sub(r"``(.+?)``", r"`\1`", text, flags=re.DOTALL))
    return "".join(
        part if part.startswith("`") else re.sub(r"([*<\[\]])", r"\\\1", part) for part in parts
    )


def is_command(span: str) -> bool:
    """Return whether a code span is a command line."""
    return span.startswith("personakit ")
