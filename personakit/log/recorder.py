"""Write every run of a runner to the run log when it ends, whether it succeeds or fails.

If the log cannot be written, one warning is logged and the answer is still returned. A thread
writes the rows, so that a locked log or a disk that hangs does not block a run.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from personakit.base import Emit, Secret, TextTap, hide, run_id
from personakit.codec import write_notes
from personakit.config import Config
from personakit.database import WAIT
from personakit.errors import UsageError
from personakit.log.faults import LogError
from personakit.log.row import Row, step_data
from personakit.log.run_log import RunLog, Values
from personakit.log.writer import Waiter, Writer, tell, tell_all
from personakit.messages import Message, Request, Response
from personakit.persona import Persona
from personakit.pipeline import RunLayer, RunOptions, Step, Trace
from personakit.usage import Book, Spent, Timings, charges_in

if TYPE_CHECKING:
    from personakit.journal import Record

ABANDONED = "Abandoned"
"""The error type of an abandoned run: a stream that was closed or a task that was cancelled."""


class RunRecord:
    """The data of one run, from which its row is made.

    Args:
        persona: The persona of the run.
        request: The rendered request.
        trace: The trace of the run's layers.
        tap: Records the emitted text, the only text of a run that fails while it streams.
        book: What the run has paid.
        options: The options of the run, with the id of the conversation and its own.
        hash_of: Returns the hash of the persona.
        kept: The record of a run that can be suspended.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - the parts of a run that end up in its row
        self,
        persona: Persona,
        request: Request,
        trace: Trace,
        tap: TextTap,
        book: Book,
        options: RunOptions,
        hash_of: Callable[[Persona], str],
        kept: Record | None = None,
    ) -> None:
        self._kept = kept
        self._persona, self._book = persona, book
        self._request = request
        self._trace = trace
        self._options = options
        self._hash_of = hash_of
        self._tap = tap
        self._total = 0.0
        self._response: Response | None = None
        self._error: BaseException | None = None

    def answered(self, response: Response) -> RunRecord:
        """Record that the run ended with an answer."""
        self._response = response
        return self._ended()

    def failed(self, error: BaseException) -> RunRecord:
        """Record that the run ended with an error."""
        self._error = error
        # The usage that was paid for if a plugin failed or the model exceeded the tool calls.
        paid = getattr(error, "response", None)
        self._response = paid if isinstance(paid, Response) else None
        if (messages := getattr(error, "messages", None)) is not None:  # suspended
            self._response = Response(getattr(error, "text", ""), messages=messages)
        return self._ended()

    def _ended(self) -> RunRecord:
        self._total = time.perf_counter() - self._tap.clock
        return self

    def row(self) -> Row:
        """Return the row of the run, which must have ended."""
        response = self._response or Response(self._text())
        models = [s for s in self._trace.steps if not s.plugin and s.hook == "chat"]
        good = self._error is None
        spent = Spent(charges_in(self._book))
        return Row(
            self.id or self._options.run_id or run_id(self._tap.started),
            self._request,
            persona=self._persona.name,
            version=self._persona.version,
            hash=self._hash_of(self._persona),
            path=_whole(self._persona.path),
            conversation=self._options.conversation,
            sent=self._sent(models, response if good else None),
            text=response.text,
            finish_reason=response.finish_reason,
            messages=response.messages,
            answered_by=response.model,
            response_id=response.id,
            usage=spent.usage,
            cost=spent.cost,
            timings=Timings(self._tap.started, self._total, self._tap.first_text),
            calls=max(len(models), len(spent.charges)),
            notes=write_notes(response.metadata),
            history=self._replaced(response),
            trace=tuple(map(step_data, self._trace.steps)),
            error=None if self._error is None else _described(self._error),
        )

    @property
    def id(self) -> str:
        """The id of a run that is in a journal, which is the same when it is resumed."""
        return self._kept.id if self._kept is not None and self._kept.is_kept else ""

    def _replaced(self, response: Response) -> tuple[Message, ...] | None:
        """Return the conversation up to the user's message, if a plugin replaced its history."""
        if response.history is None:
            return None
        request = self._request
        last = request.after_history if request.history else request.messages[-1:]
        return (*response.history, *(message for message in last if message.role != "system"))

    def _text(self) -> str:
        """Return the partial text of a failed run."""
        return getattr(self._error, "partial", "") or self._tap.text

    def _sent(self, models: list[Step], response: Response | None) -> Request | None:
        """Return the last request sent; None if it equals the rendered one."""
        if not models:
            return None
        answered = models[-1].response
        last = (isinstance(answered, Response) and answered.request) or models[-1].request
        # The messages of tool calls in between are already in the row.
        between = _before_answer(response.messages) if response is not None else ()
        expected = self._request.with_messages(*between) if between else self._request
        return last if isinstance(last, Request) and last != expected else None


