"""Modelfiles of Ollama (https://docs.ollama.com/modelfile)."""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from personakit.errors import UsageError
from personakit.formats.draft import Draft
from personakit.formats.format import Format
from personakit.formats.note import Unreadable
from personakit.formats.outgoing import Outgoing, filled, is_input
from personakit.formats.sources import File
from personakit.formats.templates import Builder, Text
from personakit.formats.text import decoded

_COMMANDS = (
    "from", "adapter", "license", "template", "system", "renderer", "parser", "parameter",
    "message", "requires", "draft",
)  # fmt: skip
_ROLES = ("system", "user", "assistant")
_WORD = re.compile(r"[A-Za-z]+\Z")
_MODEL = re.compile(r"[A-Za-z0-9][\w.-]*(?:/[\w.-]+)*(?::[\w.-]+)?\Z", re.ASCII)
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_QUOTES = '"""'


@dataclass(frozen=True, slots=True)
class _Command:
    name: str
    value: str
    line: int


def read(file: File) -> Iterator[Draft]:
    """Read a Modelfile."""
    draft = Draft("modelfile")
    commands = list(_commands(_decoded(file.data, draft)))
    if not any(one.name == "from" for one in commands):
        raise Unreadable("no FROM: a Modelfile names its model, as in FROM llama3.2")
    parameters: dict[str, Any] = {}
    for one in commands:
        _note_nonprintable(draft, one)
        if one.name == "parameter":
            _set_parameter(parameters, one)
        else:
            _set(draft, one)
    draft.set_parameters(parameters)
    if draft.system is None and not draft.messages:
        draft.note("empty", "there is no SYSTEM: the persona sends what the user types alone")
        draft.prompt = Builder().expression("input").built()
    yield draft


def _decoded(data: bytes, draft: Draft) -> str:
    if data.startswith(_UTF16):
        try:
            data = data.decode("utf-16").encode()
        except UnicodeError:
            raise Unreadable("not UTF-16, as its byte order mark says; save it as utf-8") from None
        draft.note("bom", "the file is UTF-16; it was read as its byte order mark says", line=1)
    return decoded(data, draft)


def _commands(text: str) -> Iterator[_Command]:
    """Yield the commands.

    Raises:
        Unreadable: A command is unknown or has no value, or a quote is not closed.
    """
    lines = text.split("\n")
    at = 0
    while at < len(lines):
        line, begun = lines[at].lstrip(" \t"), at + 1
        at += 1
        if not line.strip() or line.startswith("#"):
            continue
        name, _, rest = line.replace("\t", " ", 1).partition(" ")
        if not _WORD.match(name) or name.lower() not in _COMMANDS:
            known = ", ".join(one.upper() for one in _COMMANDS)
            raise Unreadable(f"unknown command {name!r:.40}; the commands are {known}", begun)
        rest, role = rest.lstrip(" \t"), ""
        if name.lower() in ("message", "parameter"):
            role, _, rest = rest.partition(" ")
            rest = rest.lstrip(" \t")
        if rest.startswith(_QUOTES):
            value, at = _quoted(lines, at, rest[3:], _QUOTES, begun)
        elif rest.startswith('"'):
            value, at = _quoted(lines, at, rest[1:], '"', begun)
        else:
            value = rest.rstrip()
        if not value and not role:
            raise Unreadable(f"{name.upper()} has no value", begun)
        yield _Command(name.lower(), f"{role} {value}" if role else value, begun)


def _quoted(lines: list[str], at: int, first: str, mark: str, begun: int) -> tuple[str, int]:
    """Return a quoted value, and the next line; a quote is closed at the end of a line alone."""
    parts, part = [], first
    while True:
        end = part.rstrip()
        if end.endswith(mark):
            parts.append(end.removesuffix(mark))
            return "\n".join(parts), at
        parts.append(part)
        if at >= len(lines):
            raise Unreadable(f"the quote {mark} is not closed; write {mark} after the text", begun)
        part = lines[at]
        at += 1


