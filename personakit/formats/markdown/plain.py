"""Rules and other texts in Markdown: AGENTS.md, CLAUDE.md, .cursorrules, *.mdc."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from personakit.formats.draft import Draft
from personakit.formats.format import Format
from personakit.formats.markdown.fields import described, keep_rest, system_of
from personakit.formats.markdown.frontmatter import Frontmatter, divided
from personakit.formats.outgoing import Outgoing
from personakit.formats.sources import File
from personakit.formats.templates import Text
from personakit.formats.text import body, decoded

_ALIKE = ("agents.md", "claude.md", "gemini.md", "copilot-instructions.md", ".cursorrules")
"""The files that are called alike in each repository: the folder tells them apart."""
_SETTINGS = (".github", ".cursor", ".claude", "rules")


def read(file: File) -> Iterator[Draft]:
    """Read a text, which is the system message."""
    draft = Draft("markdown")
    text = decoded(file.data, draft)
    parts = Frontmatter(text=text) if file.name.endswith(".txt") else divided(text, draft)
    data = dict(parts.data)
    draft.name = described(draft, data, parts) or _name(file.place)
    draft.system = Text(body(parts.text, draft))
    keep_rest(draft, data, parts)
    yield draft


def _name(path: PurePosixPath) -> str:
    """Return the name of a file that is called alike in each repository; else nothing."""
    if path.name.lower() not in _ALIKE:
        return ""
    kind = path.name.lower().lstrip(".").removesuffix(".md")
    folders = [part for part in path.parts[:-1] if part not in _SETTINGS]
    return f"{folders[-1]}-{kind}" if folders else kind


def write(out: Outgoing) -> dict[str, bytes]:
    """Write the system message as it is."""
    out.fields()
    text = system_of(out, out.messages(variables=False))
    return {f"{out.persona.name}.md": text.encode()}


FORMAT = Format(
    "markdown",
    "AGENTS.md, CLAUDE.md, GEMINI.md, .cursorrules, *.mdc, copilot-instructions.md",
    read,
    write,
    named=lambda path: path.name.lower() in _ALIKE or path.suffix == ".mdc",
    suffixes=(".md", ".txt"),
    anything=True,
)
