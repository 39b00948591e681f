"""Prompts of LangChain: dumps of its classes, and files of `load_prompt`."""

from __future__ import annotations

import string
from collections.abc import Iterator, Mapping
from typing import Any

from personakit.formats.data.document import document_of, looks_like
from personakit.formats.data.roles import content_of, role_of, set_messages
from personakit.formats.draft import Draft
from personakit.formats.format import Format
from personakit.formats.note import Unreadable
from personakit.formats.sources import File
from personakit.formats.templated.fstrings import from_fstring
from personakit.formats.templated.jinja import adapted
from personakit.formats.templated.mustache import from_mustache
from personakit.formats.templates import Builder, Text
from personakit.formats.text import utf8

_PACKAGES = ("langchain", "langchain_core")
_CLASSES = {
    "SystemMessagePromptTemplate": "system",
    "HumanMessagePromptTemplate": "user",
    "AIMessagePromptTemplate": "assistant",
    "SystemMessage": "system",
    "HumanMessage": "user",
    "AIMessage": "assistant",
}
_TYPES = ("prompt", "few_shot", "chat")
_FORMATS = ("f-string", "jinja2", "mustache")


def read(file: File) -> Iterator[Draft]:
    """Read a dump, or a file of `load_prompt`."""
    draft = Draft("langchain")
    data = document_of(file.data, file.name, draft)
    if isinstance(data, dict) and "lc" in data:
        draft.dialect = "dump"
        set_messages(draft, _of_dump(draft, data))
    elif isinstance(data, dict) and data.get("_type") in _TYPES:
        draft.dialect = str(data["_type"])
        set_messages(draft, [("user", _of_file(draft, data, file))])
    else:
        raise Unreadable(
            f"no prompt of LangChain: expected `lc`, or `_type` of {', '.join(_TYPES)}"
        )
    yield draft


def _of_dump(draft: Draft, data: Mapping[str, Any]) -> list[tuple[str, Text]]:
    """Return the messages of an object, which is read as data and never made."""
    if data.get("type") == "secret":
        raise Unreadable(f"a secret, {'/'.join(map(str, data.get('id', [])))!r}, is no prompt")
    path = [str(part) for part in data.get("id") or [""]]
    name, kwargs = path[-1], data.get("kwargs")
    if path[0] not in _PACKAGES or not isinstance(kwargs, dict):
        raise Unreadable(f"{'.'.join(path)} is no class of LangChain's prompts, and is not made")
    _set_partials(draft, kwargs)
    if name == "ChatPromptTemplate":
        found: list[tuple[str, Text]] = []
        for one in kwargs.get("messages") or []:
            if not isinstance(one, dict):
                raise Unreadable(f"{one!r:.60} is no message of a dump")
            found += _of_dump(draft, one)
        return found
    if name == "MessagesPlaceholder":
        draft.note(
            "history",
            f"the place {kwargs.get('variable_name')!r:.40} of earlier messages is left out: "
            f"personakit puts them before the prompt",
        )
        return []
    return [_message_of(draft, name, data, kwargs)]


def _message_of(
    draft: Draft, name: str, data: Mapping[str, Any], kwargs: Mapping[str, Any]
) -> tuple[str, Text]:
    if name in _CLASSES and "prompt" in kwargs:
        return _CLASSES[name], _prompt_of(draft, kwargs["prompt"])
    if name in _CLASSES and "content" in kwargs:
        return _CLASSES[name], Text(content_of(kwargs["content"], draft))
    if name == "ChatMessagePromptTemplate":
        return role_of(kwargs.get("role")), _prompt_of(draft, kwargs.get("prompt"))
    if name == "PromptTemplate":
        return "user", _prompt_of(draft, data)
    raise Unreadable(f"{name} is no prompt that a persona can have")


