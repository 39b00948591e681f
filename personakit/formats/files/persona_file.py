"""The YAML of a persona, from a draft."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from personakit.formats.draft import Draft
from personakit.formats.dumping import dumped
from personakit.formats.note import Unreadable
from personakit.formats.templates import Builder, Text
from personakit.persona import KEYS, MAX_BYTES, Persona, yaml
from personakit.templates import CompiledPersona, TemplateCompiler

LARGEST_TEMPLATE = 200_000
"""Characters that a template may render to."""
_WRITTEN = re.compile(r'^ {4}written: "?[0-9a-f]{64}"?\n', re.MULTILINE)


def persona_source(draft: Draft, name: str, provenance: Mapping[str, Any]) -> str:
    """Return the content of the persona file of a draft.

    Args:
        draft: The draft.
        name: The persona's name.
        provenance: What `metadata.import` says of the source.

    Raises:
        Unreadable: The persona has no text, or it is larger than a persona may be.
    """
    _drop_blank(draft)
    if draft.system is None and draft.prompt is None and not draft.messages:
        raise Unreadable(
            "the text is empty: there is nothing that a persona could send", draft.line
        )
    literal = not any(text.template for text in draft.texts)
    if literal and any(text.needs_escapes for text in draft.texts):
        draft.keys["template"] = "none"
    elif not literal:
        _note_large(draft)

    result = sealed(dumped(_data(draft, name, provenance, literal=literal)))
    if len(result.encode()) > MAX_BYTES:
        raise Unreadable(f"the persona would be larger than the {MAX_BYTES:,} bytes of a file")
    persona = Persona.parse(result, f"{name}.yaml")
    if any(text.template and not text.simple for text in draft.texts):
        problems = CompiledPersona(TemplateCompiler(), persona).problems
        if problems:
            raise Unreadable(f"a template cannot be used: {problems[0].message}", draft.line)
    return result


def _data(
    draft: Draft, name: str, provenance: Mapping[str, Any], *, literal: bool
) -> dict[str, Any]:
    """Return the content of the file, in the order of its keys."""

    def source(text: Text) -> str:
        return text.value if literal else text.source()

    data = {key: value for key, value in draft.keys.items() if value not in (None, "", [], {})}
    data["name"] = name
    kept = {draft.format: draft.kept} if draft.kept else {}
    data["metadata"] = {**data.get("metadata", {}), **kept, "import": dict(provenance)}
    if draft.variables:
        data["variables"] = {key: one or {"required": True} for key, one in draft.variables.items()}
    for key, text in (("system", draft.system), ("prompt", draft.prompt)):
        if text is not None:
            data[key] = source(text)
    if draft.messages:
        data["messages"] = [{role: source(text)} for role, text in draft.messages]
    return {key: data[key] for key in KEYS if key in data}


def _drop_blank(draft: Draft) -> None:
    """Leave out a system message of white space, which no program sends."""
    if draft.system is None or draft.system.template or draft.system.value.strip():
        return
    draft.system = None
    draft.note("empty", "the system message is empty and is left out", field="system")
    if draft.prompt is None and not draft.messages:
        draft.prompt = Builder().expression("input").built()


def _note_large(draft: Draft) -> None:
    for text in draft.texts:
        if len(text.value) > LARGEST_TEMPLATE:
            draft.note(
                "too-large",
                f"a template has {len(text.value):,} characters, and one may render to "
                f"{LARGEST_TEMPLATE:,}; remove its variables and set `template: none`, or divide "
                f"it",
            )


def sealed(source: str) -> str:
    """Return a file with the digest of itself, by which later edits are seen."""
    digest = hashlib.sha256(source.encode()).hexdigest()
    before, line, after = source.partition("\n  import:\n")
    return f'{before}{line}    written: "{digest}"\n{after}'


def is_untouched(source: str) -> bool:
    """Return whether a file is as an import wrote it."""
    found = _WRITTEN.search(source)
    if found is None:
        return False
    bare = source[: found.start()] + source[found.end() :]
    return hashlib.sha256(bare.encode()).hexdigest() in found[0]


def provenance_of(source: bytes) -> dict[str, Any] | None:
    """Return what a file says of its import; None if it was not imported, or cannot be read."""
    try:
        data = yaml.parse(source).data
        found = data["metadata"]["import"]
    except (ValueError, LookupError, TypeError):
        return None
    return found if isinstance(found, dict) else None