def _before_answer(messages: Sequence[Message]) -> Sequence[Message]:
    """Return the messages of a run before the last answer, which tool results may follow."""
    end = len(messages)
    while end > 0 and messages[end - 1].role == "tool":
        end -= 1
    return messages[: max(end - 1, 0)]


def _whole(path: str) -> str:
    """Return the absolute path of a persona's file; another name stays as it is."""
    # Path.is_file raises an error for a path that is too long.
    is_whole = os.path.isabs(path) or not os.path.isfile(path)  # noqa: PTH113, PTH117
    return path if is_whole else os.path.abspath(path)  # noqa: PTH100


def _described(error: BaseException) -> dict[str, Any]:
    """Return the stored form of an error."""
    kind = type(error).__name__
    if kind in ("GeneratorExit", "CancelledError"):
        return {"type": ABANDONED, "message": "the run was stopped before its answer was complete"}
    stored: dict[str, Any] = {"type": kind, "message": str(error)}
    for name in ("plugin", "status", "request_id"):
        if getattr(error, name, None):
            stored[name] = getattr(error, name)
    return stored


PATIENCE = 3.0
"""Seconds that a run in Python waits for its row; after that the thread continues alone."""
_AGAIN = 0.1
_MOST = 1000
_AT_ONCE = 0.0005
_TURNS = 100

Queued = tuple[RunRecord, Waiter | None]

_log = logging.getLogger("personakit")


