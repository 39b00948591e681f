"""Agents and commands of Claude Code (https://code.claude.com/docs/en/sub-agents)."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from personakit.formats.draft import Draft
from personakit.formats.format import Format
from personakit.formats.markdown.fields import (
    described,
    described_by,
    keep_rest,
    system_of,
    with_slots,
)
from personakit.formats.markdown.frontmatter import Frontmatter, divided, written
from personakit.formats.outgoing import Outgoing, filled, is_input
from personakit.formats.sources import File
from personakit.formats.templates import Text
from personakit.formats.text import body, decoded

_FOLDERS = ("agents", "commands")
_COMMAND_FIELDS = ("argument-hint", "allowed-tools")
_TOOLS = ("tools", "disallowedTools", "allowed-tools")
_SLOT = re.compile(r"\$(?:ARGUMENTS\b|@|([1-9])(?!\w|\.\d))")
_CODE = re.compile(r"^(```|~~~).*?^\1|`[^`\n]*`", re.MULTILINE | re.DOTALL)
_RUN = re.compile(r"!`[^`\n]+`")
_MENTION = re.compile(r"(?<![\w`@])@[\w./~-]*\w")


def read(file: File) -> Iterator[Draft]:
    """Read an agent or a command."""
    draft = Draft("claude")
    parts = divided(decoded(file.data, draft), draft)
    data = dict(parts.data)
    text = body(parts.text, draft)
    draft.name = described(draft, data, parts)
    draft.set_model(data.pop("model", None), line=parts.lines.get("model"))
    for field in _TOOLS:
        draft.keep_tools(data.pop(field, None), field, parts.lines.get(field))
    if _is_command(file.place, parts):
        _set_command(draft, text)
    else:
        draft.system = Text(text)
    _note_references(draft, text, is_command=draft.system is None or _is_command(file.place, parts))
    keep_rest(draft, data, parts)
    yield draft


def _is_command(path: PurePosixPath, parts: Frontmatter) -> bool:
    if "commands" in path.parts[:-1] or any(field in parts.data for field in _COMMAND_FIELDS):
        return True
    return "agents" not in path.parts[:-1] and "$ARGUMENTS" in parts.text


def _set_command(draft: Draft, text: str) -> None:
    """Set the text of a command, whose slots are those of the user's text."""
    numbers = _numbers(text)

    def expression(match: re.Match[str]) -> str | None:
        if match[1]:
            return draft.variable(f"arg{match[1]}") if int(match[1]) in numbers else None
        return draft.use_input(match[0])

    builder = with_slots(text, _SLOT, expression)
    if not builder.has_tags:
        draft.system = Text(text)
        draft.note(
            "placement",
            "a command without a place for arguments became the system message; what the user "
            "types is the user's message",
        )
        return
    draft.prompt = builder.built()
    draft.note("placement", "the text of a command became the user's message, in `prompt`")
    if draft.input is None:
        draft.fixed_prompt()


def _numbers(text: str) -> set[int]:
    """Return the numbers of a command's arguments; none if they have a gap or stand in code."""
    found = {int(match[1]) for match in _SLOT.finditer(text) if match[1]}
    in_code = any(match[1] for code in _CODE.finditer(text) for match in _SLOT.finditer(code[0]))
    return set() if in_code or found != set(range(1, len(found) + 1)) else found


def _note_references(draft: Draft, text: str, *, is_command: bool) -> None:
    if not is_command:
        return
    found = [match[0] for pattern in (_RUN, _MENTION) for match in pattern.finditer(text)]
    if found:
        draft.note(
            "reference",
            f"{', '.join(found[:5])}: Claude Code runs or reads this; here it is text",
        )


def write(out: Outgoing) -> dict[str, bytes]:
    """Write an agent; a persona with a `prompt` and no system message becomes a command."""
    out.fields("description", "model", "tools")
    messages = out.messages(variables=False)
    kept = {key: value for key, value in out.kept.items() if key not in ("name", "description")}
    first = messages[0] if messages else ("", "")
    if len(messages) == 1 and first[0] == "user" and not is_input(first[1]):
        text = filled(first[1], lambda _: "$ARGUMENTS")
        fields = {"description": out.persona.description, **kept}
        return {f"{out.persona.name}.md": written(fields, text).encode()}
    fields = {"name": out.original_name, "description": described_by(out, first[1]), **kept}
    return {f"{out.persona.name}.md": written(fields, system_of(out, messages)).encode()}


def _named(path: PurePosixPath) -> bool:
    folders = path.parts[:-1]
    return path.suffix == ".md" and any(
        parent == ".claude" and child in _FOLDERS for parent, child in itertools.pairwise(folders)
    )


def _looks(file: File) -> bool:
    parts = divided(decoded(file.data, Draft("claude")), Draft("claude"))
    is_agent = "name" in parts.data and "description" in parts.data
    return (
        is_agent
        or any(field in parts.data for field in _COMMAND_FIELDS)
        or ("commands" in file.place.parts[:-1] and "description" in parts.data)
    )


FORMAT = Format(
    "claude",
    ".claude/agents/NAME.md, .claude/commands/NAME.md",
    read,
    write,
    named=_named,
    suffixes=(".md",),
    looks=_looks,
)