def _prompt_of(draft: Draft, data: Any) -> Text:
    if isinstance(data, list):
        builder = Builder()
        parts = [_prompt_of(draft, one) for one in data]
        if any(part.template for part in parts):
            return Text("\n".join(part.source() for part in parts), template=True)
        return builder.text("\n".join(part.value for part in parts)).built()
    if not isinstance(data, dict) or not isinstance(data.get("kwargs"), dict):
        raise Unreadable(f"{data!r:.60} is no prompt of a dump")
    if data.get("type") == "secret":
        raise Unreadable("a secret is no prompt")
    name, kwargs = str((data.get("id") or [""])[-1]), data["kwargs"]
    if name == "ImagePromptTemplate":
        draft.note("media", "the template of an image was left out", lost=True)
        return Text("")
    _set_partials(draft, kwargs)
    return _text(draft, kwargs.get("template"), kwargs.get("template_format", "f-string"))


def _set_partials(draft: Draft, kwargs: Mapping[str, Any]) -> None:
    partials = kwargs.get("partial_variables")
    for name, value in (partials if isinstance(partials, dict) else {}).items():
        if isinstance(value, dict) and value.get("type") == "secret":
            raise Unreadable(f"the variable {name!r} is a secret, which is not read")
        draft.variable(name, default=value if isinstance(value, str) else str(value))


def _text(draft: Draft, template: Any, form: Any) -> Text:
    if not isinstance(template, str):
        raise Unreadable("a prompt has no template")
    if form == "jinja2":
        return adapted(template, draft, optional=True)
    if form == "mustache":
        return from_mustache(template, draft)
    if form != "f-string":
        raise Unreadable(f"unknown template_format {form!r:.40}; use one of {', '.join(_FORMATS)}")
    return from_fstring(template, draft)


def _of_file(draft: Draft, data: Mapping[str, Any], file: File) -> Text:
    _set_partials(draft, data)
    if isinstance(data.get("name"), str):
        draft.name = data["name"]
    if data["_type"] == "few_shot":
        return _few_shot(draft, data, file)
    template = _template_of(draft, data, "template", file)
    return _text(draft, template, data.get("template_format", "f-string"))


def _template_of(draft: Draft, data: Mapping[str, Any], field: str, file: File) -> Any:
    path = data.get(f"{field}_path")
    if not isinstance(path, str):
        return data.get(field)
    other = file.beside(path)
    if other is None:
        raise Unreadable(f"{path!r:.80}, the {field}, is not beside the file")
    draft.data = (draft.data or file.data) + other.data
    return utf8(other.data)


def _few_shot(draft: Draft, data: Mapping[str, Any], file: File) -> Text:
    """Return the text of examples between a prefix and a suffix."""
    examples, prompt = data.get("examples"), data.get("example_prompt")
    if isinstance(examples, str):
        other = file.beside(examples)
        if other is None:
            raise Unreadable(f"{examples!r:.80}, the examples, is not beside the file")
        examples = document_of(other.data, other.name, draft)
    if not isinstance(examples, list) or not isinstance(prompt, dict):
        raise Unreadable("few_shot needs `examples`, a list, and `example_prompt`")
    form = prompt.get("template_format", "f-string")
    if form != "f-string":
        raise Unreadable(f"the template_format {form!r:.40} of examples; only f-string is read")
    parts = []
    for example in examples:
        try:
            parts.append(Text(_rendered(str(prompt["template"]), example)))
        except (KeyError, ValueError, IndexError, AttributeError, TypeError) as error:
            raise Unreadable(f"an example does not fit its prompt: {error}") from None
    ends = data.get("template_format", "f-string")
    before, after = (_template_of(draft, data, field, file) or "" for field in ("prefix", "suffix"))
    found = [*([_text(draft, before, ends)] if before else []), *parts]
    found += [_text(draft, after, ends)] if after else []
    separator = str(data.get("example_separator", "\n\n"))
    return Text(separator.join(text.source() for text in found), template=True)


def _rendered(template: str, example: Any) -> str:
    """Return an example in its format string; only names of the example are read."""
    parts = []
    for text, name, _, _ in string.Formatter().parse(template):
        parts.append(text)
        if name is not None:
            parts.append(str(example[name]))
    return "".join(parts)


def _looks(file: File) -> bool:
    data = looks_like(file.data, file.name)
    return isinstance(data, dict) and ("lc" in data or data.get("_type") in _TYPES)


FORMAT = Format(
    "langchain",
    "*.json or *.yaml with lc or _type",
    read,
    suffixes=(".json", ".yaml", ".yml"),
    looks=_looks,
)