class Recorder:
    """The writer of a runner's runs to a log.

    Args:
        log: The log.
        secrets: Returns the secrets to hide in every row; None lets the runner set it to the keys
            that it knows.
        patience: Seconds that a run waits for its row before it returns its answer.
        replays: The id of the logged run that is sent again; None for new runs.
        prompt: Write the rows of async runs in the thread of the event loop, those that end
            together in one transaction, unless that would have to wait. A service that has many
            runs spends less on it.
    """

    def __init__(
        self,
        log: RunLog,
        secrets: Callable[[], Iterable[Secret]] | None = None,
        *,
        patience: float = PATIENCE,
        replays: str | None = None,
        prompt: bool = False,
    ) -> None:
        self.log = log
        self._prompt = prompt
        self._together: deque[Queued] = deque()
        self._turns = 0
        self.patience = patience
        self.replays = replays
        self.secrets = secrets
        self._warned = False
        self._wait = WAIT
        self._stuck = False
        self._lock = threading.Lock()
        self._writer: Writer[Queued] = Writer()
        # At exit, wait for the rows that are being written.
        weakref.finalize(self, self._writer.flush, WAIT + 5)

    @classmethod
    def of(
        cls,
        log: RunLog | Recorder | bool | None,
        config: Config,
        secrets: Callable[[], Iterable[Secret]],
    ) -> Recorder:
        """Return the recorder for a log, by default for the user's log.

        Raises:
            UsageError: `log` has another type, such as a path.
        """
        if isinstance(log, Recorder):
            log.secrets = log.secrets or secrets
            return log
        if not isinstance(log, RunLog | bool | None):
            raise UsageError(f"log: expected True, False or a RunLog(path), found {log!r}")
        return cls(log if isinstance(log, RunLog) else RunLog.of(config), secrets)

    def around(  # noqa: PLR0913, PLR0917 - see `RunRecord`
        self,
        run: RunLayer,
        persona: Persona,
        trace: Trace,
        tap: TextTap,
        book: Book,
        options: RunOptions,
        hash_of: Callable[[Persona], str],
        kept: Record | None = None,
    ) -> RunLayer:
        """Return a run layer that logs a run.

        Args:
            run: The layer to log.
            persona: The persona of the run.
            trace: The trace of the run's layers.
            tap: Records the emitted text.
            book: What the run has paid.
            options: The options of the run.
            hash_of: Returns the hash of a persona.
            kept: The record of a run that can be suspended; None for another.
        """

        async def logged(request: Request, emit: Emit | None) -> Response:
            record = RunRecord(persona, request, trace, tap, book, options, hash_of, kept)
            try:
                response = await run(request, emit)
            except GeneratorExit as error:
                # A closed generator cannot await anything.
                self._queue(record.failed(error))
                raise
            except BaseException as error:
                await self._put(record.failed(error))
                raise
            await self._put(record.answered(response))
            return response

        return logged

    @property
    def behind(self) -> int:
        """The number of runs that have ended and whose rows are not being written yet."""
        return len(self._writer) + len(self._together)

    def flush(self) -> None:
        """Wait until every row has been written or has failed."""
        self._hand_over(self._gathered())
        self._writer.flush(WAIT + 5)

    def close(self) -> None:
        """Write the remaining rows and close the file."""
        self.flush()
        self.log.close()

    async def _put(self, record: RunRecord) -> None:
        if not self.patience or self._stuck:
            self._queue(record)
            return
        waiter = Waiter()
        if self._prompt and waiter.loop is not None:
            self._together.append((record, waiter))
            if len(self._together) == 1:
                # After those that end in the same turn of the loop.
                waiter.loop.call_soon(self._write_at_once)
        else:
            self._queue(record, waiter)
        if not await waiter.wait(self.patience):
            # The next rows would wait as long.
            self._stuck = True

    def _queue(self, record: RunRecord, waiter: Waiter | None = None) -> None:
        """Queue a row; `waiter` is told when it has been written or has failed."""
        if self._wait != WAIT and len(self._writer) >= _MOST:
            self._warn(f"{self.log.path} has been locked for too long")
            tell([waiter])
        else:
            self._writer.put((record, waiter), self._write)

    def _gathered(self) -> list[Queued]:
        group = []
        with contextlib.suppress(IndexError):  # another thread flushes
            while self._together:
                group.append(self._together.popleft())
        return group

    def _hand_over(self, group: Iterable[Queued]) -> None:
        for record, waiter in group:
            self._queue(record, waiter)

    def _write_at_once(self) -> None:
        """Write the rows of the runs that have just ended, or leave them to the thread.

        Now and then it is left to the thread, which also removes old rows.
        """
        group = self._gathered()
        self._turns += 1
        # Rows are written in order, so not before those that wait.
        if len(self._writer) or not self.log.is_quick or self._turns >= _TURNS:
            self._turns = 0
            self._hand_over(group)
            return
        try:
            secrets = tuple(self.secrets()) if self.secrets is not None else ()
            rows = [row for record, _ in group if (row := self._row(record, secrets))]
            self.log.add(rows, _AT_ONCE, forget=False)
        except Exception:  # the thread waits, or finds out which row is at fault
            self._hand_over(group)
        else:
            self._stuck = False
            tell_all([waiter for _, waiter in group if waiter is not None])

    def _write(self, group: Sequence[Queued]) -> None:
        """Write the rows of runs in one transaction, and each by itself if that fails."""
        try:
            secrets = tuple(self.secrets()) if self.secrets is not None else ()
            rows = [row for record, _ in group if (row := self._row(record, secrets))]
            if not self._added(rows, is_last=len(rows) == 1):
                for row in rows:
                    self._added([row])
        except Exception as error:
            self._warn(_named(error))
        finally:
            tell(waiter for _, waiter in group)

    def _row(self, record: RunRecord, secrets: Iterable[Secret]) -> Values | None:
        """Return the values of a row, and whether it replaces another; None if it has a fault."""
        try:
            values = {**record.row().values(), "replays": self.replays}
            # They hardly ever occur, and the values of a row are texts and numbers.
            text = "\0".join([value for value in values.values() if type(value) is str])
            present = [secret for secret in secrets if secret.occurs_in(text)]
            return hide(values, present) if present else values, bool(record.id)
        except Exception as error:
            self._warn(_named(error))
            return None

    def _added(self, rows: Sequence[Values], *, is_last: bool = True) -> bool:
        """Add rows, all or none; return whether that need not be tried again."""
        try:
            self.log.add(rows, self._wait)
        except Exception as error:
            is_locked = isinstance(error, LogError) and error.locked
            if not is_locked and not is_last:
                return False
            if is_locked:
                self._wait = _AGAIN
            self._warn(str(error) if isinstance(error, LogError) else _named(error))
        else:
            self._wait, self._stuck = WAIT, False
        return True

    def _warn(self, message: str) -> None:
        with self._lock:
            warned, self._warned = self._warned, True
        if not warned:
            _log.warning("personakit: the run was not logged: %s", message)


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
