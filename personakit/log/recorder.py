"""Recorder: puts every run of a runner into the run log, at its end, however it ends.

A log that cannot be written costs one warning, and never an answer. Rows are written in a thread,
so that a log which is locked, or on a disk that does not answer, holds nobody up.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import logging
import operator
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from personakit.base import Emit, Secret, TextTap, hide, in_sync
from personakit.config import Config
from personakit.errors import UsageError
from personakit.log.database import WAIT, LogError
from personakit.log.row import Row, new_id, step_data
from personakit.log.run_log import RunLog
from personakit.messages import Request, Response, Timings
from personakit.persona import Persona
from personakit.pipeline import RunLayer, Step, Trace
from personakit.usage import Usage

ABANDONED = "Abandoned"
"""The type of the error of a run that nobody waited for: a stream that was closed, a task that was
cancelled."""


class RunRecord:
    """One run, for its row.

    Args:
        persona: Who runs.
        request: The request as rendered.
        trace: What its layers do.
        tap: Notes what goes out: all there is of a run that breaks off.
        conversation: The conversation that it is part of.
        hash_of: Returns the hash of the persona.
    """

    def __init__(
        self,
        persona: Persona,
        request: Request,
        trace: Trace,
        tap: TextTap,
        conversation: str | None,
        hash_of: Callable[[Persona], str],
    ) -> None:
        self._persona = persona
        self._request = request
        self._trace = trace
        self._conversation = conversation
        self._hash_of = hash_of
        self._tap = tap
        self._total = 0.0
        self._response: Response | None = None
        self._error: BaseException | None = None

    def answered(self, response: Response) -> RunRecord:
        """Note how the run ended: with an answer."""
        self._response = response
        return self._ended()

    def failed(self, error: BaseException) -> RunRecord:
        """Note how the run ended: with an error."""
        self._error = error
        # What was paid for, where a plugin broke or the model called tools without end.
        paid = getattr(error, "response", None)
        self._response = paid if isinstance(paid, Response) else None
        return self._ended()

    def _ended(self) -> RunRecord:
        self._total = time.perf_counter() - self._tap.clock
        return self

    def row(self) -> Row:
        """Return the row of the run, once it has ended."""
        response = self._response or Response(self._text())
        models = [s for s in self._trace.steps if not s.plugin and s.hook == "chat"]
        good = self._error is None
        return Row(
            new_id(self._tap.started),
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
            timings=Timings(self._tap.started, self._total, self._tap.first_text),
            calls=len(models),
            trace=tuple(map(step_data, self._trace.steps)),
            error=None if self._error is None else _described(self._error),
        )

    def _text(self) -> str:
        """Return what had arrived of an answer that broke off."""
        return getattr(self._error, "partial", "") or self._tap.text

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


PATIENCE = 3.0
"""Seconds that a run in Python waits for its row; after that the thread goes on alone."""
_AGAIN = 0.1
_MOST = 1000

Done = concurrent.futures.Future[None]

_log = logging.getLogger("personakit")


class Recorder:
    """Writes the runs of a runner into a log.

    Args:
        log: The log.
        secrets: Returns what is left out of every row, wherever it stands; a runner that is given
            a recorder without says which keys it knows.
        patience: Seconds that a run waits for its row before it gives its answer back.
    """

    def __init__(
        self,
        log: RunLog,
        secrets: Callable[[], Iterable[Secret]] | None = None,
        *,
        patience: float = PATIENCE,
    ) -> None:
        self.log = log
        self.patience = patience
        self.secrets = secrets
        self._threads: list[threading.Thread] = []
        self._warned = False
        self._wait = WAIT
        self._begin_anew()
        # A row that is still being written when the process ends is waited for.
        weakref.finalize(self, _join, self._threads)

    def _begin_anew(self) -> None:
        """Start without a thread, as a process does that was forked."""
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._waiting: deque[tuple[RunRecord, Done]] = deque()
        self._working = False
        self._stuck = False
        self._threads.clear()

    @classmethod
    def of(
        cls,
        log: RunLog | Recorder | bool | None,
        config: Config,
        secrets: Callable[[], Iterable[Secret]],
    ) -> Recorder:
        """Return what writes into a log, or into the user's.

        Raises:
            UsageError: It is something else, such as a path.
        """
        if isinstance(log, Recorder):
            log.secrets = log.secrets or secrets
            return log
        if not isinstance(log, RunLog | bool | None):
            raise UsageError(f"log: expected True, False or a RunLog(path), found {log!r}")
        return cls(log if isinstance(log, RunLog) else RunLog.of(config), secrets)

    def around(
        self,
        run: RunLayer,
        persona: Persona,
        trace: Trace,
        tap: TextTap,
        conversation: str | None,
        hash_of: Callable[[Persona], str],
    ) -> RunLayer:
        """Return a run that is logged.

        Args:
            run: The run.
            persona: Who runs.
            trace: What its layers do.
            tap: Notes what goes out.
            conversation: The conversation that it is part of.
            hash_of: Returns the hash of a persona.
        """

        async def logged(request: Request, emit: Emit | None) -> Response:
            record = RunRecord(persona, request, trace, tap, conversation, hash_of)
            try:
                response = await run(request, emit)
            except GeneratorExit as error:
                # The run is closed, and nothing can be awaited any more.
                self._begin(record.failed(error))
                raise
            except BaseException as error:
                await self._put(record.failed(error))
                raise
            await self._put(record.answered(response))
            return response

        return logged

    def flush(self) -> None:
        """Wait until every row is written, or could not be."""
        _join(self._threads)

    def close(self) -> None:
        """Write what is left, and close the file."""
        self.flush()
        self.log.close()

    async def _put(self, record: RunRecord) -> None:
        done = self._begin(record)
        if not self.patience or self._stuck:
            return
        try:
            if in_sync():
                done.result(self.patience)
            else:
                await asyncio.wait_for(asyncio.wrap_future(done), self.patience)
        except TimeoutError:
            # The rows that come after it would wait as long.
            self._stuck = True

    def _begin(self, record: RunRecord) -> Done:
        """Begin to write a row; return what ends when it is written, or could not be."""
        done: Done = concurrent.futures.Future()
        # From here on it cannot be cancelled.
        done.set_running_or_notify_cancel()
        if self._pid != os.getpid():
            self._begin_anew()
        with self._lock:
            full = self._wait != WAIT and len(self._waiting) >= _MOST
            if not full:
                self._waiting.append((record, done))
            start, self._working = not self._working, True
        if full:
            self._warn(f"{self.log.path} has been locked for too long")
            done.set_result(None)
        if start:
            self._start()
        return done

    def _start(self) -> None:
        thread = threading.Thread(target=self._drain, daemon=True)
        self._threads[:] = [thread]
        try:
            thread.start()
        except RuntimeError:
            # The process is ending, or has as many threads as it may.
            self._threads.clear()
            self._drain()

    def _drain(self) -> None:
        """Write the rows that wait; the thread ends with the last one."""
        while True:
            with self._lock:
                if not self._waiting:
                    self._working = False
                    return
                record, done = self._waiting.popleft()
            self._write(record, done)

    def _write(self, record: RunRecord, done: Done) -> None:
        try:
            values = record.row().values()
            secrets = self.secrets() if self.secrets is not None else ()
            self.log.add(hide(values, secrets), self._wait)
            self._wait, self._stuck = WAIT, False
        except LogError as error:
            if error.locked:
                self._wait = _AGAIN
            self._warn(str(error))
        except Exception as error:
            self._warn(f"{type(error).__name__}: {error}")
        finally:
            done.set_result(None)

    def _warn(self, message: str) -> None:
        with self._lock:
            warned, self._warned = self._warned, True
        if not warned:
            _log.warning("personakit: not in the run log: %s", message)


def _join(threads: list[threading.Thread]) -> None:
    until = time.monotonic() + WAIT + 5
    for thread in tuple(threads):
        if thread is not threading.current_thread():
            thread.join(max(0.0, until - time.monotonic()))
