"""Prompts that are messages: those of promptfoo, OpenAI, Langfuse and MLflow."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from personakit.formats.data.document import json_of, looks_like, yaml_of
from personakit.formats.data.roles import content_of, role_of, set_messages
from personakit.formats.draft import Draft
from personakit.formats.dumping import dumped
from personakit.formats.format import Format
from personakit.formats.markdown.fields import with_slots
from personakit.formats.note import Note, Unreadable
from personakit.formats.outgoing import Outgoing, filled
from personakit.formats.sources import File
from personakit.formats.templated.jinja import adapted, from_nunjucks
from personakit.formats.templates import Text
from personakit.formats.text import decoded, utf8

_CONFIG = ("promptfooconfig.yaml", "promptfooconfig.yml")
_ENV = re.compile(r"\{\{-?\s*env\.(\w+)\s*-?\}\}")
_LANGFUSE = re.compile(r"\{\{\s*([A-Za-z_]\w*)\s*\}\}")
_PARAMETERS = (
    "temperature top_p max_tokens max_completion_tokens frequency_penalty presence_penalty seed "
    "stop response_format reasoning_effort verbosity logprobs top_logprobs logit_bias"
).split()
_Template = Callable[[str], Text]


def read(file: File) -> Iterator[Draft | Note | Unreadable]:
    """Read a document of messages, a text, or the prompts of a config of promptfoo."""
    if file.name in _CONFIG:
        yield from _config(file)
    elif file.name.lower().endswith(".txt"):
        yield from _texts(file)
    else:
        yield _document(file)


def _document(file: File, item: int | None = None) -> Draft:
    draft = Draft("messages", item=item)
    text = utf8(file.data)
    if re.match(r"\s*\[?\s*\{%", text):
        raise Unreadable("a template builds the list of messages, which a persona cannot do", 1)
    is_json = file.name.lower().endswith(".json")
    try:
        data = json_of(file.data, draft) if is_json else yaml_of(file.data, draft)
    except Unreadable as error:
        if "{%" in text and re.search(r'"role"|role:', text):
            raise Unreadable(
                "a template builds the list of messages, which a persona cannot do", error.line
            ) from None
        raise
    _set(draft, data)
    return draft


def _set(draft: Draft, data: Any) -> None:
    """Set a draft from a document of any of the kinds."""
    if isinstance(data, list):
        draft.dialect = "promptfoo"
        set_messages(draft, _messages(draft, data, _nunjucks(draft)))
    elif isinstance(data, dict) and "prompt" in data and data.get("type") in ("chat", "text"):
        draft.dialect = "langfuse"
        _set_langfuse(draft, dict(data))
    elif isinstance(data, dict) and isinstance(data.get("messages"), list):
        draft.dialect = "openai"
        rest = dict(data)
        set_messages(draft, _messages(draft, rest.pop("messages"), Text))
        _set_request(draft, rest)
    elif isinstance(data, dict) and isinstance(data.get("instructions"), str):
        draft.dialect = "assistant"
        rest = dict(data)
        draft.system = Text(content_of(rest.pop("instructions"), draft))
        draft.name = str(rest.pop("name", None) or "")
        draft.keys["description"] = rest.pop("description", None) or ""
        _set_request(draft, rest)
    else:
        raise Unreadable("no messages: expected a list of {role, content}, or `messages`")


def _messages(draft: Draft, items: list[Any], template: _Template) -> list[tuple[str, Text]]:
    found = []
    for one in items:
        if isinstance(one, dict) and one.get("type") == "placeholder":
            draft.note(
                "history",
                f"the place {one.get('name')!r:.40} of earlier messages is left out: personakit "
                f"puts them before the prompt",
            )
            continue
        if not isinstance(one, dict) or "role" not in one:
            raise Unreadable(f"{one!r:.60} is no message; expected a role and a content")
        role = role_of(one["role"])
        if one.get("tool_calls") or one.get("function_call"):
            raise Unreadable("a message with a call of a tool, which a persona cannot have")
        found.append((role, template(content_of(one.get("content"), draft))))
    return found


def _nunjucks(draft: Draft) -> _Template:
    def template(text: str) -> Text:
        for match in _ENV.finditer(text):
            draft.note(
                "reference",
                f"{match[0]}: the environment is not read; it is the variable 'env_{match[1]}'",
            )
        text = _ENV.sub(lambda match: f"{{{{ env_{match[1]} }}}}", text)
        return adapted(from_nunjucks(text), draft, optional=True)

    return template


def _set_langfuse(draft: Draft, data: dict[str, Any]) -> None:
    """Set a prompt of Langfuse, in which a variable without a value stays as it is written."""

    def template(text: str) -> Text:
        return with_slots(text, _LANGFUSE, lambda match: draft.variable(match[1])).built()

    draft.name = str(data.pop("name", None) or "")
    if data.get("version") is not None:
        draft.keys["version"] = str(data.pop("version"))
    draft.keys["tags"] = [tag for tag in data.pop("tags", None) or [] if isinstance(tag, str)]
    prompt, kind = data.pop("prompt"), data.pop("type")
    if kind == "text":
        set_messages(draft, [("user", template(content_of(prompt, draft)))])
    elif isinstance(prompt, list):
        set_messages(draft, _messages(draft, prompt, template))
    else:
        raise Unreadable("`prompt` of a chat is no list of messages")
    config = data.pop("config", None)
    if isinstance(config, dict):
        draft.set_model(config.pop("model", None), "config.model")
        draft.set_parameters(config, "config")
    for field, value in data.items():
        if value not in (None, "", [], {}):
            draft.keep(field, value)


def _set_request(draft: Draft, rest: dict[str, Any]) -> None:
    draft.set_model(rest.pop("model", None))
    draft.keep_tools(rest.pop("tools", None))
    draft.set_parameters(
        {name: rest.pop(name) for name in _PARAMETERS if rest.get(name) is not None}, ""
    )
    for field, value in rest.items():
        if value not in (None, "", [], {}) and field != "object":
            draft.keep(field, value)


def _texts(file: File) -> Iterator[Draft | Note]:
    shared = Draft("messages")
    text = decoded(file.data, shared)
    yield from shared.notes
    parts = re.split(r"^---[ \t]*\n", text, flags=re.MULTILINE)
    many = len(parts) > 1
    for number, part in enumerate(parts, 1):
        draft = Draft("messages", dialect="text", item=number if many else None)
        draft.data = part.encode() if many else None
        body = part.strip("\n")
        if not body.strip():
            yield Note("empty", f"the part {number} has no text")
            continue
        set_messages(draft, [("user", _nunjucks(draft)(body))])
        yield draft


def _config(file: File) -> Iterator[Draft | Note | Unreadable]:
    data = yaml_of(file.data, Draft("messages"))
    prompts = data.get("prompts") if isinstance(data, dict) else None
    for number, prompt in enumerate(prompts if isinstance(prompts, list) else [prompts], 1):
        text = prompt.get("raw") or prompt.get("id") if isinstance(prompt, dict) else prompt
        if not isinstance(text, str):
            yield Unreadable(f"prompt {number} is no text", None, number)
            continue
        try:
            yield from _prompt(file, text, number)
        except Unreadable as error:
            yield Unreadable(error.reason, error.line, number)


def _prompt(file: File, text: str, number: int) -> Iterator[Draft | Note | Unreadable]:
    if text.startswith("file://"):
        other = file.beside(text.removeprefix("file://"))
        if other is None or other.path.suffix not in (".json", ".yaml", ".yml", ".txt"):
            raise Unreadable(f"{text!r:.80} is not there, or is a program, which is not run")
        for one in read(other):
            if isinstance(one, Draft):
                one.item, one.data = (
                    number if one.item is None else f"{number}.{one.item}",
                    other.data,
                )
                one.name = one.name or other.path.stem
            yield one
        return
    draft = Draft("messages", name=f"prompt-{number}", dialect="promptfoo", item=number)
    draft.data = text.encode()
    parsed = _parsed(text)
    if isinstance(parsed, list):
        _set(draft, parsed)
    else:
        set_messages(draft, [("user", _nunjucks(draft)(text))])
    yield draft


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def write(out: Outgoing) -> dict[str, bytes]:
    """Write a list of messages; into a folder also a config of promptfoo that uses it."""
    out.fields("description")

    def literal(text: str) -> str:
        return re.sub(r"\{(?=[{%#])", "{{ '{' }}", text)

    messages = [
        {"role": role, "content": filled(text, lambda name: f"{{{{ {name} }}}}", literal)}
        for role, text in out.messages(variables=True)
    ]
    if out.runner.catalog.compiled(out.persona).takes_input:
        out.note("input", "what the user types is the variable `input` of the list")
    text = json.dumps(messages, ensure_ascii=False, indent=2)
    files = {f"{out.persona.name}.json": f"{text}\n".encode()}
    if out.folder:
        config = {"prompts": [f"file://{out.persona.name}.json"], "providers": [], "tests": []}
        if out.model or out.persona.model:
            name = out.model or out.persona.model or ""
            config["providers"] = [name.replace("/", ":", 1)]
        files[_CONFIG[0]] = dumped({key: one for key, one in config.items() if one}).encode()
    return files


def _looks(file: File) -> bool:
    if file.name.lower().endswith(".txt"):
        return False
    data = looks_like(file.data, file.name)
    if data is None:
        return re.match(rb"\s*\[\s*\{%.*\"role\"", file.data, re.DOTALL) is not None
    if isinstance(data, list):
        return bool(data) and all(isinstance(one, dict) and "role" in one for one in data)
    if not isinstance(data, dict):
        return False
    is_assistant = isinstance(data.get("instructions"), str) and "model" in data
    return (
        is_assistant
        or (isinstance(data.get("messages"), list) and "lc" not in data)
        or ("prompt" in data and data.get("type") in ("chat", "text"))
    )


FORMAT = Format(
    "messages",
    "*.json, *.yaml or *.txt with messages, promptfooconfig.yaml",
    read,
    write,
    named=lambda path: path.name in _CONFIG,
    suffixes=(".json", ".yaml", ".yml", ".txt"),
    looks=_looks,
    anything=True,
)
