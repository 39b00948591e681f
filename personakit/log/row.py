"""A row of the run log, and its conversion from and to the database."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from personakit.base import brief_repr
from personakit.codec import (
    compact,
    read_message,
    read_request,
    storable,
    write_message,
    write_notes,
    write_request,
)
from personakit.frozen import FrozenDict, quick_init
from personakit.messages import Message, Request, Response, ToolCall
from personakit.pipeline import Step
from personakit.usage import Timings, Usage

COLUMNS = (
    "id time persona version hash path model answered_by conversation variables request sent asked "
    "text tools finish_reason messages prompt_tokens completion_tokens total_tokens cost seconds "
    "first_text calls trace error_type error response_id cached_tokens reasoning_tokens "
    "cache_write_tokens incomplete replays notes history"
).split()
_TOKENS = tuple(field.name for field in fields(Usage))


@quick_init
@dataclass(frozen=True, slots=True)
class Row:
    """One run in the log.

    Attributes:
        id: 32 hex digits that sort by time; the first 14 of them are usually enough.
        rendered: The rendered request: the history and the prompt, before any plugin.
        persona: The persona's name.
        version: The persona's own version; empty if it has none.
        hash: ``sha256:…`` of everything in the persona that can change a request.
        path: The absolute path of the persona's file; its name if it has no file.
        conversation: The id that the runs of a conversation share; None for a single run.
        sent: The request as sent, if plugins changed it; otherwise None.
        text: The answer; the partial text if the run failed.
        finish_reason: Why the model stopped.
        messages: The messages that the run added to the conversation; empty if it failed.
        answered_by: The model that answered, as the upstream names it.
        response_id: The upstream's id of the answer.
        usage: The tokens of everything that the run paid (`Response.spent`); None if unknown.
        cost: Their cost in US dollars; None if unknown.
        timings: The start and the durations.
        calls: How often models were called, also by plugins.
        trace: For each layer, its plugin, hook, depth, way and seconds, and what it changed.
        error: The type and message of the error; None if the run succeeded.
        replays: The id of the run that this one sent again; None for a new run.
        notes: What the plugins noted: `Response.metadata` as JSON.
        history: The conversation before the answer, if a plugin replaced it; otherwise None.
    """

    id: str
    rendered: Request
    persona: str = ""
    version: str = ""
    hash: str = ""
    path: str = ""
    conversation: str | None = None
    sent: Request | None = None
    text: str = ""
    finish_reason: str | None = None
    messages: tuple[Message, ...] = ()
    answered_by: str = ""
    response_id: str = ""
    usage: Usage | None = None
    cost: float | None = None
    timings: Timings = field(default_factory=lambda: Timings(time.time(), 0.0))
    calls: int = 0
    trace: tuple[Mapping[str, Any], ...] = ()
    error: Mapping[str, Any] | None = None
    replays: str | None = None
    notes: Mapping[str, Any] = field(default_factory=FrozenDict)
    history: tuple[Message, ...] | None = None

    __repr__ = brief_repr

    @property
    def model(self) -> str:
        """The model that was asked for: ``provider/model``."""
        return self.rendered.model

    @property
    def variables(self) -> Mapping[str, Any]:
        """The values that the templates were rendered with."""
        return self.rendered.variables

    @property
    def asked(self) -> str:
        """The text of the last user message."""
        texts = (m.text for m in reversed(self.rendered.messages) if m.role == "user")
        return next(texts, "")

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The tool calls in all answers of the model."""
        return tuple(call for message in self.messages for call in message.tool_calls)

    def values(self) -> dict[str, Any]:
        """Return the values of the columns of the database."""
        usage = self.usage
        error = self.error or {}
        return {
            "id": self.id,
            "time": self.timings.started,
            "persona": storable(self.persona),
            "version": storable(self.version),
            "hash": self.hash,
            "path": storable(self.path),
            "model": storable(self.model),
            "answered_by": storable(self.answered_by),
            "conversation": None if self.conversation is None else storable(self.conversation),
            "variables": compact(self.variables),
            "request": compact(write_request(self.rendered)),
            "sent": None if self.sent is None else compact(write_request(self.sent)),
            "asked": storable(self.asked),
            "text": storable(self.text),
            "tools": storable(_exchanged(self.messages)) or None,
            "finish_reason": self.finish_reason and storable(self.finish_reason),
            "messages": compact([write_message(message) for message in self.messages]),
            **{name: usage and _integer(getattr(usage, name)) for name in _TOKENS},
            "cost": self.cost,
            "seconds": self.timings.total,
            "first_text": self.timings.first_text,
            "calls": self.calls,
            "trace": compact(self.trace),
            "error_type": self.error and storable(str(error.get("type", ""))),
            "error": self.error and compact(self.error),
            "response_id": storable(self.response_id),
            "replays": self.replays,
            "notes": compact(self.notes) if self.notes else None,
            "history": self.history
            and compact([write_message(message) for message in self.history]),
        }

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Row:
        """Return the row for the values of the columns of the database."""
        variables = json.loads(values["variables"])
        rendered = read_request(values["request"], values["persona"], variables)
        sent = values["sent"]
        used = [values[name] for name in _TOKENS]
        taken = (
            "id persona version hash path conversation text finish_reason answered_by response_id "
            "cost calls replays"
        ).split()
        return cls(
            rendered=rendered,
            sent=sent and read_request(sent, values["persona"], variables),
            messages=tuple(read_message(message) for message in json.loads(values["messages"])),
            # Rows of the first version have only the first three.
            usage=None if None in used[:3] else _usage(used),
            timings=Timings(values["time"], values["seconds"], values["first_text"]),
            trace=tuple(json.loads(values["trace"])),
            error=values["error"] and json.loads(values["error"]),
            notes=FrozenDict(json.loads(values["notes"] or "{}")),
            history=values["history"] and tuple(map(read_message, json.loads(values["history"]))),
            **{name: values[name] for name in taken},
        )

    def to_json(self) -> dict[str, Any]:
        """Return the row as plain data, for ``--json`` and for export."""
        values = self.values()
        taken = ("id", "time", "persona", "version", "hash", "path", "model", "answered_by")
        timings = ("seconds", "first_text")
        return {
            **{name: values[name] for name in (*taken, "response_id", "conversation", "replays")},
            "variables": json.loads(values["variables"]),
            "request": json.loads(values["request"]),
            "sent": values["sent"] and json.loads(values["sent"]),
            "text": self.text,
            "finish_reason": self.finish_reason,
            "messages": json.loads(values["messages"]),
            "usage": self.usage and {name: values[name] for name in _TOKENS},
            "cost": self.cost,
            **{name: values[name] for name in timings},
            "calls": self.calls,
            "notes": dict(self.notes),
            "trace": json.loads(values["trace"]),
            "error": self.error and json.loads(values["error"]),
        }


