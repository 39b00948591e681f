"""What is noted of a run while it goes on, and the row that it becomes."""

from __future__ import annotations

import functools
import operator
import os
import time
from collections.abc import Awaitable, Callable
from typing import Any

from personakit.base import Emit
from personakit.messages import Request, Response, Timings, Usage
from personakit.persona import Persona
from personakit.rows import Row, new_id, step_data
from personakit.run import Step, Trace

ABANDONED = "Abandoned"
"""The type of the error of a run that nobody waited for: a stream that was closed, a task that was
cancelled."""


class Noted:
    """One run, for its row.

    Args:
        persona: Who runs.
        request: The request as rendered.
        trace: What its layers do.
        conversation: The conversation that it is part of.
        hash_of: Returns the hash of the persona.
    """

    def __init__(
        self,
        persona: Persona,
        request: Request,
        trace: Trace,
        conversation: str | None,
        hash_of: Callable[[Persona], str],
    ) -> None:
        self._persona = persona
        self._request = request
        self._trace = trace
        self._conversation = conversation
        self._hash_of = hash_of
        self._started = time.time()
        self._clock = time.perf_counter()
        self._total = 0.0
        self._first_text: float | None = None
        self._pieces: list[str] = []
        self._response: Response | None = None
        self._error: BaseException | None = None

    def noting(self, emit: Emit | None) -> Emit | None:
        """Return an `emit` that keeps what goes out: all there is of a run that breaks off."""
        if emit is None:
            return None

        def noted(text: str) -> Awaitable[None]:
            if self._first_text is None:
                self._first_text = time.perf_counter() - self._clock
            self._pieces.append(text)
            return emit(text)

        return noted

    def answered(self, response: Response) -> Noted:
        """Note how the run ended: with an answer."""
        self._response = response
        return self._ended()

    def failed(self, error: BaseException) -> Noted:
        """Note how the run ended: with an error."""
        self._error = error
        # What was paid for, where a plugin broke or the model called tools without end.
        paid = getattr(error, "response", None)
        self._response = paid if isinstance(paid, Response) else None
        return self._ended()

    def _ended(self) -> Noted:
        self._total = time.perf_counter() - self._clock
        return self

    def row(self) -> Row:
        """Return the row of the run, once it has ended."""
        response = self._response or Response(self._text())
        models = [s for s in self._trace.steps if not s.plugin and s.hook == "chat"]
        good = self._error is None
        return Row(
            new_id(self._started),
            self._request,
            persona=self._persona.name,
            version=self._persona.version,
            hash=self._hash_of(self._persona),
            path=_whole(self._persona.path),
            conversation=self._conversation,
            sent=self._sent(models, response if good else None),
            text=response.text,
            finish_reason=response.finish_reason,
            messages=response.messages,
            answered_by=response.model,
            response_id=response.id,
            usage=response.usage if self._response else _usage(models),
            cost=response.cost if self._response else _cost(models),
            timings=Timings(self._started, self._total, self._first_text),
            calls=len(models),
            trace=tuple(map(step_data, self._trace.steps)),
            error=None if self._error is None else _described(self._error),
        )

    def _text(self) -> str:
        """Return what had arrived of an answer that broke off."""
        return getattr(self._error, "partial", "") or "".join(self._pieces)

    def _sent(self, models: list[Step], response: Response | None) -> Request | None:
        """Return the request that went out last, where it is not the rendered one."""
        if not models:
            return None
        last = models[-1].request
        # What tools said in between is in the row already.
        between = response.messages[:-1] if response is not None else ()
        expected = self._request.with_messages(*between) if between else self._request
        return last if isinstance(last, Request) and last != expected else None


def _whole(path: str) -> str:
    """Return the path of a persona's file as it is meant in every folder."""
    # Not Path.is_file, which raises for what is too long.
    return os.path.abspath(path) if os.path.isfile(path) else path  # noqa: PTH100, PTH113


def _described(error: BaseException) -> dict[str, Any]:
    """Return what is kept of an error."""
    kind = type(error).__name__
    if kind in ("GeneratorExit", "CancelledError"):
        return {"type": ABANDONED, "message": "it was ended before its answer was whole"}
    kept: dict[str, Any] = {"type": kind, "message": str(error)}
    for name in ("plugin", "status", "request_id"):
        if getattr(error, name, None):
            kept[name] = getattr(error, name)
    return kept


def _usage(models: list[Step]) -> Usage | None:
    """Return what the calls of a run that failed used: they were paid for."""
    known = [s.response.usage for s in models if isinstance(s.response, Response)]
    counted = [usage for usage in known if usage is not None]
    return functools.reduce(operator.add, counted) if counted else None


def _cost(models: list[Step]) -> float | None:
    known = [s.response.cost for s in models if isinstance(s.response, Response)]
    counted = [cost for cost in known if cost is not None]
    return sum(counted) if counted else None
