"""Agents, chat modes, prompts and instructions of GitHub Copilot.

See https://code.visualstudio.com/docs/copilot/customization/overview.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from personakit.errors import UsageError
from personakit.formats.draft import Draft
from personakit.formats.format import Format
from personakit.formats.markdown.fields import (
    described,
    described_by,
    keep_rest,
    system_of,
    with_slots,
)
from personakit.formats.markdown.frontmatter import divided, written
from personakit.formats.outgoing import Outgoing, filled, is_input
from personakit.formats.sources import File
from personakit.formats.templates import Text
from personakit.formats.text import body, decoded

_SUFFIXES = (".agent.md", ".chatmode.md", ".instructions.md", ".prompt.md")
_BUILTIN = (
    "selection selectedText file fileBasename fileBasenameNoExtension fileDirname workspaceFolder "
    "workspaceFolderBasename"
).split()
_SLOT = re.compile(r"\$\{(?:input:([^:{}\n]+)(?::([^{}\n]*))?|(" + "|".join(_BUILTIN) + r"))\}")


def read(file: File) -> Iterator[Draft]:
    """Read a file of any of the kinds; its suffix says which."""
    draft = Draft("copilot", dialect=_kind(file.path))
    parts = divided(decoded(file.data, draft), draft)
    data = dict(parts.data)
    text = body(parts.text, draft)
    draft.name = described(draft, data, parts)
    draft.set_model(data.pop("model", None), line=parts.lines.get("model"))
    draft.keep_tools(data.pop("tools", None), line=parts.lines.get("tools"))
    if draft.dialect == "prompt":
        _set_prompt(draft, text)
    else:
        draft.system = Text(text)
    keep_rest(draft, data, parts)
    yield draft


def _kind(path: PurePosixPath) -> str:
    suffix = next((one for one in _SUFFIXES if path.name.lower().endswith(one)), ".agent.md")
    return suffix.split(".")[1]


def _set_prompt(draft: Draft, text: str) -> None:
    builtin: list[str] = []

    def expression(match: re.Match[str]) -> str:
        if match[3]:
            builtin.append(match[0])
            return draft.variable(match[3], description=f"{match[0]} of the editor")
        return draft.variable(match[1].strip(), description=(match[2] or "").strip() or None)

    draft.prompt = with_slots(text, _SLOT, expression).built()
    draft.note("placement", "the text of a prompt file is the user's message, in `prompt`")
    draft.fixed_prompt()
    if builtin:
        draft.note(
            "builtin",
            f"{', '.join(dict.fromkeys(builtin))}: the editor gives the value; here it is a "
            f"variable",
        )


def write(out: Outgoing) -> dict[str, bytes]:
    """Write an agent, or a prompt file if the persona has a `prompt` and no system message."""
    out.fields("description", "model", "tools")
    messages = out.messages(variables=out.persona.system is None)
    kept = {key: value for key, value in out.kept.items() if key not in ("name", "description")}
    if len(messages) == 1 and messages[0][0] == "user" and not is_input(messages[0][1]):
        fields = {"description": out.persona.description, **kept}
        text = filled(messages[0][1], lambda name: _slot(out, name))
        return {f"{out.persona.name}.prompt.md": written(fields, text).encode()}
    system = system_of(out, messages)
    fields = {"name": out.original_name, "description": described_by(out, system), **kept}
    return {f"{out.persona.name}.agent.md": written(fields, system).encode()}


def _slot(out: Outgoing, name: str) -> str:
    if name in _BUILTIN:
        return f"${{{name}}}"
    variable = out.persona.variables.get(name)
    about = variable.description if variable is not None else "the text"
    if re.search(r"[{}\n]", about):
        raise UsageError(
            f"{out.persona.name}: the description of {name!r} has a brace or a line feed, which a "
            f"prompt file cannot hold"
        )
    return f"${{input:{name}:{about}}}" if about else f"${{input:{name}}}"


FORMAT = Format(
    "copilot",
    "*.agent.md, *.chatmode.md, *.prompt.md, *.instructions.md",
    read,
    write,
    named=lambda path: path.name.lower().endswith(_SUFFIXES),
    suffixes=_SUFFIXES,
)
