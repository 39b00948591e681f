"""A worker of a cluster: a runner, an event loop's worth of requests, and a journal of its own."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from personakit.batch.engine import Engine
from personakit.batch.errors import BatchStopped, Unsent
from personakit.batch.pacing import Paced
from personakit.batch.progress import Meter, Used
from personakit.batch.ray import blocks
from personakit.batch.ray.claims import Claims
from personakit.batch.ray.identity import Identities, check_heads, check_way, head_for, settings_of
from personakit.batch.ray.marks import stop_run, stopped
from personakit.batch.ray.mirror import mirror_of
from personakit.batch.ray.results import invalid, values
from personakit.batch.ray.segments import Segments
from personakit.batch.records import Journal, lost_line, open_journal
from personakit.batch.rows import Checked, Columns, Invalid, Row
from personakit.batch.settings import checked_variables
from personakit.errors import PersonakitError
from personakit.rate import Controller
from personakit.runner import Runner

if TYPE_CHECKING:
    from typing import Unpack

    from personakit.batch.ray.identity import WorkerOptions

_OPTIONS = "deadline model parameters timeout tools".split()
_LOOK_EVERY = 0.25
_PUSH_EVERY, _PIECE = 2.0, 64
"""Seconds, or rows, after which a journal is copied to storage that cannot append."""


class Worker:
    """Answers the rows of blocks, and writes what it pays for into a journal of its own.

        dataset.map_batches(
            Worker,
            fn_constructor_kwargs={"persona": "tagger", "journal": "/shared/tags"},
            concurrency=8,
        )

    A row is known by a hash of its variables and input. Before a block is sent, the journals of all
    workers are read, so a block that comes again after a death costs the rows that were under way.
    The columns of the results are added to those of the block: ``answer`` (the text, or the JSON of
    the object), ``answer_error``, ``answer_code``, ``answer_attempts``, ``answer_finish_reason``,
    ``answer_model``, ``answer_tokens``, ``answer_cost`` and ``answer_run``. A row that fails has an
    error and no answer, and does not fail its block.

    Args:
        persona: The name of a persona, or the path of its file on every node.
        journal: A folder that all workers can read and write: a local one, one of a shared file
            system, or a URI such as ``s3://bucket/tags``. It is created. On S3, where nothing can
            be appended, a worker copies its journal every two seconds and every 64 rows, and a
            death also costs the rows since.
        input: The column of the user's message; None for none.
        map: The column of a variable, where it has another name.
        variables: Values of variables that are the same in all rows.
        column: The name of the column of the answers, with which those of the others begin.
        key: A column that tells rows with equal content apart if `dedupe` is False.
        run: A name that the workers of a run have in common; rows that fail in it are not sent
            again in it.
        stop: ``raise``: an error that every further row would have fails the block. ``drop``: the
            workers of the run end the rows under way, and leave out those that were not sent.
        options: `model`, `parameters`, `tools`, `timeout`, `deadline`, `concurrency`, `rpm`, `tpm`,
            `attempts`, `max_failures`, `grace`, `retry_failed`, `in_flight`, `durable`,
            `force_mixed` and `dedupe`; see `BatchOptions`. The rates and the concurrency are those
            of one worker. `in_flight` is ``resend``, the default, or ``fail``.

    Raises:
        UsageError: The persona or an argument is invalid, or the journal is of another persona,
            model or other settings.
    """

    def __init__(  # noqa: PLR0913 - each is a setting of its own
        self,
        persona: str | Path,
        journal: str | Path,
        *,
        input: str | None = None,  # noqa: A002
        map: Mapping[str, str] | None = None,  # noqa: A002
        variables: Mapping[str, Any] | None = None,
        column: str = "answer",
        key: str | None = None,
        run: str = "",
        stop: Literal["raise", "drop"] = "raise",
        **options: Unpack[WorkerOptions],
    ) -> None:
        self._runner = Runner()
        self._persona = self._runner.load(persona)
        fixed = checked_variables(self._persona, variables or {})
        dedupe = options.get("dedupe", True)
        columns = Columns(None if dedupe else key, input, dict(map or {}), (), fixed)
        self._run, self._drops, self._column = run, stop == "drop", column
        self._mirror = mirror_of(str(journal))
        self._folder = self._mirror.folder if self._mirror else Path(journal)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._own = f"{run or new_run()}-{_host()}-{os.getpid()}-{os.urandom(4).hex()}.jsonl"
        settings = self._settings = settings_of(self._folder / self._own, columns, options)
        self._identities = Identities(self._persona, columns, dedupe=dedupe)
        self._journal = self._opened(journal)
        self._push()
        self._segments = Segments(
            self._folder,
            run,
            retry_failed=settings.retry_failed,
            watch=settings.in_flight == "fail",
        )
        self._claims = Claims(self._folder, run, self._own)
        self._controllers: dict[str, Controller] = {}
        self._paced = Paced(
            self._controller, self._journal.sent, settings.attempts, returned=self._journal.returned
        )
        self._sending = self._paced.runner(self._runner)
        controller = self._controller(self._journal.head.model)
        self._meter = Meter(Checked(), self._journal.state, Used(), 0, controller)
        self._engines: list[Engine] = []
        self._pending: dict[str, asyncio.Future[dict[str, Any] | None]] = {}
        self._stopped: PersonakitError | None = None
        self._count = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def _opened(self, name: str | Path) -> Journal:
        """Return the journal of this worker.

        Raises:
            UsageError: Those of others are of another persona, model or other settings.
        """
        settings = self._settings
        if self._mirror is not None:
            check_way(settings.in_flight, name)
            self._mirror.pull()
        head = head_for(self._runner, self._persona, settings)
        check_heads(self._folder, head, force_mixed=settings.force_mixed)
        journal, heads = open_journal(settings.out, head, durable=settings.durable)
        journal.begin(heads)
        return journal

    async def __call__(self, block: Any) -> Any:
        """Return a block with the columns of the results.

        Args:
            block: A table of Arrow, a DataFrame of pandas, or a dict of columns.

        Raises:
            UsageError: A column is missing, or has the name of a result's.
            BatchStopped: No row can be sent, and `stop` is ``raise``.
        """
        table = blocks.table_of(block)
        lines = await self._lines(self._rows(table))
        return self._output(table, lines, block)

    def run(self, block: Any) -> Any:
        """Return a block with the columns of the results, for callers without an event loop.

        Any thread may call it; the requests of all calls run in one event loop.

        Args:
            block: See `__call__`.
        """
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=self._loop.run_forever, name="personakit-worker", daemon=True
                )
                self._thread.start()
        return asyncio.run_coroutine_threadsafe(self(block), self._loop).result()

    def close(self) -> None:
        """Close the files and the connections; the worker gets no further block."""
        loop, self._loop = self._loop, None
        if loop is not None:
            asyncio.run_coroutine_threadsafe(self.aclose(), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            assert self._thread is not None
            self._thread.join()
            loop.close()
        else:
            self._close_files()

    async def aclose(self) -> None:
        """Close the files and the connections, in the event loop of the calls."""
        await self._sending.aclose()
        await self._paced.aclose()
        self._close_files()

    def _close_files(self) -> None:
        self._journal.close()
        self._segments.close()

    def _controller(self, model: str) -> Controller:
        """Return the controller of the provider of a model, which has one key in a process."""
        provider, settings = model.partition("/")[0], self._settings
        if provider not in self._controllers:
            self._controllers[provider] = Controller(
                concurrency=settings.concurrency, requests=settings.rpm, tokens=settings.tpm
            )
        return self._controllers[provider]

    def _rows(self, table: Any) -> Sequence[Row | Invalid]:
        """Return the rows of a table of Arrow, or what is wrong with them."""
        blocks.check_names(table, self._column)
        rows = self._identities.rows(table, self._count)
        self._count += len(rows)
        return rows

    def _output(self, table: Any, lines: Sequence[dict[str, Any] | None], block: Any) -> Any:
        """Return the rows of a table with their results."""
        return blocks.with_results(table, self._column, map(values, lines), block)

    async def _lines(self, rows: Sequence[Row | Invalid]) -> list[dict[str, Any] | None]:
        """Return the lines of the results of rows; None for those that were not sent."""
        await self._catch_up()
        lines: list[dict[str, Any] | None] = [None] * len(rows)
        loop, begun, waiting, elsewhere = asyncio.get_running_loop(), [], [], []
        for at, row in enumerate(rows):
            if isinstance(row, Invalid):
                lines[at] = invalid(row)
            elif (line := await self._known(row)) is not None:
                lines[at] = line
            elif not self._claims.take(bytes.fromhex(row.key)):
                elsewhere.append((at, row))
            else:
                if (future := self._pending.get(row.key)) is None:
                    future = self._pending[row.key] = loop.create_future()
                    begun.append(row)
                waiting.append((at, future))
        await self._send_all(begun)
        for at, future in waiting:
            lines[at] = await future
        # Only now: what this worker was to send, another one may wait for.
        for at, row in elsewhere:
            lines[at] = await self._sent_elsewhere(row)
        if not self._drops and self._stopped is not None and None in lines:
            raise self._stopped
        return lines

    async def _send_all(self, rows: list[Row]) -> None:
        """Run rows, unless the run has stopped; all who wait for them go on at the end."""
        try:
            if rows and not self._stops():
                await self._send(rows)
        finally:
            for row in rows:
                if not (future := self._pending.pop(row.key)).done():
                    future.set_result(None)

    async def _sent_elsewhere(self, row: Row) -> dict[str, Any] | None:
        """Return the result of a row that another worker is to send; None if the run stops."""
        digest = bytes.fromhex(row.key)
        while not self._stops():
            await asyncio.sleep(_LOOK_EVERY)
            await self._catch_up()
            if (line := self._segments.find(digest)) is not None:
                return line
            self._claims.free(digest)
            if self._claims.take(digest):
                return (await self._lines([row]))[0]
        return None

    async def _catch_up(self) -> None:
        """Read what the workers have written since the last time."""
        if self._mirror is not None:
            await asyncio.to_thread(self._mirror.pull)
        self._segments.refresh()

    async def _known(self, row: Row) -> dict[str, Any] | None:
        """Return the result that a row has already; None if it is to be sent."""
        digest = bytes.fromhex(row.key)
        while (line := self._segments.find(digest)) is None:
            sent = None
            if self._settings.in_flight == "fail":
                sent = self._segments.sent(digest, self._own)
            if sent is None:
                return None
            count, is_alive = sent
            if not is_alive:
                self._segments.refresh()  # it may have written the result before it died
                if (line := self._segments.find(digest)) is None:
                    line = lost_line(row, count)
                    self._journal.gave_up(row, line)
                break
            await asyncio.sleep(_LOOK_EVERY)
            self._segments.refresh()
        return line

    async def _send(self, rows: list[Row]) -> None:
        """Run rows; the results are written, then given to those who wait for them."""
        settings = self._settings
        engine = Engine(
            self._sending,
            self._paced,
            self._persona,
            {name: value for name in _OPTIONS if (value := getattr(settings, name))},
            self._journal,
            self._controller(self._journal.head.model),
            self._meter,
            None,
            settings.grace,
            settings.max_failures,
        )
        looking = asyncio.create_task(self._look(engine))
        self._engines.append(engine)
        count = 0
        try:
            async for result in engine.results(iter(rows)):
                self._pending[result.row.key].set_result({**result.line})
                count += 1
                if self._mirror is not None and count % _PIECE == 0:
                    await asyncio.to_thread(self._push)
        except OSError as error:
            self._stop(BatchStopped(f"the journal cannot be written: {error}"))
        except BatchStopped as error:
            self._stop(error)
        finally:
            self._engines = [each for each in self._engines if each is not engine]
            looking.cancel()
        try:
            await asyncio.to_thread(self._journal.sync)
            await asyncio.to_thread(self._push)
        except OSError as error:
            self._stop(BatchStopped(f"the journal cannot be written: {error}"))

    def _push(self) -> None:
        """Copy the journal to where the others read it.

        Raises:
            OSError: That is not possible.
        """
        if self._mirror is not None:
            # Answers first: what is known as sent and not as answered may have been paid.
            self._mirror.push(self._journal.files[:3])

    async def _look(self, engine: Engine) -> None:
        """Copy the journal, and stop if another worker of the run has stopped, or its driver."""
        if self._mirror is not None:
            every, mirror = _PUSH_EVERY, self._mirror
        else:
            every, mirror = _LOOK_EVERY, None
        while self._run or mirror is not None:
            await asyncio.sleep(every)
            try:
                if mirror is not None:
                    await asyncio.to_thread(self._push)
                    await asyncio.to_thread(mirror.pull)
            except OSError as error:
                self._stop(BatchStopped(f"the journal cannot be written: {error}"))
            if self._stops():
                engine.stop(self._stopped or BatchStopped("the batch was stopped"))
                return

    def _stops(self) -> bool:
        if self._stopped is None and self._run:
            why = stopped(self._folder, self._run)
            self._stopped = None if why is None else BatchStopped(why)
        return self._stopped is not None

    def _stop(self, why: PersonakitError) -> None:
        """Begin no further row, here and in the other workers of the run."""
        if isinstance(why.__cause__, Unsent):
            # It is what follows, in one block, from an error in another one.
            reasons = [each.stopped for each in self._engines if each.stopped is not None]
            why = next((it for it in reasons if not isinstance(it.__cause__, Unsent)), why)
        if self._stopped is None:
            self._stopped = why
            if self._run and self._drops:
                stop_run(self._folder, self._run, str(why), self._mirror)
        for engine in self._engines:
            engine.stop(why)


def new_run() -> str:
    """Return a name for a run, which begins with the time."""
    return f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{os.urandom(4).hex()}"


def run_of(name: str) -> str:
    """Return the name of the run of a worker's file."""
    return "-".join(name.split("-")[:2])


def _host() -> str:
    """Return the name of this machine, as a part of a file's name."""
    return re.sub(r"[^A-Za-z0-9]+", "-", socket.gethostname())[:40]
