"""Tables of prompts.chat: the columns act, prompt, for_devs, type and contributor."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator

from personakit.formats.draft import Draft
from personakit.formats.format import Format
from personakit.formats.note import Note, Unreadable
from personakit.formats.outgoing import Outgoing, filled, is_input
from personakit.formats.sources import File
from personakit.formats.templates import Builder
from personakit.formats.text import decoded

_COLUMNS = ("act", "prompt")
_ALL = ("act", "prompt", "for_devs", "type", "contributor")
# Its own pattern of a variable; all other ${…} is text.
_SLOT = re.compile(r"\$\{([a-zA-Z_][a-zA-Z0-9_\s]*?)(?::([^}]*))?\}")
_LONGEST = 32 * 1024 * 1024


def read(file: File) -> Iterator[Draft | Note | Unreadable]:
    """Read a table, a persona for each row."""
    shared = Draft("csv")
    text = decoded(file.data, shared)
    yield from shared.notes
    csv.field_size_limit(max(csv.field_size_limit(), _LONGEST))
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    number = 0
    try:
        header = [name.strip() for name in next(rows, [])]
        missing = [name for name in _COLUMNS if name not in header]
        if missing:
            found = ", ".join(header) or "none"
            raise Unreadable(
                f"no column {missing[0]!r} (found: {found}); expected act and prompt", 1
            )
        before = rows.line_num
        for number, cells in enumerate(rows, 1):
            if any(cell.strip() for cell in cells):
                yield _row(header, cells, number, before + 1)
            before = rows.line_num
    except csv.Error as error:
        yield Unreadable(
            f"row {number + 1} is not CSV: {error}; is a quote not closed?", rows.line_num,
            number + 1,
        )  # fmt: skip


def _row(header: list[str], cells: list[str], number: int, line: int) -> Draft | Note | Unreadable:
    if len(cells) != len(header):
        return Unreadable(
            f"row {number} has {len(cells)} cells, and the header {len(header)}", line, number
        )
    row = dict(zip(header, cells, strict=True))
    draft = Draft("csv", name=row.pop("act").strip(), item=number, line=line)
    prompt = row.pop("prompt")
    if not prompt.strip():
        return Note("empty", f"row {number}, {draft.name!r:.60}, has no prompt", "prompt", line)
    draft.data = json.dumps(cells, ensure_ascii=False).encode()
    _set_text(draft, prompt)
    tags = []
    kind = row.pop("type", "").strip()
    if kind and kind != "TEXT":
        tags.append(kind.lower())
    if row.pop("for_devs", "").strip().upper() == "TRUE":
        tags.append("for-devs")
    authors = [name.strip() for name in row.pop("contributor", "").split(",")]
    draft.keys |= {"tags": tags, "authors": [name for name in authors if name]}
    for name, value in row.items():
        if value:
            draft.keep(name, value, line=line)
    return draft


def _set_text(draft: Draft, prompt: str) -> None:
    builder, start = Builder(), 0
    for match in _SLOT.finditer(prompt):
        name = match[1].strip()
        default = None if match[2] is None else match[2].strip()
        own = draft.variable(name)
        if default is not None and "default" not in draft.variables[own]:
            draft.variable(name, default=default)
        builder.text(prompt[start : match.start()]).expression(own)
        start = match.end()
    draft.system = builder.text(prompt[start:]).built()


def write(out: Outgoing) -> dict[str, bytes]:
    """Write a table of one row."""
    persona = out.persona
    out.fields("tags", "authors")
    messages = out.messages(variables=True)
    texts = [text for _, text in messages if not is_input(text)]
    if len(texts) > 1:
        out.note(
            "placement", "a row has one text: the messages stand in it, one after the other",
            field="messages",
        )  # fmt: skip
    prompt = "\n\n".join(filled(text, lambda name: _slot(out, name)) for text in texts)
    tags = [tag for tag in persona.tags if tag != "for-devs"]
    kind = next((tag.upper() for tag in tags if tag in ("image", "structured")), "TEXT")
    row = {
        "act": out.original_name,
        "prompt": prompt,
        "for_devs": "TRUE" if "for-devs" in persona.tags else "FALSE",
        "type": kind,
        "contributor": ",".join(persona.authors),
        **{name: str(value) for name, value in out.kept.items() if name not in _ALL},
    }
    written = io.StringIO(newline="")
    table = csv.DictWriter(written, list(row), quoting=csv.QUOTE_ALL, lineterminator="\n")
    table.writeheader()
    table.writerow(row)
    return {f"{persona.name}.csv": written.getvalue().encode()}


def _slot(out: Outgoing, name: str) -> str:
    variable = out.persona.variables.get(name)
    if variable is None or variable.required:
        return f"${{{name}}}"
    return f"${{{name}:{variable.default or ''}}}"


def _looks(file: File) -> bool:
    first = file.data.lstrip(b"\xef\xbb\xbf").partition(b"\n")[0].decode("utf-8", "replace")
    names = [name.strip(' "\r') for name in first.split(",")]
    return all(name in names for name in _COLUMNS)


FORMAT = Format("csv", "*.csv with the columns act and prompt", read, write, suffixes=(".csv",),
                looks=_looks)  # fmt: skip
