"""Templates of `llm` (https://llm.datasette.io/en/stable/templates.html)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from personakit.formats.data.document import looks_like, yaml_of
from personakit.formats.draft import Draft
from personakit.formats.dumping import dumped
from personakit.formats.format import Format
from personakit.formats.note import Unreadable
from personakit.formats.outgoing import Outgoing, filled, is_input
from personakit.formats.sources import File
from personakit.formats.templates import Builder, Text
from personakit.formats.text import lines_of

_KEYS = (
    "name prompt system attachments attachment_types model defaults options extract extract_last "
    "schema_object fragments system_fragments tools functions"
).split()
_SLOT = re.compile(r"\$(?:(\$)|([A-Za-z_]\w*)|\{([A-Za-z_]\w*)\}|)", re.ASCII)
_REFERENCES = ("attachments", "attachment_types", "fragments", "system_fragments")


def read(file: File) -> Iterator[Draft]:
    """Read a template."""
    draft = Draft("llm")
    data = yaml_of(file.data, draft)
    data = {"prompt": data} if isinstance(data, str) else data
    if not isinstance(data, dict):
        raise Unreadable("a template of llm is a text or a mapping with `prompt:` or `system:`")
    for key in data:
        if key not in _KEYS:
            raise Unreadable(f"unknown key {key!r}, which llm rejects; it knows {', '.join(_KEYS)}")
    data = {key: value for key, value in data.items() if value is not None}
    draft.name = str(data.pop("name", ""))
    defaults = data.pop("defaults", None)
    for field in ("system", "prompt"):
        if field in data:
            setattr(draft, field, _text(draft, data.pop(field), field))
    for name, value in (defaults if isinstance(defaults, dict) else {}).items():
        _set_default(draft, name, value)
    _check_input(draft)
    _set_rest(draft, data)
    yield draft


def _set_rest(draft: Draft, data: dict[str, Any]) -> None:
    """Set what is not a text."""
    draft.set_model(data.pop("model", None))
    options = data.pop("options", None)
    if isinstance(options, dict):
        if options.pop("json_object", None):
            options["response_format"] = "json_object"
        draft.set_parameters(options, "options")
    draft.set_output(data.pop("schema_object", None), "schema_object")
    for field in ("tools", "functions"):
        draft.keep_tools(data.pop(field, None), field)
    for field in _REFERENCES:
        if data.get(field):
            draft.keep(
                field, data.pop(field), "reference",
                f"{field!r} are not read or fetched; they are kept in metadata.llm.{field}",
            )  # fmt: skip
    for field, value in data.items():
        draft.keep(field, value)


def _text(draft: Draft, value: Any, field: str) -> Text:
    """Return a text in which ``$name`` and ``${name}`` are variables, and ``$$`` a dollar.

    Raises:
        Unreadable: It is no text, or a dollar sign is followed by something else.
    """
    if not isinstance(value, str):
        raise Unreadable(f"`{field}:` is not a text: {value!r:.60}")
    text = lines_of(value, draft, field)
    builder, start = Builder(), 0
    for match in _SLOT.finditer(text):
        name = match[2] or match[3]
        if not match[1] and not name:
            line = text.count("\n", 0, match.start()) + 1
            raise Unreadable(
                f"`{field}:` has a $ without a name in its line {line}, which llm rejects; write $$"
            )
        builder.text(text[start : match.start()] + (match[1] or ""))
        if name == "input" and field == "prompt":
            builder.expression(draft.use_input("input"))
        elif name:
            if name == "input" and name not in draft.renamed:
                # In the system text it is a variable: the user's text is part of the prompt.
                draft.renamed[name], draft.variables["input_text"] = "input_text", {}
            builder.expression(draft.variable(name))
        start = match.end()
    return builder.text(text[start:]).built()


def _set_default(draft: Draft, name: str, value: Any) -> None:
    if name in draft.renamed:
        draft.variable(name, default=value if isinstance(value, str) else str(value))
    else:
        draft.kept.setdefault("defaults", {})[name] = value


def _check_input(draft: Draft) -> None:
    if "input" in draft.renamed:
        draft.note(
            "placement",
            "`$input` stands in `system:`, where a persona has no place for what the user types; "
            f"it is the variable {draft.renamed['input']!r}",
            field="system",
        )
    if draft.prompt is not None and draft.input is None:
        draft.fixed_prompt()


def write(out: Outgoing) -> dict[str, bytes]:
    """Write a template."""
    out.fields("model", "parameters", "output")
    messages = out.messages(variables=True)
    persona, fields = out.persona, dict[str, Any]()
    for role, text in messages:
        written = filled(text, lambda name: f"${{{name}}}", lambda part: part.replace("$", "$$"))
        if role == "system" and "system" not in fields and "prompt" not in fields:
            fields["system"] = written
        elif role == "user" and text == messages[-1][1] and "prompt" not in fields:
            if not is_input(text):
                fields["prompt"] = written
        else:
            out.note(
                "placement", "llm has no place for `messages:`; they are left out",
                field="messages", lost=True,
            )  # fmt: skip
    defaults = {
        name: str(persona.variables[name].default)
        for name in out.marked
        if not persona.variables[name].required
    }
    model = out.model or persona.model or ""
    fields |= {
        "model": model.removeprefix("openai/"),
        "defaults": defaults,
        "options": dict(persona.parameters),
        "schema_object": None if persona.output is None else dict(persona.output),
    }
    kept = {key: value for key, value in out.kept.items() if key in _KEYS and key not in fields}
    given = {key: value for key, value in {**fields, **kept}.items() if value not in (None, "", {})}
    return {f"{persona.name}.yaml": dumped(given).encode()}


def _looks(file: File) -> bool:
    data = looks_like(file.data, file.name)
    if isinstance(data, str):
        return "$input" in data
    known = isinstance(data, dict) and data and all(key in _KEYS for key in data)
    return bool(known) and any(key in data for key in ("prompt", "system"))


FORMAT = Format("llm", "NAME.yaml", read, write, suffixes=(".yaml", ".yml"), looks=_looks)