def _exchanged(messages: Sequence[Message]) -> str:
    """Return the tool calls and their results as text for the search."""
    calls = (f"{c.name} {c.arguments}" for message in messages for c in message.tool_calls)
    results = (message.text for message in messages if message.role == "tool")
    return "\n".join((*calls, *results))


def _usage(counts: Sequence[int | None]) -> Usage:
    used: dict[str, Any] = {name: count or 0 for name, count in zip(_TOKENS, counts, strict=True)}
    return Usage(**{**used, "incomplete": bool(used["incomplete"])})


def _integer(value: Any) -> int | None:
    """Return a count if SQLite can store it, otherwise None; an upstream can report any number."""
    return value if isinstance(value, int) and abs(value) < 2**63 else None


MAX_DIFF = 100_000
"""The longest request, in characters, for which the changes of a plugin are stored as a diff."""


def step_data(step: Step) -> dict[str, Any]:
    """Return the stored form of a step of a trace."""
    stored: dict[str, Any] = {
        "plugin": step.plugin,
        "hook": step.hook,
        "depth": step.depth,
        "way": step.way,
        "seconds": round(step.seconds, 6),
    }
    if isinstance(step.request, ToolCall):
        stored["tool"] = step.request.name
    if len(step.sent) > 1:
        stored["sent"] = len(step.sent)
    if step.left_out:
        stored["left_out"] = list(step.left_out)
    if isinstance(step.response, Response) and step.response.metadata:
        stored["notes"] = write_notes(step.response.metadata)
    if step.attempts > 1:
        stored["attempts"] = step.attempts
    if step.plugin and _size(step.request) <= MAX_DIFF:
        diffs = {"request": step.request_diff(), "response": step.response_diff()}
        stored |= {name: diff for name, diff in diffs.items() if diff}
    if step.error is not None:
        stored["error"] = f"{type(step.error).__name__}: {step.error}"
    return stored


def _size(request: Request | ToolCall) -> int:
    if isinstance(request, ToolCall):
        return len(request.arguments)
    return sum(len(message.text) for message in request.messages)