def _set(draft: Draft, one: _Command) -> None:
    value = one.value
    if one.name == "from":
        _set_model(draft, one)
    elif one.name == "system":
        if draft.system is not None:
            draft.note(
                "duplicate", "SYSTEM stands twice; the last one counts", field="SYSTEM",
                line=one.line, lost=True,
            )  # fmt: skip
        draft.system = Text(value)
    elif one.name == "message":
        role, _, text = value.partition(" ")
        if role.lower() not in _ROLES:
            raise Unreadable(
                f"unknown role {role!r:.40}; a MESSAGE is one of {', '.join(_ROLES)}", one.line
            )
        draft.messages.append((role.lower(), Text(text)))
    elif one.name == "license" and "license" not in draft.keys and "\n" not in value.strip():
        draft.keys["license"] = value.strip()
    elif one.name == "license":
        draft.kept.setdefault("license", []).append(value)
        draft.note(
            "unmapped", "the text of the licence is kept in metadata.modelfile.license",
            field="LICENSE", line=one.line,
        )  # fmt: skip
    else:
        draft.keep(one.name, value, line=one.line)


def _set_model(draft: Draft, one: _Command) -> None:
    name = one.value.strip()
    is_path = name.startswith((".", "/", "~")) or name.lower().endswith((".gguf", ".safetensors"))
    if _MODEL.match(name) and not is_path and not name.startswith("hf.co"):
        draft.keys["model"] = f"ollama/{name}"
        return
    draft.keep(
        "from", name, "model",
        f"FROM {name:.80} is a file or an address, which a persona cannot name; it is kept in "
        f"metadata.modelfile.from, choose a model with -m", one.line,
    )  # fmt: skip


def _set_parameter(parameters: dict[str, Any], one: _Command) -> None:
    name, _, value = one.value.partition(" ")
    if name.lower() == "stop":
        parameters.setdefault("stop", []).append(value)
    else:
        parameters[name.lower()] = value


def _note_nonprintable(draft: Draft, one: _Command) -> None:
    """Note the characters that Ollama drops: those that Go does not take for printable."""
    dropped = sorted({
        f"U+{ord(character):04X}" for character in one.value
        if character not in "\n\t " and unicodedata.category(character)[0] in "CZ"
    })  # fmt: skip
    if dropped:
        draft.note(
            "nonprintable",
            f"{one.name.upper()} has {', '.join(dropped[:5])}, which Ollama drops and the persona "
            f"keeps",
            field=one.name.upper(),
            line=one.line,
        )


def write(out: Outgoing) -> dict[str, bytes]:
    """Write a Modelfile.

    Raises:
        UsageError: No model of Ollama is known, or a text holds three quotes.
    """
    persona, kept = out.persona, out.kept
    out.fields("model", "parameters", "license")
    model = out.model or persona.model or ""
    source = kept.pop("from", "") or (model.removeprefix("ollama/") if model else "")
    if not source or ("/" in model and not model.startswith("ollama/") and "from" not in out.kept):
        raise UsageError(
            f"{persona.name}: a Modelfile needs a model of Ollama; name it with -m ollama/NAME"
        )
    lines = [f"FROM {source}"]
    for name, value in {**persona.parameters, **kept.pop("parameters", {})}.items():
        own = {"max_tokens": "num_predict"}.get(name, name)
        for one in value if isinstance(value, list | tuple) else (value,):
            lines.append(f"PARAMETER {own} {_written(out, str(one)) if own == 'stop' else one}")
    for role, text in out.messages(variables=False):
        if is_input(text):
            continue
        content = filled(text, lambda name: name)
        is_first = not any(line.startswith("SYSTEM ") for line in lines)
        if role in ("system", "developer") and is_first:
            lines.append(f"SYSTEM {_written(out, content)}")
        else:
            lines.append(f"MESSAGE {role} {_written(out, content)}")
    if persona.license:
        lines.append(f"LICENSE {_written(out, persona.license)}")
    for name, value in kept.items():
        for one in value if isinstance(value, list) else [value]:
            lines.append(f"{name.upper()} {_written(out, str(one))}")
    return {f"{persona.name}.modelfile": ("\n".join(lines) + "\n").encode()}


def _written(out: Outgoing, text: str) -> str:
    if _QUOTES in text:
        raise UsageError(
            f"{out.persona.name}: a text holds three quotes, which a Modelfile cannot hold"
        )
    if text.endswith('"'):
        out.note("edges", "a text that ends in a quote got a line feed at its end")
        text += "\n"
    return f"{_QUOTES}{text}{_QUOTES}"


FORMAT = Format(
    "modelfile",
    "Modelfile, *.modelfile",
    read,
    write,
    named=lambda path: path.name.lower() == "modelfile" or path.suffix.lower() == ".modelfile",
)
