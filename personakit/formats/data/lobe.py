"""Agents of LobeChat (https://github.com/lobehub/lobe-chat-agents)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from personakit.formats.data.document import json_of, looks_like
from personakit.formats.draft import Draft
from personakit.formats.format import Format
from personakit.formats.markdown.fields import system_of, with_slots
from personakit.formats.note import Unreadable
from personakit.formats.outgoing import Outgoing, filled, is_input
from personakit.formats.sources import File
from personakit.formats.templates import Text
from personakit.formats.text import lines_of

_SLOT = re.compile(r"\{\{\s*text\s*\}\}")
_LOCALE = re.compile(r"\.([a-z]{2}(?:-[A-Z]{2})?)\.json\Z")


def read(file: File) -> Iterator[Draft]:
    """Read an agent."""
    draft = Draft("lobe", dialect=_locale(file.name))
    data = json_of(file.data, draft)
    config = data.get("config") if isinstance(data, dict) else None
    if not isinstance(config, dict) or not isinstance(config.get("systemRole"), str):
        raise Unreadable("an agent needs `config.systemRole` with a text")
    rest, config = dict(data), dict(config)
    rest["config"] = config
    meta = rest["meta"] = dict(rest["meta"]) if isinstance(rest.get("meta"), dict) else {}
    draft.name = str(rest.pop("identifier", "") or meta.get("title") or "")
    draft.keys["description"] = _text(meta.pop("description", ""))
    draft.keys["tags"] = [tag for tag in meta.pop("tags", None) or [] if isinstance(tag, str)]
    draft.keys["authors"] = [one for one in [_text(rest.pop("author", ""))] if one]
    draft.keys["source"] = _text(rest.pop("homepage", ""))
    role = lines_of(config.pop("systemRole"), draft, "config.systemRole")
    draft.system = Text(role)
    _set_prompt(draft, config.pop("inputTemplate", None))
    draft.set_model(config.pop("model", None), "config.model")
    if isinstance(config.get("params"), dict):
        draft.set_parameters(config.pop("params"), "config.params")
    draft.keep_tools(config.pop("plugins", None), "config.plugins")
    if config.get("enableHistoryCount") and isinstance(config.get("historyCount"), int):
        draft.keys["history"] = {"keep": max(1, config.pop("historyCount"))}
        del config["enableHistoryCount"]
    _keep(draft, rest)
    yield draft


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""


def _locale(name: str) -> str:
    match = _LOCALE.search(name)
    return match[1] if match else ""


def _set_prompt(draft: Draft, template: Any) -> None:
    """Set what the user's text stands in, unless that is the text alone."""
    if not isinstance(template, str) or _SLOT.fullmatch(template.strip()) or not template.strip():
        return
    text = lines_of(template, draft, "config.inputTemplate")
    draft.prompt = with_slots(text, _SLOT, lambda match: draft.use_input(match[0])).built()
    if draft.input is None:
        draft.fixed_prompt()


def _keep(draft: Draft, rest: dict[str, Any]) -> None:
    for field, value in rest.items():
        inner = value if field in ("config", "meta") else {field: value}
        for name, one in inner.items():
            if one in (None, "", [], {}):
                continue
            path = f"{field}.{name}" if field in ("config", "meta") else name
            opening = name in ("openingMessage", "openingQuestions")
            draft.keep(
                path, one, "greeting" if opening else "unmapped",
                f"{path} is kept in metadata.lobe, and is not sent" if opening else "",
            )  # fmt: skip


def write(out: Outgoing) -> dict[str, bytes]:
    """Write an agent."""
    persona = out.persona
    out.fields("description", "tags", "authors", "source", "model", "parameters", "history")
    messages = out.messages(variables=False)
    last = messages[-1] if messages and messages[-1][0] == "user" else ("", "")
    config: dict[str, Any] = {"systemRole": ""}
    if persona.system is not None:
        config["systemRole"] = system_of(out, [m for m in messages if m is not last])
    if last[1] and not is_input(last[1]):
        config["inputTemplate"] = filled(last[1], lambda _: "{{text}}")
    if out.model or persona.model:
        config["model"] = (out.model or persona.model or "").removeprefix("openai/")
    if persona.parameters:
        config["params"] = dict(persona.parameters)
    if persona.history is not None:
        config |= {"enableHistoryCount": True, "historyCount": persona.history.keep}
    data: dict[str, Any] = {
        "author": ", ".join(persona.authors),
        "config": config,
        "homepage": persona.source,
        "identifier": out.original_name,
        "meta": {
            "title": persona.name, "description": persona.description, "tags": [*persona.tags]
        },
        "schemaVersion": 1,
    }  # fmt: skip
    for path, value in out.kept.items():
        part, dot, name = path.partition(".")
        (data[part] if dot and isinstance(data.get(part), dict) else data)[name or part] = value
    text = json.dumps(data, ensure_ascii=False, indent=2)
    return {f"{persona.name}.json": f"{text}\n".encode()}


def _looks(file: File) -> bool:
    data = looks_like(file.data, file.name)
    return isinstance(data, dict) and "identifier" in data and isinstance(data.get("config"), dict)


FORMAT = Format("lobe", "NAME.json", read, write, suffixes=(".json",), looks=_looks)
