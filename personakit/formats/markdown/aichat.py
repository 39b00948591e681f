"""Roles and agents of aichat (https://github.com/sigoden/aichat/wiki/Role-Guide)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from personakit.errors import PersonaError
from personakit.formats.draft import Draft
from personakit.formats.format import Format
from personakit.formats.markdown.fields import keep_rest, with_slots
from personakit.formats.markdown.frontmatter import Frontmatter, divided, written
from personakit.formats.note import Unreadable
from personakit.formats.outgoing import Outgoing, filled, is_input
from personakit.formats.sources import File
from personakit.formats.templates import Builder, Text
from personakit.formats.text import decoded, lines_of
from personakit.persona import yaml

_AGENT = "index.yaml"
_INPUT = "__INPUT__"
_CASE, _ANSWER = "### INPUT:", "### OUTPUT:"
_BUILTIN = "os os_distro os_family arch shell locale now cwd".split()
_SLOT = re.compile(r"__INPUT__|\{\{__(" + "|".join(_BUILTIN) + r")__\}\}")
_AGENT_SLOT = re.compile(r"\{\{(\w+)\}\}")
_MODEL = re.compile(rb"^model:[ \t]*[\w-]+:\S", re.MULTILINE)
_FIELDS = ("use_tools", "temperature", "top_p")


def read(file: File) -> Iterator[Draft]:
    """Read a role or an agent."""
    draft = Draft("aichat", dialect="agent" if file.name == _AGENT else "role")
    text = decoded(file.data, draft)
    if draft.dialect == "agent":
        _set_agent(draft, text)
    else:
        draft.name = file.name.removesuffix(".md")
        _set_role(draft, text)
    yield draft


def _set_role(draft: Draft, text: str) -> None:
    parts = divided(text, draft)
    data = dict(parts.data)
    draft.set_model(data.pop("model", None), line=parts.lines.get("model"))
    draft.set_parameters(
        {name: data.pop(name) for name in ("temperature", "top_p") if name in data}, ""
    )
    draft.keep_tools(data.pop("use_tools", None), "use_tools", parts.lines.get("use_tools"))
    keep_rest(draft, data, parts)
    _note_rules(draft, text, parts)
    prompt = parts.text.strip()
    if _INPUT in prompt:
        draft.prompt = _template(draft, prompt)
        return
    system, cases = _cases(prompt)
    if system:
        draft.system = _template(draft, system)
    for question, answer in cases:
        draft.messages += [("user", _template(draft, question))]
        draft.messages += [("assistant", _template(draft, answer))]
    if not prompt:
        draft.prompt = Builder().expression(draft.use_input("")).built()


def _note_rules(draft: Draft, text: str, parts: Frontmatter) -> None:
    """Note rules that aichat takes for a frontmatter: its pattern fits anywhere in the file."""
    first = parts.text.find("---") if not parts.data else -1
    if first >= 0 and parts.text.find("---", first + 3) > 0 and parts.text == text:
        draft.note(
            "frontmatter",
            "aichat takes two lines of --- anywhere for a frontmatter, and forgets what stands "
            "before the second; here all of it is text",
            line=text.count("\n", 0, first) + 1,
        )


def _template(draft: Draft, text: str) -> Text:
    def expression(match: re.Match[str]) -> str:
        if match[0] == _INPUT:
            return draft.use_input(_INPUT)
        draft.note("builtin", f"{match[0]}: aichat gives the value; here it is a variable")
        return draft.variable(match[1], description=f"{match[0]} of aichat")

    return with_slots(text, _SLOT, expression).built()


def _cases(prompt: str) -> tuple[str, list[tuple[str, str]]]:
    """Return the system message, and questions with answers if each question has one."""
    system, *rest = prompt.split(_CASE)
    pairs = [part.partition(_ANSWER) for part in rest]
    if not rest or any(not mark or not answer for _, mark, answer in pairs):
        return prompt, []
    return system.strip(), [(question.strip(), answer.strip()) for question, _, answer in pairs]


def _set_agent(draft: Draft, text: str) -> None:
    try:
        data = yaml.parse(text).data
    except PersonaError as error:
        first = error.problems[0]
        raise Unreadable(f"not YAML: {first.message}", first.line) from None
    if not isinstance(data, dict) or not isinstance(data.get("instructions"), str):
        raise Unreadable("an agent needs `instructions:` with a text")
    data = dict(data)
    draft.name = str(data.pop("name", "") or "")
    for field in ("description", "version"):
        if isinstance(data.get(field), str):
            draft.keys[field] = data.pop(field)
    declared = data.pop("variables", None)
    known = _declare(draft, declared if isinstance(declared, list) else [])
    instructions = lines_of(data.pop("instructions"), draft, "instructions")
    builtin = {f"__{name}__": name for name in _BUILTIN}

    def expression(match: re.Match[str]) -> str | None:
        if match[1] in builtin:
            draft.note("builtin", f"{match[0]}: aichat gives the value; here it is a variable")
            return draft.variable(builtin[match[1]])
        return draft.variable(match[1]) if match[1] in known else None

    draft.system = with_slots(instructions, _AGENT_SLOT, expression).built()
    keep_rest(draft, data, Frontmatter())


def _declare(draft: Draft, variables: list[Any]) -> set[str]:
    known = set()
    for one in variables:
        if isinstance(one, dict) and isinstance(one.get("name"), str):
            known.add(one["name"])
            default = one.get("default")
            draft.variable(
                one["name"],
                description=one.get("description"),
                default=None if default is None else str(default),
            )
    return known


def write(out: Outgoing) -> dict[str, bytes]:
    """Write a role."""
    out.fields("model", "parameters", "tools")
    parameters = dict(out.persona.parameters)
    fields: dict[str, Any] = {}
    model = out.model or out.persona.model
    if model:
        fields["model"] = model.replace("/", ":", 1)
    for name in ("temperature", "top_p"):
        if name in parameters:
            fields[name] = parameters.pop(name)
    for name in parameters:
        out.note("parameter", f"parameter {name!r} has no place in a role", field=name, lost=True)
    messages = out.messages(variables=_BUILTIN)
    text = _role_text(out, messages)
    return {f"{out.persona.name}.md": written({**fields, **out.kept}, text).encode()}


def _role_text(out: Outgoing, messages: list[tuple[str, str]]) -> str:
    if messages and messages[-1][0] == "user" and not is_input(messages[-1][1]):
        if len(messages) > 1:
            out.note(
                "placement",
                "a role with a prompt is one message: the texts before it stand in it, too",
                field="prompt",
            )
        return "\n\n".join(filled(text, _slot) for _, text in messages)
    parts = []
    for role, text in messages:
        if is_input(text):
            continue
        mark = {"user": f"{_CASE}\n", "assistant": f"{_ANSWER}\n"}.get(role, "")
        parts.append(mark + filled(text, _slot))
    return "\n\n".join(parts)


def _slot(name: str) -> str:
    return _INPUT if name == "input" else f"{{{{__{name}__}}}}"


def _looks(file: File) -> bool:
    if file.name == _AGENT:
        return b"instructions:" in file.data
    if file.place.parent.name == "roles" or b"__INPUT__" in file.data or b"### INPUT:" in file.data:
        return True
    head = file.data.lstrip(b"\xef\xbb\xbf").partition(b"\n---")[0]
    is_agent = b"\nname:" in head or b"\ndescription:" in head
    if not head.startswith(b"---") or is_agent:
        return False
    fields = any(f"\n{field}:".encode() in head for field in _FIELDS)
    return fields or _MODEL.search(head) is not None


FORMAT = Format(
    "aichat",
    "roles/NAME.md, NAME/index.yaml",
    read,
    write,
    suffixes=(".md", _AGENT),
    looks=_looks,
)
