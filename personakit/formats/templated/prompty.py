"""Prompty, in its three dialects (https://prompty.ai)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from personakit.errors import UsageError
from personakit.formats.data.document import document_of
from personakit.formats.data.roles import ROLES, set_messages
from personakit.formats.draft import Draft
from personakit.formats.dumping import dumped
from personakit.formats.format import Format
from personakit.formats.markdown.fields import described, keep_rest
from personakit.formats.markdown.frontmatter import divided
from personakit.formats.note import Unreadable
from personakit.formats.outgoing import Outgoing, filled
from personakit.formats.sources import File
from personakit.formats.templated.jinja import adapted, from_nunjucks
from personakit.formats.templated.mustache import from_mustache
from personakit.formats.templates import Text, escaped
from personakit.formats.text import decoded

_ROLE = re.compile(
    r"^[ \t]*#?[ \t]*(system|user|assistant|developer)[ \t]*(?:\[[^\]\n]*\])?[ \t]*:[ \t]*$",
    re.IGNORECASE | re.MULTILINE,
)
_HISTORY = re.compile(
    r"\{%-?\s*for\s+(\w+)\s+in\s+[\w.\[\]:-]+\s*-?%\}"
    r"(?P<body>(?:(?!\{%-?\s*endfor)[\s\S])*?\{\{-?\s*\1\s*[.\[][\s\S]*?)\{%-?\s*endfor\s*-?%\}\n?"
)
_BLOCK = re.compile(r"\{%-?\s*(end)?(for|if|macro|filter|call|block|with|set)\b[^%]*-?%\}")
_IMAGE = re.compile(r"!\[[^\]\n]*\]\(([^)\n]+)\)")
_FILE = re.compile(r"\$\{file:([^}]+)\}\Z")
_KINDS = {"string": "string", "integer": "integer", "float": "number", "number": "number",
          "boolean": "boolean", "array": "array", "list": "array", "object": "object",
          "dict": "object"}  # fmt: skip


def read(file: File) -> Iterator[Draft]:
    """Read a prompty file."""
    draft = Draft("prompty")
    parts = divided(decoded(file.data, draft), draft)
    data = dict(parts.data)
    draft.name = described(draft, data, parts)
    draft.dialect = _dialect(data)
    for field in ("authors", "tags"):
        if isinstance(data.get(field), list):
            draft.keys[field] = [str(one) for one in data.pop(field)]
    if isinstance(data.get("version"), str | int | float):
        draft.keys["version"] = str(data.pop("version"))
    _set_model(draft, data)
    thread = _set_inputs(draft, file, data)
    draft.set_output(_schema(data.pop("outputs", None)), "outputs")
    draft.keep_tools(data.pop("tools", None))
    kind = _template_kind(data)
    _set_texts(draft, parts.text.lstrip("\n"), kind, thread)
    if data.get("base"):
        draft.keep("base", data.pop("base"), "reference", "the file of `base:` is not read")
    keep_rest(draft, data, parts)
    yield draft


def _dialect(data: dict[str, Any]) -> str:
    model = data.get("model")
    if isinstance(model, dict):
        if "configuration" in model or "parameters" in model:
            return "v1"
        if "connection" in model and isinstance(data.get("inputs"), dict):
            return "middle"
    return "v2" if isinstance(model, str) or isinstance(data.get("inputs"), list) else "v1"


def _template_kind(data: dict[str, Any]) -> str:
    template = data.pop("template", None)
    if isinstance(template, dict):
        form = template.get("format", template.get("type", "jinja2"))
        template = form.get("kind", "jinja2") if isinstance(form, dict) else form
    return str(template or "jinja2").lower()


def _set_model(draft: Draft, data: dict[str, Any]) -> None:
    model = data.pop("model", None)
    if not isinstance(model, dict):
        draft.set_model(model)
        return
    model = dict(model)
    api = model.pop("api", model.pop("apiType", None))
    if api == "completion":
        draft.note("placement", "the prompt of a completion is sent as messages of a chat")
    elif api not in (None, "chat"):
        draft.keep("model.api", api)
    _set_connection(draft, model)
    for field in ("parameters", "options"):
        values = model.pop(field, None)
        if isinstance(values, dict):
            names = ("tools", "tool_choice", "stream")
            draft.set_parameters(
                {key: value for key, value in values.items() if key not in names}, f"model.{field}"
            )
            draft.keep_tools(values.get("tools"), f"model.{field}.tools")
    for field, value in model.items():
        if value not in (None, "", [], {}):
            draft.keep(f"model.{field}", value)


def _set_connection(draft: Draft, model: dict[str, Any]) -> None:
    """Set the model that a connection names; those of Azure are deployments."""
    connection = model.pop("configuration", None) or model.pop("connection", None)
    connection = dict(connection) if isinstance(connection, dict) else {}
    name = model.pop("id", None) or connection.pop("name", None) or connection.pop("model", None)
    provider = model.pop("provider", None)
    is_azure = "azure" in f"{connection.get('type', '')} {provider or ''}".lower()
    if name and not is_azure:
        named = f"{provider}/{name}" if provider and "/" not in str(name) else name
        draft.set_model(named, "model.id")
    elif connection or name:
        draft.note(
            "model",
            "the deployment of Azure, or the connection, is kept in metadata.prompty.model; choose "
            "a model with -m",
            field="model",
        )
    values = draft.safe("model", {**connection, **({"id": name} if name and is_azure else {})})
    if values:
        draft.kept.setdefault("model", {}).update(values)


def _set_inputs(draft: Draft, file: File, data: dict[str, Any]) -> set[str]:
    """Declare the inputs; return the names of those that are a conversation."""
    inputs = _loaded(draft, file, data.pop("inputs", None))
    sample = _loaded(draft, file, data.pop("sample", None))
    thread: set[str] = set()
    if isinstance(inputs, dict):
        inputs = [
            {"name": name, **(one if isinstance(one, dict) else {"default": one})}
            for name, one in inputs.items()
        ]
    for one in inputs if isinstance(inputs, list) else []:
        if not isinstance(one, dict) or not isinstance(one.get("name"), str):
            raise Unreadable(f"an input without a name: {one!r:.60}")
        if one.get("kind") == "thread":
            thread.add(one["name"])
        else:
            _declare(draft, one)
    for name, value in (sample if isinstance(sample, dict) else {}).items():
        _declare(draft, {"name": str(name), "sample": value})
    return thread


def _declare(draft: Draft, one: dict[str, Any]) -> None:
    kind = _KINDS.get(str(one.get("kind") or one.get("type") or "").lower())
    default, sample = one.get("default"), one.get("example", one.get("sample"))
    value = default if default is not None else sample
    found = kind or _type_of(value)
    if found is None:
        found = None if value is None else "any"
    declared = {
        "type": found if found != "string" else None,
        "description": one.get("description") or None,
        "enum": one.get("enumValues") or None,
        "default": default,
        "example": sample if default is None else None,
    }
    if default is None:
        declared["required"] = bool(one.get("required"))
    draft.variable(one["name"], **declared)


def _type_of(value: Any) -> str | None:
    if isinstance(value, bool):
        return "boolean"
    kinds = {str: "string", int: "integer", float: "number", list: "array", dict: "object"}
    return kinds.get(type(value))


def _loaded(draft: Draft, file: File, value: Any) -> Any:
    """Return a value, or that of the JSON file beside the source which it names."""
    if not isinstance(value, str):
        return value
    match = _FILE.match(value.strip())
    name = match[1] if match else value.strip()
    other = file.beside(name)
    if other is None or not name.lower().endswith((".json", ".yaml", ".yml")):
        raise Unreadable(f"{name!r:.80} is not a JSON file beside the source")
    draft.data = (draft.data or file.data) + other.data
    return document_of(other.data, other.name, draft)


def _schema(outputs: Any) -> dict[str, Any] | None:
    """Return the JSON Schema of `outputs`."""
    if isinstance(outputs, list):
        outputs = {one["name"]: one for one in outputs if isinstance(one, dict) and "name" in one}
    if not isinstance(outputs, dict) or not outputs:
        return None
    properties = {}
    for name, declared in outputs.items():
        one = declared if isinstance(declared, dict) else {}
        kind = _KINDS.get(str(one.get("kind") or one.get("type") or "string").lower(), "string")
        properties[name] = {"type": kind}
        if one.get("description"):
            properties[name]["description"] = one["description"]
    return {"type": "object", "properties": properties, "required": list(properties)}


def _set_texts(draft: Draft, text: str, kind: str, thread: set[str]) -> None:
    text = _without_history(draft, text, thread)
    found = list(_ROLE.finditer(text))
    starts = [match.start() for match in found]
    _check_blocks(text, starts)
    pieces = [("system", text[: starts[0]] if starts else text)]
    for match, end in zip(found, [*starts, len(text)][1:], strict=True):
        pieces.append((ROLES[match[1].lower()], text[match.end() + 1 : end]))
    messages = []
    for role, piece in pieces:
        content = _trimmed(piece, role)
        if content.strip():
            _note_images(draft, content)
            messages.append((role, _template(draft, content, kind)))
    if not messages:
        raise Unreadable("the text is empty: there is no message")
    set_messages(draft, messages)


def _trimmed(piece: str, role: str) -> str:
    """Return the text of a message: a system message keeps the line feed at its end."""
    kept = piece.strip("\n")
    return kept + "\n" if role == "system" and piece.endswith("\n") and kept else kept


def _template(draft: Draft, text: str, kind: str) -> Text:
    if kind in ("jinja2", "jinja"):
        return adapted(text, draft, optional=True, known=[*draft.renamed])
    if kind in ("mustache", "handlebars"):
        return from_mustache(text, draft)
    if kind == "nunjucks":
        return adapted(from_nunjucks(text), draft, optional=True, known=[*draft.renamed])
    raise Unreadable(f"unknown template {kind!r:.40}; use jinja2, mustache or nunjucks")


def _without_history(draft: Draft, text: str, thread: set[str]) -> str:
    """Return a text without the places of earlier messages, which personakit puts by itself."""

    def note(what: str) -> None:
        draft.note(
            "history",
            f"{what}, the place of earlier messages, is left out: personakit puts them before the "
            f"prompt",
        )

    def loop(match: re.Match[str]) -> str:
        body = match["body"]
        if "role" not in body:
            return match[0]
        note(f"the loop over {match[0].split(' in ')[-1].split('%')[0].strip()}")
        return ""

    text = _HISTORY.sub(loop, text)
    for name in thread:
        pattern = re.compile(r"\{\{\{?\s*" + re.escape(name) + r"\s*\}?\}\}\n?")
        if pattern.search(text):
            note(f"the input {name!r}")
            text = pattern.sub("", text)
    return text


def _check_blocks(text: str, starts: list[int]) -> None:
    """Raise Unreadable if a block of the template holds a line with a role."""
    depth, places = 0, iter([*starts, len(text) + 1])
    place = next(places)
    for match in _BLOCK.finditer(text):
        while place < match.start():
            if depth:
                line = text.count("\n", 0, place) + 1
                raise Unreadable(
                    f"a block of the template holds the role in its line {line}, so that messages "
                    f"come and go; a persona has the same messages always",
                    line,
                )
            place = next(places)
        is_inline = match[2] == "set" and "=" in match[0]
        if not is_inline:
            depth += -1 if match[1] else 1


def _note_images(draft: Draft, text: str) -> None:
    for match in _IMAGE.finditer(text):
        draft.note("media", f"{match[0]:.80} stays text; give a picture with -a")


def write(out: Outgoing) -> dict[str, bytes]:
    """Write a prompty file of version 2."""
    persona = out.persona
    out.fields("description", "version", "authors", "tags", "model", "parameters", "output")
    messages = out.messages(variables=True)
    text = "\n".join(
        f"{role}:\n{filled(content, lambda name: f'{{{{{name}}}}}', _literal)}"
        + ("" if content.endswith("\n") else "\n")
        for role, content in messages
    )
    if any(_ROLE.search(content) for _, content in messages):
        raise UsageError(
            f"{persona.name}: a text has a line like `system:`, which divides messages"
        )
    inputs = [
        {"name": name, "kind": "string", "description": persona.variables[name].description,
         "default": persona.variables[name].default}
        for name in out.marked
    ]  # fmt: skip
    if out.runner.catalog.compiled(persona).takes_input:
        inputs.append({"name": "input", "kind": "string"})
    model = out.model or persona.model or ""
    connection = {
        "id": model.removeprefix("openai/"),
        "apiType": "chat",
        "options": dict(persona.parameters),
    }
    fields: dict[str, Any] = {
        "name": out.original_name,
        "description": persona.description,
        "version": persona.version,
        "authors": [*persona.authors],
        "tags": [*persona.tags],
        "model": {key: one for key, one in connection.items() if one},
        "inputs": [{k: v for k, v in one.items() if v not in (None, "")} for one in inputs],
    }  # fmt: skip
    if persona.output is not None:
        out.note("output", "the schema of the answer has no place in prompty", lost=True)
    kept = {key: value for key, value in out.kept.items() if key not in (*fields, "model")}
    given = {k: v for k, v in {**fields, **kept}.items() if v not in (None, "", [], {})}
    return {f"{persona.name}.prompty": f"---\n{dumped(given)}---\n{text}".encode()}


def _literal(text: str) -> str:
    return escaped(text)


FORMAT = Format(
    "prompty",
    "*.prompty",
    read,
    write,
    named=lambda path: path.suffix.lower() == ".prompty",
    suffixes=(".prompty",),
)
