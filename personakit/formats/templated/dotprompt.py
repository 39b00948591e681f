"""Dotprompt (https://google.github.io/dotprompt/reference/)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from personakit.errors import UsageError
from personakit.formats.data.roles import role_of, set_messages
from personakit.formats.draft import Draft
from personakit.formats.dumping import dumped
from personakit.formats.format import Format
from personakit.formats.markdown.fields import keep_rest
from personakit.formats.markdown.frontmatter import divided
from personakit.formats.note import Unreadable
from personakit.formats.outgoing import Outgoing, filled
from personakit.formats.sources import File
from personakit.formats.templated.handlebars import Compiler
from personakit.formats.templated.picoschema import schema_of, variables_of
from personakit.formats.templates import Builder, Text
from personakit.formats.text import decoded, utf8

_SUFFIX = ".prompt"


def read(file: File) -> Iterator[Draft]:
    """Read a prompt; a partial, whose name begins with an underscore, is none."""
    if file.name.startswith("_") and not file.tree.file:
        return
    draft = Draft("dotprompt", name=file.name.removesuffix(_SUFFIX).replace(".", "-"))
    parts = divided(_without_comments(decoded(file.data, draft)), draft)
    data = dict(parts.data)
    if isinstance(data.get("name"), str):
        variant = data.pop("variant", None)
        name = data.pop("name")
        draft.name = f"{name}-{variant}" if variant else name
    if isinstance(data.get("description"), str):
        draft.keys["description"] = data.pop("description").strip()
    draft.set_model(data.pop("model", None), line=parts.lines.get("model"))
    if isinstance(data.get("config"), dict):
        draft.set_parameters(data.pop("config"), "config")
    draft.keep_tools(data.pop("tools", None))
    _set_input(draft, data.pop("input", None))
    _set_output(draft, data.pop("output", None))
    set_messages(draft, _Messages(draft, file).read(parts.text))
    if not list(draft.texts):
        raise Unreadable("the text is empty: there is no message")
    keep_rest(draft, data, parts)
    yield draft


def _without_comments(text: str) -> str:
    """Return a text without the lines of comments before its frontmatter."""
    match = re.match(r"(?:[ \t]*(?:#[^\n]*)?\n)+(?=---[ \t]*\n)", text)
    return text[match.end() :] if match else text


def _set_input(draft: Draft, given: Any) -> None:
    if not isinstance(given, dict):
        return
    schema = given.get("schema")
    if isinstance(schema, dict):
        for name, declared in variables_of(schema_of(schema)).items():
            draft.variable(name, **declared)
    elif schema is not None:
        draft.keep("input.schema", schema, "reference", "the schema is named, and not in the file")
    for name, value in (given.get("default") or {}).items():
        declared = draft.variables.get(draft.renamed.get(str(name), ""), {})
        draft.variable(str(name), default=value, **({} if declared else {"type": "any"}))
        draft.variables[draft.renamed[str(name)]].pop("required", None)


def _set_output(draft: Draft, given: Any) -> None:
    if not isinstance(given, dict):
        return
    schema = given.get("schema")
    if isinstance(schema, dict):
        draft.set_output(schema_of(schema), "output.schema")
    elif given.get("format") == "json":
        draft.set_parameters({"response_format": "json_object"}, "output")
    elif schema is not None:
        draft.keep("output.schema", schema, "output", "the schema is named, and not in the file")


class _Messages:
    """Collects the messages of a template: a role begins another one."""

    def __init__(self, draft: Draft, file: File) -> None:
        self.draft, self.file = draft, file
        self.found: list[tuple[str, Builder]] = [("user", Builder())]
        self.compiler = Compiler(draft, self.found[0][1], self.partial, self.helper)

    def read(self, source: str) -> list[tuple[str, Text]]:
        """Return the messages that are not empty."""
        self.compiler.add(source)
        texts = [(role, builder.built()) for role, builder in self.found]
        return [(role, text) for role, text in texts if text.template or text.value.strip()]

    def helper(self, words: list[str]) -> bool:
        """Translate a helper of dotprompt; return whether it is one."""
        name = words[0]
        if name == "role" and len(words) == 2:
            if self.compiler.depth:
                raise Unreadable("a role stands in a block, so that messages come and go")
            role = role_of(words[1].strip("\"'"))
            self.found.append((role, Builder()))
            self.compiler.builder = self.found[-1][1]
        elif name == "history":
            self.draft.note(
                "history",
                "{{history}}, the place of earlier messages, is left out: personakit puts them "
                "before the prompt",
            )
        elif name in ("media", "section"):
            self.draft.note("media", f"{{{{{' '.join(words)}}}}} is left out", lost=True)
        else:
            return False
        return True

    def partial(self, name: str) -> str | None:
        """Return the text of a partial beside the file."""
        if not re.match(r"[\w./-]+\Z", name):
            return None
        folder, slash, last = name.rpartition("/")
        other = self.file.beside(f"{folder}{slash}_{last}{_SUFFIX}")
        if other is None:
            return None
        self.draft.data = (self.draft.data or self.file.data) + other.data
        return divided(utf8(other.data).replace("\r\n", "\n"), Draft("")).text


def write(out: Outgoing) -> dict[str, bytes]:
    """Write a prompt whose template has only names."""
    persona = out.persona
    out.fields("description", "model", "parameters", "output")
    names = {"assistant": "model", "developer": "system"}
    parts = []
    for role, content in out.messages(variables=True):
        text = filled(content, lambda name: f"{{{{{{{name}}}}}}}", _literal)
        parts.append(f'{{{{role "{names.get(role, role)}"}}}}{text}')
    config = {
        {"max_tokens": "maxOutputTokens", "top_p": "topP", "stop": "stopSequences"}.get(k, k): v
        for k, v in persona.parameters.items()
    }
    schema: dict[str, str] = {
        name + ("" if persona.variables[name].required else "?"): "string"
        + (
            f", {persona.variables[name].description}"
            if persona.variables[name].description
            else ""
        )
        for name in out.marked
    }
    if out.runner.catalog.compiled(persona).takes_input:
        schema["input"] = "string"
    defaults = {n: persona.variables[n].default for n in out.marked if persona.variables[n].default}
    fields: dict[str, Any] = {
        "model": out.model or persona.model or "",
        "description": persona.description,
        "config": config,
        "input": {key: one for key, one in (("schema", schema), ("default", defaults)) if one},
        "output": {} if persona.output is None else {"format": "json", "schema": persona.output},
    }
    kept = {key: value for key, value in out.kept.items() if key not in fields}
    given = {k: v for k, v in {**fields, **kept}.items() if v not in (None, "", [], {})}
    # Dotprompt takes an empty frontmatter for text.
    head = f"---\n{dumped(given)}---\n" if given else ""
    return {f"{persona.name}{_SUFFIX}": f"{head}{''.join(parts)}".encode()}


def _literal(text: str) -> str:
    if "\\{{" in text:
        raise UsageError("a text has \\{{, which dotprompt cannot hold")
    return text.replace("{{", "\\{{")


FORMAT = Format(
    "dotprompt",
    "*.prompt",
    read,
    write,
    named=lambda path: path.suffix == _SUFFIX,
    suffixes=(_SUFFIX,),
)
