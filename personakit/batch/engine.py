"""The loop of a batch: rows in, runs beside each other, results out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from personakit.base import counted, dollars, run_id
from personakit.batch.errors import BatchStopped, Unsent
from personakit.batch.pacing import Paced, Sending, current
from personakit.batch.progress import Meter
from personakit.batch.records import Journal, answer_line, failure_line
from personakit.batch.results import Result
from personakit.batch.rows import Row
from personakit.errors import (
    AuthenticationFailed,
    ConfigError,
    ModelNotFound,
    PersonakitError,
    QuotaExhausted,
    RunError,
    spelled,
)
from personakit.persona import Persona
from personakit.rate import Controller
from personakit.runner import Runner

_OF_ALL = (AuthenticationFailed, ConfigError, ModelNotFound, QuotaExhausted)
"""The errors that every further row would have, too."""
_SYNC_EVERY = 1.0
_AGAIN = 0.5

Write = Callable[[Row, Mapping[str, Any]], None]


@dataclass(slots=True)
class Engine:
    """Runs rows.

    Attributes:
        runner: Runs the persona; its backend is `paced`.
        paced: Sends the requests.
        persona: The persona.
        options: The options of each run.
        journal: Where results go.
        controller: Says how many rows may run at once.
        meter: Counts.
        max_usd: US dollars of all rows, those of earlier processes included, from which on no row
            begins; None for no limit.
        grace: Seconds that rows under way have when the batch stops.
        max_failures: After as many failures without any answer the batch stops; None for never.
        running: The rows under way.
        unwritten: The results that could not be written.
    """

    runner: Runner
    paced: Paced
    persona: Persona
    options: dict[str, Any]
    journal: Journal
    controller: Controller
    meter: Meter
    max_usd: float | None
    grace: float
    max_failures: int | None = None
    running: int = 0
    unwritten: list[dict[str, Any]] = field(default_factory=list)
    _stopped: PersonakitError | None = None
    _until: asyncio.TimerHandle | None = None
    _ended: asyncio.Queue[Result | None] = field(default_factory=asyncio.Queue)
    _tasks: dict[asyncio.Task[None], Sending] = field(default_factory=dict)
    _first: PersonakitError | None = None

    def stop(self, why: PersonakitError) -> None:
        """Begin no further row; those under way have `grace` seconds to end.

        Those of which nothing can have been paid end at once.
        """
        if self._stopped is None:
            self._stopped, self.paced.stopping = why, True
            self._until = asyncio.get_running_loop().call_later(self.grace, self.cancel)
            for task, sending in self._tasks.items():
                if sending.is_idle and not sending.is_open:
                    task.cancel()
            self._ended.put_nowait(None)

    @property
    def stopped(self) -> PersonakitError | None:
        """Why no further row begins; None if they do."""
        return self._stopped

    def cancel(self) -> None:
        """End the rows under way at once; they may have been paid."""
        for task in self._tasks:
            task.cancel()

    async def results(self, rows: Iterator[Row]) -> AsyncGenerator[Result]:
        """Run rows, and yield the result of each as soon as it is written.

        If the generator is closed, the rows under way end and are written. If its task is
        cancelled, they end at once.

        Raises:
            BatchStopped: The batch stopped before the last row.
        """
        syncing = asyncio.create_task(self._sync())
        try:
            left = True
            while (left := left and self._begin(rows)) or self.running or self._ended.qsize():
                result = await self._ended.get()
                if result is not None:
                    yield result
        except GeneratorExit:
            await self._close()
            raise
        finally:
            self.cancel()
            syncing.cancel()
            await asyncio.gather(*self._tasks, syncing, return_exceptions=True)
            if self._until is not None:
                self._until.cancel()
        if self._stopped is not None:
            raise self._stopped

    async def _close(self) -> None:
        """Let the rows under way end, unless the task is cancelled."""
        task = asyncio.current_task()
        if self._tasks and (task is None or not task.cancelling()):
            self.stop(BatchStopped("nobody waits for the results any more"))
            await asyncio.wait(self._tasks)

    def _begin(self, rows: Iterator[Row]) -> bool:
        """Begin as many rows as may run at once; return whether there may be more."""
        while self.running < self.controller.concurrency:
            if self._stopped is not None:
                return False
            if self.max_usd is not None and not self._has_money(self.max_usd):
                return self._stopped is None
            try:
                row = next(rows, None)
            except (PersonakitError, OSError, ValueError) as error:
                # The table has changed since it was checked. Those under way are paid.
                self.stop(_stopped(error))
                return False
            if row is None:
                return False
            self.running += 1
            sending = Sending(row)
            task = asyncio.create_task(self._run(sending))
            self._tasks[task] = sending
            task.add_done_callback(self._forget)
        return True

    def _forget(self, task: asyncio.Task[None]) -> None:
        del self._tasks[task]

    def _has_money(self, limit: float) -> bool:
        """Return whether a row may begin now; stop if none will."""
        state = self.journal.state
        if (each := state.mean_cost) is not None:
            if state.paid + (state.unpriced + self.running + 1) * each <= limit:
                return True
            why = f"the limit of {dollars(limit)} is reached"
        elif self.meter.answered:
            # A plugin has chosen another model than the one whose price was asked for.
            why = f"the cost of an answer is unknown, so {dollars(limit)} cannot be kept"
        else:
            why = ""  # what a row costs is not known before one has ended
        if self.running:
            return False
        if why:
            self.stop(BatchStopped(why))
        return not why

    async def _run(self, sending: Sending) -> None:
        """Run a row and write its result."""
        current.set(sending)
        result = None
        try:
            result = await self._result(sending)
            if result is not None:
                write = self.journal.answered if result.ok else self.journal.gave_up
                result = result if await self._write(write, result) else None
        except Exception as error:
            # A task that fails would be a row less.
            self.stop(_stopped(error))
        finally:
            self.running -= 1
            if result is not None:
                self.meter.ended(result)
                self._check_failures(result)
            self._ended.put_nowait(result)

    async def _result(self, sending: Sending) -> Result | None:
        """Return the result of a row; None if the batch stops before it has one."""
        row, identity = sending.row, run_id(time.time())
        try:
            response = await self.runner.arun(
                self.persona, row.input, variables=row.variables, run_id=identity, **self.options
            )
            return Result(row, answer_line(row, response, identity), response)
        except (Unsent, *_OF_ALL) as error:
            self.stop(_stopped(error))
            return None
        except PersonakitError as error:
            failure = error
        except Exception as error:
            # A mistake in one row must not end the others, nor be silent.
            failure = RunError(f"{type(error).__name__}: {error}")
            failure.__cause__ = error
        if sending.unsent is not None:  # a plugin has wrapped it
            self.stop(_stopped(sending.unsent))
            return None
        line = failure_line(row, failure, sending.sent, identity)
        return Result(row, line, error=failure)

    def _check_failures(self, result: Result) -> None:
        """Stop if the first rows have failed, all of them: the others would, too."""
        if self.max_failures is None or self.meter.answered:
            return
        self._first = self._first or result.error
        if self.meter.ended_rows >= self.max_failures:
            option = spelled(python="max_failures=", terminal="--max-failures ")
            stopped = BatchStopped(
                f"the first {counted(self.meter.ended_rows, 'row')} failed, all of them; the first "
                f"with: {self._first}. Mend that, then send them again with "
                f"{spelled(python='retry_failed=True', terminal='--retry-failed')}; or go on "
                f"after more failures with {option}NUMBER"
            )
            stopped.__cause__ = self._first
            self.stop(stopped)

    async def _write(self, write: Write, result: Result) -> bool:
        """Write a result; on a full disk, try until `grace` is over. Return whether it is."""
        row, line, until = result.row, {**result.line}, time.monotonic() + self.grace
        while True:
            try:
                write(row, line)
            except OSError as error:
                self.stop(_stopped(error))
                if time.monotonic() >= until:
                    self.unwritten.append(line)
                    return False
            else:
                break
            try:
                await asyncio.sleep(_AGAIN)
            except asyncio.CancelledError:
                self._write_at_last(write, row, line)
                raise
        try:
            self.journal.flush()
        except OSError as error:
            self.stop(_stopped(error))
        return True

    def _write_at_last(self, write: Write, row: Row, line: dict[str, Any]) -> None:
        try:
            write(row, line)
        except OSError:
            self.unwritten.append(line)

    async def _sync(self) -> None:
        """Let the disk have the results once a second, in a thread."""
        while True:
            await asyncio.sleep(_SYNC_EVERY)
            if not self.journal.unsynced:
                continue
            syncing = asyncio.ensure_future(asyncio.to_thread(self.journal.sync))
            try:
                await asyncio.shield(syncing)
            except asyncio.CancelledError:
                # The files must not be closed meanwhile.
                await asyncio.wait((syncing,))
                raise
            except OSError as error:
                # The system says it once: `close` would not hear of it.
                self.stop(_stopped(error))


def _stopped(error: Exception) -> PersonakitError:
    """Return why a batch stops after an error of a row."""
    stopped = BatchStopped(f"the batch stopped: {error}")
    stopped.__cause__ = error
    return stopped
