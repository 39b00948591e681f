"""Requests, personas, traces and conversations in a notebook, as HTML.

The values are of rooms above this one, so their attributes are documented there.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from personakit.base import counted, printable
from personakit.display.html import Html, diff, folded, joined, shown, table, tag, text

Bundle = dict[str, Any]
_COLUMNS = ("variable", "type", "value", "description")


def request_bundle(request: Any) -> Bundle:
    """Return what a notebook shows for a `Request`: its messages, each in a box that folds."""
    about = [request.model or "no model chosen", *_settings(request.parameters)]
    boxes = _messages(request.messages)
    if request.tools:
        names = ", ".join(tool.name for tool in request.tools)
        boxes.append(folded(f"tools: {names}", *(text(_tool(tool)) for tool in request.tools)))
    return _bundle(request, *boxes, tag("div", " · ".join(about), style="grey"))


def conversation_bundle(conversation: Any) -> Bundle:
    """Return what a notebook shows for a `Conversation`: its history."""
    count = len(conversation.messages)
    about = f"{conversation.persona.name} · {counted(count, 'message')}"
    about += f" · {conversation.model}" if conversation.model else ""
    head = tag("div", f"{about} · {conversation.id}", style="grey")
    return _bundle(conversation, *_messages(conversation.messages), head)


def persona_bundle(persona: Any) -> Bundle:
    """Return what a notebook shows for a `Persona`: what it is, what it takes and what it uses."""
    name = tag("strong", persona.name)
    lines = [tag("div", line, style="grey") for line in _about(persona)]
    boxes = [folded(role, text(source)) for role, source in _texts(persona)]
    rows = [_variable(variable) for variable in persona.variables.values()]
    takes = table(_COLUMNS, rows) if rows else Html()
    described = f": {persona.description}" if persona.description else ""
    return _bundle(persona, tag("div", name, described), *lines, takes, *boxes)


def persona_text(persona: Any) -> str:
    """Return what a terminal shows for a `Persona`: the same as `persona_bundle`."""
    described = f": {persona.description}" if persona.description else ""
    lines = [f"{persona.name}{described}", *_about(persona)]
    found = [_COLUMNS, *(_variable(variable) for variable in persona.variables.values())]
    rows = [[" ".join(cell.split()) for cell in row] for row in found]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    if len(rows) > 1:
        cells = ([cell.ljust(n) for cell, n in zip(row, widths, strict=True)] for row in rows)
        lines += ["", *("  ".join(row).rstrip() for row in cells)]
    for role, source in _texts(persona):
        lines += ["", f"--- {role}", source.rstrip("\n")]
    return printable("\n".join(lines))


def _about(persona: Any) -> list[str]:
    """Return what a persona is and uses, each as a line."""
    pairs = [
        ("tags", ", ".join(persona.tags)),
        ("extends", ", ".join(persona.extends)),
        ("model", persona.model or ""),
        ("parameters", ", ".join(_settings(persona.parameters))),
        ("tools", ", ".join(persona.tools)),
        ("plugins", ", ".join(use.name for use in persona.plugins)),
    ]
    return [f"{key}: {value}" for key, value in pairs if value]


def _texts(persona: Any) -> list[tuple[str, str]]:
    """Return the templates of a persona, each with its role."""
    texts = [("system", persona.system), *persona.messages, ("prompt", persona.prompt)]
    return [(role, one.source) for role, one in texts if one is not None]


def look_bundle(look: Any, usage: str) -> Bundle:
    """Return what a notebook shows for a `Look`: its findings, and the messages with their tokens.

    Args:
        look: The look.
        usage: How the persona is used.
    """
    above = [
        (
            f"line {it.line}: {it.code} {it.message}",
            "removed" if it.severity == "error" else "warned",
        )
        for it in look.findings
    ]
    above += [(f"not rendered: {look.error}", "removed")] if look.error else []
    messages = look.request.messages if look.request is not None else ()
    counts = [
        f"{'' if exact else 'about '}{counted(count, 'token')}" for count, exact in look.tokens
    ]
    values = dict(look.samples) if look.prompt is None else {**look.samples, "prompt": look.prompt}
    made_up = ", ".join(f"{name}={_json(value)}" for name, value in values.items())
    below = [f"made up for the preview: {made_up}"] if made_up else []
    below.append(f"can be used as {usage}")
    boxes = [
        *(tag("div", line, style=style) for line, style in above),
        *_messages(messages, counts),
        *(tag("div", line, style="grey") for line in below),
    ]
    plain = [
        *(line for line, _ in above),
        *(
            f"--- {message.role} · {count}\n{message.text}"
            for message, count in zip(messages, counts, strict=True)
        ),
        *(f"--- {line}" for line in below),
    ]
    return {**_bundle(look, *boxes), "text/plain": printable("\n".join(plain))}


def trace_bundle(trace: Any) -> Bundle:
    """Return what a notebook shows for a `Trace`: a row for each step, with its changes folded."""
    rows = [
        (
            "\u2003" * step.depth + _layer(step),
            step.way,
            f"{step.seconds * 1000:.1f}",
            _effect(step),
        )
        for step in trace.steps
    ]
    return _bundle(trace, table(("layer", "way", "ms", "changes"), rows))


def personas_bundle(rows: Iterable[tuple[str, str, str]]) -> Bundle:
    """Return a list of personas: name, description and tags of each."""
    listed = list(rows)
    plain = "\n".join("\t".join(row) for row in listed)
    return {
        "text/html": str(shown(table(("persona", "description", "tags"), listed))),
        "text/plain": printable(plain),
    }


def error_bundle(message: str) -> Bundle:
    """Return what a form shows for an error."""
    return {
        "text/html": str(shown(tag("div", message, style="removed"))),
        "text/plain": printable(message),
    }


def _bundle(value: Any, *children: str) -> Bundle:
    return {"text/html": str(shown(*children)), "text/plain": printable(repr(value))}


def _messages(messages: Iterable[Any], sizes: Iterable[str] = ()) -> list[Html]:
    """Return a box for each message; the last one is open."""
    listed = list(messages)
    sized = list(sizes) or [counted(len(message.text), "character") for message in listed]
    return [
        folded(_title(message, size), _content(message), is_open=number == len(listed))
        for number, (message, size) in enumerate(zip(listed, sized, strict=True), 1)
    ]


def _title(message: Any, size: str) -> str:
    words = " ".join(message.text[:200].split())
    start = words if len(words) <= 70 else f"{words[:69]}…"
    return f"{message.role} · {size} · {start}" if start else message.role


def _content(message: Any) -> Html:
    parts = [tag("div", f"[{_part(part)}]", style="grey") for part in message.parts]
    calls = [text(f"{call.name}({call.arguments})") for call in message.tool_calls]
    return joined(text(message.text) if message.text else "", *parts, *calls)


def _part(part: Mapping[str, Any]) -> str:
    """Return the kind of an attachment and its size."""
    size = len(json.dumps(part, default=str))
    return (
        f"{str(part.get('type', 'part')).replace('_', ' ')}, {counted(size, 'character')} of data"
    )


def _tool(tool: Any) -> str:
    names = ", ".join(tool.parameters.get("properties", {}))
    about = tool.description.strip().partition("\n")[0]
    return f"{tool.name}({names}){about and f': {about}'}"


def _settings(parameters: Mapping[str, Any]) -> list[str]:
    return [f"{name}={_json(value)}" for name, value in parameters.items()]


def _json(value: Any) -> str:
    written = json.dumps(value, ensure_ascii=False, default=str)
    return written if len(written) <= 200 else f"{written[:200]}…"


def _variable(variable: Any) -> tuple[str, str, str, str]:
    kind = " | ".join(map(str, variable.enum)) if variable.enum else variable.type
    low, high = variable.minimum, variable.maximum
    if low is not None or high is not None:
        kind += f" {'' if low is None else low}..{'' if high is None else high}"
    value = "required" if variable.required else _json(variable.default)
    return variable.name, kind, value, variable.description


def _layer(step: Any) -> str:
    kind = "model" if step.hook == "chat" else "tool"
    return f"{step.plugin} ({step.hook})" if step.plugin else kind


def _effect(step: Any) -> Html:
    """Return what a step changed, or how it failed."""
    changes = {"request": step.request_diff(), "response": step.response_diff()}
    notes = [f"sent {len(step.sent)} times"] if len(step.sent) > 1 else []
    notes += [f"{step.attempts} attempts"] if step.attempts > 1 else []
    notes += [f"sent without {', '.join(step.left_out)}"] if step.left_out else []
    notes += [f"{type(step.error).__name__}: {step.error}"[:500]] if step.error is not None else []
    boxes = [folded(name, diff(lines)) for name, lines in changes.items() if lines]
    return joined(", ".join(notes), *boxes)
