"""The edge of a run that can be suspended, and its start when it is resumed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from typing import Any

from personakit.base import Emit, Suspending, scope
from personakit.base import io as waiting
from personakit.errors import JournalError
from personakit.journal.questions import Suspended
from personakit.journal.record import Record
from personakit.journal.scope import Scope, within
from personakit.journal.shown import Shown
from personakit.journal.values import encode
from personakit.messages import Request, Response

_log = logging.getLogger("personakit")

Run = Callable[[Request, Emit | None], Coroutine[Any, Any, Response]]


def suspendable(run: Run, record: Record) -> Run:
    """Return a run that can wait for a person.

    Args:
        run: The run.
        record: Its record.
    """

    async def kept(request: Request, emit: Emit | None) -> Response:
        token = scope.set(Scope(record))
        try:
            response = await run(request, emit if emit is None else Shown.of(emit, record))
            record.check_used()
        except Suspending as pause:
            raise await _suspended(pause, record, request) from None
        except BaseException as error:
            record.fail(error)
            raise
        finally:
            scope.reset(token)
        if not record.is_kept:
            record.is_open = False
            return response
        try:
            await waiting(record.finish)()
        except JournalError as error:
            _log.warning("personakit: the journal of a run that has ended is left: %s", error)
        return response

    return kept


def recorded(run: Callable[..., Coroutine[Any, Any, Any]], record: Record) -> Any:
    """Return a function whose questions are asked, or refused, but cannot wait."""

    async def kept(*arguments: Any) -> Any:
        with within(Scope(record)):
            return await run(*arguments)

    return kept


async def _suspended(pause: Suspending, record: Record, request: Request) -> Suspended:
    if record.broken is not None:
        raise record.broken
    left: dict[str, Any] = {
        "calls": pause.calls,
        "messages": pause.messages,
        "text": pause.text,
    }
    await waiting(record.leave)({name: encode(value) for name, value in left.items()})
    return Suspended(record.id, tuple(record.waiting), persona=request.persona, **left)
