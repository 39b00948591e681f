"""Patterns of Fabric (https://github.com/danielmiessler/fabric): a folder with system.md."""

from __future__ import annotations

import re
from collections.abc import Iterator

from personakit.formats.draft import Draft
from personakit.formats.format import Format
from personakit.formats.markdown.fields import system_of, with_slots
from personakit.formats.note import Unreadable
from personakit.formats.outgoing import Outgoing, filled, is_input
from personakit.formats.sources import File
from personakit.formats.text import decoded, utf8

_SYSTEM, _USER = "system.md", "user.md"
_SLOT = re.compile(r"\{\{\s*([A-Za-z_][\w-]*)\s*\}\}")
_PLUGIN = re.compile(r"\{\{\s*(?:plugin|ext):([^{}\n]*)\}\}")
_READING = ("file", "fetch", "sys")


def read(file: File) -> Iterator[Draft]:
    """Read a pattern."""
    draft = Draft("fabric", name=file.folder)
    text = decoded(file.data, draft)
    if not text.strip():
        raise Unreadable("system.md is empty: there is no pattern in it")

    def expression(match: re.Match[str]) -> str:
        if match[1] == "input":
            return draft.use_input(match[0])
        return draft.variable(match[1])

    builder = with_slots(text, _SLOT, expression)
    if draft.input is None:
        draft.system = builder.built()
        draft.note(
            "placement",
            "the pattern is the system message, and the user's text the user's message; Fabric "
            "appends it to the system message",
        )
    else:
        draft.prompt = builder.built()
        draft.note("placement", "the pattern has a place for the user's text: it is `prompt`")
    _note_plugins(draft, text)
    user = file.beside(_USER)
    if user is not None and (kept := utf8(user.data)).strip():
        draft.keep("user.md", kept, message="user.md is not sent; it is kept in metadata.fabric")
        draft.data = file.data + user.data
    yield draft


def _note_plugins(draft: Draft, text: str) -> None:
    for match in _PLUGIN.finditer(text):
        reads = match[1].strip().partition(":")[0] in _READING
        draft.note(
            "reference" if reads else "builtin",
            f"{match[0]:.80} is a call of Fabric's, which is not made; it stays text",
            line=text.count("\n", 0, match.start()) + 1,
        )


def write(out: Outgoing) -> dict[str, bytes]:
    """Write a folder with system.md."""
    out.fields()
    messages = out.messages(variables=True)
    prompts = [text for role, text in messages if role == "user" and not is_input(text)]
    if len(messages) == 1 and prompts:
        text = filled(prompts[0], _slot)
    else:
        text = system_of(out, messages, _slot)
    return {f"{out.persona.name}/{_SYSTEM}": text.encode()}


def _slot(name: str) -> str:
    return f"{{{{{name}}}}}"


FORMAT = Format(
    "fabric",
    "patterns/NAME/system.md",
    read,
    write,
    named=lambda path: path.name == _SYSTEM,
)
