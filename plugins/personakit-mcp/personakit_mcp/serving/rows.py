"""What the lists show of a persona, as a text that the index of the library keeps."""

from __future__ import annotations

import functools
import json
import re
import zlib
from pathlib import Path
from typing import Any, NamedTuple

from personakit import Persona, __version__
from personakit_mcp.serving import arguments

KIND = "mcp-prompts"
MAX_ICON = 20_000


class Row(NamedTuple):
    """A persona in the lists.

    Attributes:
        text: `prompt` as JSON.
        version: A number that changes with the files of the persona.
    """

    text: str
    version: int


def prompt(persona: Persona) -> dict[str, Any]:
    """Return a persona as ``prompts/list`` shows it."""
    shown: dict[str, Any] = {"name": persona.name, **about(persona)}
    if listed := arguments.described(persona):
        shown["arguments"] = listed
    return shown


def about(persona: Persona) -> dict[str, Any]:
    """Return the title of a persona, and its description and icon, those that it has."""
    # Clients show the title in place of the name, so it says the name.
    shown: dict[str, Any] = {"title": re.sub("[-_]+", " ", persona.name).strip().capitalize()}
    if persona.description:
        shown["description"] = persona.description
    icon = persona.document.data.get("x-icon")
    if isinstance(icon, str) and icon.startswith(("https://", "data:image/")):
        shown |= {"icons": [{"src": icon}]} if len(icon) <= MAX_ICON else {}
    return shown


def row(persona: Persona) -> str:
    """Return `prompt` as JSON."""
    return json.dumps(prompt(persona), separators=(",", ":"))


@functools.cache
def stamp() -> str:
    """Return a text that changes with the code that makes the rows."""
    code = 0
    for file in (__file__, arguments.__file__):
        try:
            code = zlib.crc32(Path(file).read_bytes(), code)
        except OSError:  # the package is in a zip file
            continue
    return f"{__version__} {code:08x}"
