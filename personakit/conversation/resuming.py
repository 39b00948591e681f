"""Conversations out of the run log, to go on with."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from personakit.conversation.length import closed
from personakit.errors import PersonaNotFound, UsageError
from personakit.frozen import thaw
from personakit.log import LogError, RunLog
from personakit.messages import Message, Request
from personakit.persona import Reference, parameters

if TYPE_CHECKING:
    from personakit.conversation.conversation import Conversation, PersonaRunner
    from personakit.log import Row
    from personakit.persona import Persona

# The errors of runs that somebody stopped: what had been said counts.
_STOPPED = ("Abandoned", "CancelledError", "KeyboardInterrupt")
_OWN = ("system", "developer")


def resume(
    runner: PersonaRunner,
    name: str | None = None,
    persona: Reference | None = None,
    *,
    model: str | None = None,
) -> Conversation:
    """Return a conversation of the run log, as it stood after its last turn.

    What the persona itself says (its system text and its few-shot messages) is that of now.

    Args:
        runner: What goes on with it.
        name: The id of the conversation or of one of its runs, or the beginning of it; None for
            the conversation of the last run.
        persona: Who goes on; None for who spoke last.
        model: The model; None for the one that answered last.

    Raises:
        UsageError: There is none, there is no log, or the persona cannot be found.
    """
    if not runner.config.log.on:
        raise UsageError(
            "there is no conversation to go on with: the log is off (`log: off`, or PERSONAKIT_LOG)"
        )
    identity, rows = _find(RunLog.of(runner.config), name)
    spoken = next((row for row in reversed(rows) if _spoke(row)), None)
    # Not one that failed: perhaps its model was wrong.
    last = spoken or rows[-1]
    found = runner.load(persona) if persona is not None else _persona(runner, last)
    values, settings = _choices(runner, found, last.rendered)
    return runner.conversation(
        found if persona is None else persona,
        id=identity,
        model=model or last.model or None,
        variables=values,
        parameters=settings,
        messages=_history(runner, spoken) if spoken else (),
    )


def _find(log: RunLog, name: str | None) -> tuple[str, list[Row]]:
    if name is None:
        identity = log.last_conversation()
        if identity is None:
            raise UsageError(
                f"there is no conversation to go on with: {log.path} holds none yet; "
                f"begin one without -c"
            )
    else:
        identity = name
    rows = log.conversation(identity)
    if not rows:
        try:
            run = log.get(identity)
        except LogError as error:
            names = log.conversations(identity) if identity else []
            if len(names) != 1:
                said = f"several begin so, such as {', '.join(names)}" if names else str(error)
                raise UsageError(f"no conversation {identity[:80]!r}: {said}") from None
            identity = names[0]
        else:
            identity = run.conversation or run.id
        rows = log.conversation(identity)
    return identity, rows


def _persona(runner: PersonaRunner, row: Row) -> Persona:
    """Return who spoke in a run: by name, unless that is another file by now."""
    try:
        found = runner.load(row.persona)
    except PersonaNotFound:
        if not Path(row.path).is_file():
            raise
        return runner.load(row.path)
    other = os.path.abspath(found.path) != row.path and Path(row.path).is_file()  # noqa: PTH100
    return runner.load(row.path) if other else found


def _choices(
    runner: PersonaRunner, persona: Persona, request: Request
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the variables and parameters of a request that are not the persona's own."""
    values = {
        name: thaw(value)
        for name, value in request.variables.items()
        if name in persona.variables and persona.variables[name].default != value
    }
    usual = {**runner.config.parameters, **persona.parameters}
    given = request.parameters.items()
    known = parameters.ALLOWED.keys() - ({"response_format"} if persona.output is not None else ())
    return values, {k: thaw(v) for k, v in given if k in known and usual.get(k) != v}


def _spoke(row: Row) -> bool:
    """Tell whether a run added something: it succeeded, or was stopped after some text."""
    return not row.error or (row.error.get("type") in _STOPPED and bool(row.text))


def _history(runner: PersonaRunner, row: Row) -> tuple[Message, ...]:
    """Return what was said up to a run and in it, without the persona's own messages."""
    said = _spoken(row.rendered.messages)
    own = 0
    for message, mine in zip(said, _spoken(_head(runner, row)), strict=False):
        if message != mine:
            break
        own += 1
    added = row.messages or (Message("assistant", row.text),)
    return (*said[own:], *closed(added))


def _head(runner: PersonaRunner, row: Row) -> tuple[Message, ...]:
    """Return what the persona of a run says by itself now; nothing when it is gone or wrong."""
    try:
        persona = _persona(runner, row)
        values = {k: v for k, v in row.variables.items() if k in persona.variables}
        silent = dataclasses.replace(persona, prompt=None)
        return runner.render(silent, None, variables=values).messages
    except UsageError:
        return ()


def _spoken(messages: Iterable[Message]) -> list[Message]:
    return [message for message in messages if message.role not in _OWN]
