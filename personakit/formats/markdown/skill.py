"""Skills of agents: a folder with SKILL.md (https://agentskills.io/specification)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from personakit.errors import UsageError
from personakit.formats.draft import Draft
from personakit.formats.format import Format
from personakit.formats.markdown.fields import described, described_by, keep_rest, system_of
from personakit.formats.markdown.frontmatter import divided, written
from personakit.formats.outgoing import Outgoing
from personakit.formats.sources import File
from personakit.formats.templates import Text
from personakit.formats.text import body, decoded

_FILE = "SKILL.md"
_LINK = re.compile(r"\]\((?!\w+:|#|/)([^)#\s]+)")
_LONGEST_NAME, _LONGEST_DESCRIPTION = 64, 1024
_SHOWN = 10


def read(file: File) -> Iterator[Draft]:
    """Read a skill."""
    draft = Draft("skill")
    parts = divided(decoded(file.data, draft), draft)
    data = dict(parts.data)
    text = body(parts.text, draft)
    draft.name = described(draft, data, parts)
    for field in ("license", "version"):
        if isinstance(data.get(field), str | int | float):
            draft.keys[field] = str(data.pop(field))
    more = data.get("metadata")
    if "version" not in draft.keys and isinstance(more, dict) and "version" in more:
        draft.keys["version"] = str(more["version"])
    for field in ("allowed-tools", "tools"):
        draft.keep_tools(data.pop(field, None), field, parts.lines.get(field))
    draft.system = Text(text)
    _note_files(draft, file, text)
    keep_rest(draft, data, parts)
    yield draft


def _note_files(draft: Draft, file: File, text: str) -> None:
    """Note the files that belong to the skill, which are not copied."""
    folder = file.path.parent
    own = [
        path.relative_to(folder).as_posix()
        for path in (*file.tree.paths, *file.tree.beside)
        if path != file.path and folder in path.parents
    ]
    named = [path for path in own if path in text or path.partition("/")[0] in ("scripts",)]
    linked = [match[1] for match in _LINK.finditer(text)]
    found = list(dict.fromkeys((*named, *linked)))
    if found:
        more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        draft.note(
            "reference",
            f"the skill refers to {', '.join(found[:_SHOWN])}{more}: the files are not copied, and "
            f"a persona cannot read or run them",
        )


def write(out: Outgoing) -> dict[str, bytes]:
    """Write a folder with SKILL.md.

    Raises:
        UsageError: The name or the description is too long for a skill.
    """
    out.fields("description", "license", "version", "tools")
    system = system_of(out, out.messages(variables=False))
    description = described_by(out, system)
    name = out.original_name
    for what, text, most in (
        ("name", name, _LONGEST_NAME),
        ("description", description, _LONGEST_DESCRIPTION),
    ):
        if len(text) > most:
            raise UsageError(
                f"{out.persona.name}: the {what} has {len(text):,} characters, and a skill may "
                f"have {most:,}; shorten `{what}:`"
            )
    kept = out.kept
    fields = {"name": name, "description": description, "license": out.persona.license}
    if out.persona.version and "metadata" not in kept:
        fields["version"] = out.persona.version
    return {f"{out.persona.name}/{_FILE}": written({**fields, **kept}, system).encode()}


FORMAT = Format(
    "skill",
    "NAME/SKILL.md",
    read,
    write,
    named=lambda path: path.name == _FILE,
)
