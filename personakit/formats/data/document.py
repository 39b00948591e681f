"""A document of JSON or YAML as plain data."""

from __future__ import annotations

import json
from typing import Any

from personakit.errors import PersonaError
from personakit.formats.draft import Draft
from personakit.formats.note import Unreadable
from personakit.formats.text import utf8
from personakit.persona import yaml

_BOM = "\ufeff"


def json_of(data: bytes, draft: Draft) -> Any:
    """Return the value of a JSON document.

    Raises:
        Unreadable: It is not JSON in UTF-8, or is nested too deep.
    """
    text = utf8(data)
    if text.startswith(_BOM):
        draft.note("bom", "the byte order mark at the start was left out", line=1)
        text = text[1:]
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise Unreadable(f"not JSON: {error.msg}", error.lineno) from None
    except ValueError:
        raise Unreadable("not JSON: a number has too many digits") from None


def yaml_of(data: bytes, draft: Draft) -> Any:
    """Return the value of a YAML document, by the rules of YAML 1.2.

    Raises:
        Unreadable: It is not YAML in UTF-8, or exceeds the limits of persona files.
    """
    text = utf8(data)
    if text.startswith(_BOM):
        draft.note("bom", "the byte order mark at the start was left out", line=1)
        text = text[1:]
    try:
        return yaml.parse(text).data
    except PersonaError as error:
        first = error.problems[0]
        raise Unreadable(
            f"not YAML that can be read: {first.message}", first.line or None
        ) from None


def document_of(data: bytes, name: str, draft: Draft) -> Any:
    """Return the value of a document, by the suffix of its name."""
    return json_of(data, draft) if name.lower().endswith(".json") else yaml_of(data, draft)


def looks_like(data: bytes, name: str) -> Any:
    """Return the value of a document; None if it cannot be read."""
    try:
        return document_of(data, name, Draft(""))
    except (Unreadable, RecursionError):
        return None
