"""Resuming conversations from the run log."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from personakit.base import LOADED
from personakit.conversation.length import closed
from personakit.errors import PersonaNotFound, UsageError
from personakit.frozen import thaw
from personakit.log import LogError, RunLog
from personakit.messages import Message, Request
from personakit.persona import QUESTION_PATH, Reference, parameters, question_persona

if TYPE_CHECKING:
    from personakit.conversation.conversation import Conversation, PersonaRunner
    from personakit.log import Row
    from personakit.persona import Persona

# Errors of stopped runs; the text before the stop belongs to the history.
_STOPPED = ("Abandoned", "CancelledError", "KeyboardInterrupt")
_OWN = ("system", "developer")


def resume(
    runner: PersonaRunner,
    name: str | None = None,
    persona: Reference | None = None,
    *,
    model: str | None = None,
) -> Conversation:
    """Return a conversation of the run log, as it was after its last turn.

    The persona's own messages (its system text and its few-shot messages) are rendered anew.

    Args:
        runner: The runner for the next turns.
        name: The ID of the conversation or of one of its runs, or a prefix of it; None or ``last``
            for the conversation of the last run.
        persona: The persona that answers; None for the one that answered last.
        model: The model; None for the one that answered last.

    Raises:
        UsageError: The conversation or the persona is not found, or the run log is off.
    """
    if not runner.config.log.on:
        raise UsageError(
            "no conversation to continue: the run log is off (`log: off` or PERSONAKIT_LOG)"
        )
    own = runner._recorder
    identity, rows = _find(own.log if own is not None else RunLog.of(runner.config), name)
    spoken = next((row for row in reversed(rows) if _spoke(row)), None)
    # A failed run may have used a wrong model, so it is only the fallback.
    last = spoken or rows[-1]
    loaded = runner.load(persona) if persona is not None else persona_of(runner, last)
    values, settings = _choices(runner, loaded, last.rendered)
    return runner.conversation(
        loaded if persona is None else persona,
        id=identity,
        model=model or last.model or None,
        variables=values,
        parameters=settings,
        messages=_history(runner, spoken) if spoken else (),
    )


def _find(log: RunLog, name: str | None) -> tuple[str, list[Row]]:
    names = log.conversations("last" if name is None else name)
    if len(names) != 1:
        raise UsageError(_unclear(log, name, names))
    return names[0], log.conversation(names[0])


def _unclear(log: RunLog, name: str | None, names: list[str]) -> str:
    """Return why a name stands for no conversation, or for several."""
    if name in (None, "last"):
        return (
            f"no conversation to continue: {log.path} contains no conversation yet; start one "
            f"without -c"
        )
    why = f"several IDs begin with it: {', '.join(names)}"
    if not names:
        try:
            log.get(name or "")
        except LogError as error:
            why = str(error)
    return f"no conversation {(name or '')[:80]!r}: {why}"


def persona_of(runner: PersonaRunner, row: Row) -> Persona:
    """Return the persona of a run, by name unless the name now refers to another file.

    The persona of a question, which has no file, is made of the messages of the run. One that a
    plugin loaded has its reference as its path.

    Raises:
        PersonaNotFound: There is neither the persona nor its file any more.
    """
    if LOADED.match(row.path):
        return runner.load(row.path)
    if row.path == QUESTION_PATH:
        first = next(iter(row.rendered.messages), None)
        return question_persona(first.text if first and first.role == "system" else None)
    try:
        named = runner.load(row.persona)
    except PersonaNotFound:
        if not Path(row.path).is_file():
            raise
        return runner.load(row.path)
    other = os.path.abspath(named.path) != row.path and Path(row.path).is_file()  # noqa: PTH100
    return runner.load(row.path) if other else named


def _choices(
    runner: PersonaRunner, persona: Persona, request: Request
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the variables and parameters of a request that differ from the defaults."""
    values = {
        name: thaw(value)
        for name, value in request.variables.items()
        if (variable := persona.variables.get(name)) and variable.filled(variable.default) != value
    }
    usual = {**runner.config.parameters, **persona.parameters}
    sent = request.parameters.items()
    # A schema is that of one run, whether the persona or the caller has set it.
    schema = (request.parameters.get("response_format") or {}).get("type") == "json_schema"
    own = {"response_format"} if schema or persona.output is not None else set()
    names = parameters.ALLOWED.keys() - own
    return values, {k: thaw(v) for k, v in sent if k in names and usual.get(k) != v}


def _spoke(row: Row) -> bool:
    """Check whether a run added messages: it succeeded, or was stopped after some text."""
    return not row.error or (row.error.get("type") in _STOPPED and bool(row.text))


def _history(runner: PersonaRunner, row: Row) -> tuple[Message, ...]:
    """Return the messages up to a run and in it, without the persona's own messages."""
    added = row.messages or (Message("assistant", row.text),)
    if row.history is not None:
        return (*row.history, *closed(added))
    messages = _spoken(row.rendered.messages)
    own = 0
    for message, mine in zip(messages, _spoken(_head(runner, row)), strict=False):
        if message != mine:
            break
        own += 1
    return (*messages[own:], *closed(added))


def _head(runner: PersonaRunner, row: Row) -> tuple[Message, ...]:
    """Return the persona's own messages, rendered anew; empty if it is gone or invalid."""
    try:
        persona = persona_of(runner, row)
        values = {k: v for k, v in row.variables.items() if k in persona.variables}
        silent = dataclasses.replace(persona, prompt=None)
        return runner.render(silent, None, variables=values).messages
    except UsageError:
        return ()


def _spoken(messages: Iterable[Message]) -> list[Message]:
    return [message for message in messages if message.role not in _OWN]
