"""Print runs of the log: a list, one run, totals, and the differences to a new answer."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from personakit.base import dollars
from personakit.cli.shared import output
from personakit.cli.shared.answers import tokens_line
from personakit.cli.shared.fragments import prompt_in
from personakit.cli.shared.output import show_request
from personakit.log import MARKS, Found, Sum

if TYPE_CHECKING:
    from personakit.log import Row
    from personakit.messages import Message
    from personakit.persona import Persona
    from personakit.runner import Runner
    from personakit.tools import Tool

SHORT = 14
"""Digits of an id that are shown: the start of the run in microseconds."""
_WIDTH = 48


def show_rows(rows: Iterable[Row]) -> bool:
    """Print a line for each run; return whether there were any."""
    cells = [
        (
            row.id[:SHORT],
            _when(row.timings.started),
            row.persona,
            row.model,
            f"{row.usage.total_tokens}{'+' * row.usage.incomplete}" if row.usage else "",
            f"{row.timings.total:.1f}",
            row.error["type"] if row.error else row.finish_reason or "",
            said(row),
        )
        for row in rows
    ]
    if cells:
        head = ("id", "when", "persona", "model", "tokens", "seconds", "ended", "prompt")
        output.table(head, cells)
    return bool(cells)


def said(row: Row) -> str:
    """Return the beginning of the prompt."""
    return _brief(prompt_in(row.asked), _WIDTH)


def show_row(row: Row, *, traced: bool) -> None:
    """Print a run for people."""
    head = [
        ("run", row.id),
        ("when", _when(row.timings.started, "%Y-%m-%d %H:%M:%S")),
        ("persona", " ".join(filter(None, (row.persona, row.version, row.path)))),
        ("hash", row.hash),
        ("conversation", row.conversation or ""),
        ("replays", row.replays or ""),
        ("answered by", row.answered_by if row.answered_by != row.model else ""),
        ("took", _took(row)),
        ("used", _used(row)),
        ("notes", json.dumps(dict(row.notes), ensure_ascii=False) if row.notes else ""),
    ]
    for name, value in head:
        if value:
            output.line(f"{name + ':':<14}{value}")
    output.echo()
    show_request(row.rendered)
    if row.sent is not None:
        output.line("--- sent, after the plugins", dim=True)
        show_request(row.sent)
    for message in row.messages[:-1]:
        _show_message(message)
    if row.text or not row.error:
        output.line(f"--- answer{' (incomplete)' if row.error else ''}", dim=True)
        output.echo(row.text.rstrip("\n"))
    for call in row.messages[-1].tool_calls if row.messages else ():
        output.line(f"calls {call.name} {call.arguments}")
    if row.error:
        output.line(f"--- {row.error['type']}", dim=True)
        output.echo(row.error["message"])
    if row.trace:
        output.line("--- trace", dim=True)
    for step in row.trace:
        _show_step(step, traced=traced)


def _show_message(message: Message) -> None:
    output.line(f"--- {message.role}", dim=True)
    if message.text:
        output.echo(message.text.rstrip("\n"))
    for call in message.tool_calls:
        output.line(f"calls {call.name} {call.arguments}")


def _show_step(step: Any, *, traced: bool) -> None:
    indent = "  " * step["depth"]
    name = step["plugin"] or step.get("tool") or "model"
    parts = [name, step["way"], f"{step['seconds'] * 1000:.1f} ms"]
    if step.get("sent"):
        parts.append(f"sent {step['sent']} times")
    if step.get("attempts", 1) > 1:
        parts.append(f"{step['attempts']} attempts")
    if step.get("error"):
        parts.append(step["error"].partition("\n")[0])
    changed = [kind for kind in ("request", "response") if step.get(kind)]
    if changed and not traced:
        parts.append(f"changed the {' and the '.join(changed)}")
    output.line(indent + ", ".join(parts))
    for kind in changed if traced else ():
        output.echo(f"{indent}  {kind}:")
        for line in step[kind].splitlines()[2:]:
            color = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1])
            output.line(f"{indent}    {line}", fg=color)


def plain_excerpt(found: Found) -> str:
    """Return the excerpt of a search result without its highlight marks."""
    return found.excerpt.replace(MARKS[0], "").replace(MARKS[1], "")


def show_found(found: Iterable[Found]) -> None:
    """Print search results: a line for each run, and its excerpt."""
    for one in found:
        row = one.row
        line = f"{row.id[:SHORT]}  {_when(row.timings.started)}  {row.persona}  {row.model}"
        output.line(line, fg="cyan")
        parts = one.excerpt.replace(MARKS[1], MARKS[0]).split(MARKS[0])
        shown = [_flat(part) for part in parts]
        shown[0] = shown[0].lstrip()
        if len(shown) == 1:
            shown = [_brief(shown[0], 200)]
        output.echo("  ", end="")
        for number, text in enumerate(shown):
            output.echo(text, end="", **({"bold": True} if number % 2 else {}))
        output.echo()


def show_sums(by: str, groups: Sequence[Sum], total: Sequence[Sum]) -> bool:
    """Print totals; return whether there were any."""
    if not groups:
        return False
    cells = [
        (
            one.name or ("all" if one in total else "(none)"),
            str(one.runs),
            str(one.failed),
            str(one.prompt_tokens),
            str(one.completion_tokens),
            _cost(one),
            f"{one.seconds:.1f}",
        )
        for one in (*groups, *total)
    ]
    head = (by, "runs", "failed", "prompt tokens", "answer tokens", "cost", "seconds each")
    output.table(head, cells)
    return True


def show_replay(
    runner: Runner,
    row: Row,
    persona: Persona,
    model: str | None,
    tools: Sequence[Tool],
    *,
    as_json: bool,
) -> int:
    """Send the request of a run again; print the differences, and return 1 if there are any."""
    from personakit.codec import diff  # noqa: PLC0415

    if runner.hash(persona) != row.hash:
        output.line(
            f"personakit: {row.persona} has changed since this run; the request is from the log, "
            f"the plugins are the current ones",
            err=True,
        )
    usual = {**runner.config.parameters, **persona.parameters}
    asked = row.rendered.parameters.items()
    # A logged tool is only a description; the tools of the current plugins can be called. The log
    # does not say who set a parameter.
    request = row.rendered.replace(
        tools=(),
        model=model or row.model,
        defaults=frozenset(name for name, value in asked if usual.get(name) == value),
    )
    schema = _schema(row) if persona.output else None
    response = runner.run(persona, request, tools=tools, output=schema)
    names = (row.answered_by or row.model, response.model or request.model)
    if names[0] == names[1]:
        names = (f"{names[0]} ({_when(row.timings.started)})", f"{names[1]} (now)")
    calls = [[(c.name, c.arguments) for c in answer.tool_calls] for answer in (row, response)]
    before, after = (
        [*text.splitlines(), *(f"calls {name} {arguments}" for name, arguments in made)]
        for text, made in zip((row.text, response.text), calls, strict=True)
    )
    same = before == after
    if as_json:
        output.print_json({"run": row.id, "same": same, "before": row.text, "after": response.text})
    elif same:
        output.echo("the answer is the same", err=True)
    else:
        output.echo(diff(before, after, names))
    return 0 if same else 1


def _schema(row: Row) -> Any:
    """Return the JSON Schema of a run, which may not be that of its persona; None without one."""
    form = row.rendered.parameters.get("response_format") or {}
    return form["json_schema"]["schema"] if form.get("type") == "json_schema" else None


def _when(moment: float, form: str = "%Y-%m-%d %H:%M") -> str:
    try:
        return datetime.fromtimestamp(moment).strftime(form)
    except (ValueError, OverflowError, OSError):
        return time.strftime(form, time.gmtime(0))


def _took(row: Row) -> str:
    first = row.timings.first_text
    return f"{row.timings.total:.2f} s" + (f", first text {first:.2f} s" if first else "")


def _used(row: Row) -> str:
    parts = [tokens_line(row.usage)] if row.usage else []
    if row.cost is not None:
        parts.append(dollars(row.cost))
    if row.calls > 1:
        parts.append(f"{row.calls} model calls")
    if not row.calls and not row.error:
        parts.append("the model was not called")
    return ", ".join(parts)


def _cost(one: Sum) -> str:
    if one.unknown == one.runs:
        return "unknown"
    return dollars(one.cost) + (f" + {one.unknown} unknown" if one.unknown else "")


def _brief(text: str, most: int) -> str:
    flat = _flat(text)
    return flat if len(flat) <= most else f"{flat[: most - 1]}…"


def _flat(text: str) -> str:
    """Return the first 2,000 characters of a text on one line."""
    return output.one_line(text[:2000])
