"""A persona over the rows of files, on a cluster of Ray."""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
import time
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from personakit.base import install_command
from personakit.batch.errors import BatchStopped, InvalidRows, UnderWay
from personakit.batch.progress import Progress
from personakit.batch.ray.blocks import names_of
from personakit.batch.ray.claims import write_repeats
from personakit.batch.ray.files.answering import KEY
from personakit.batch.ray.files.checking import Collected
from personakit.batch.ray.files.tally import Tally
from personakit.batch.ray.identity import check_heads, check_way, head_for, settings_of
from personakit.batch.ray.marks import stop_run, stopped
from personakit.batch.ray.mirror import mirror_of
from personakit.batch.ray.segments import Summary, segments_of, summary
from personakit.batch.ray.storage import format_of, place_of
from personakit.batch.ray.worker import new_run, run_of
from personakit.batch.records import Appender, is_locked, lost_line, open_journal
from personakit.batch.results import Result
from personakit.batch.rows import Columns, Row
from personakit.batch.settings import Settings, checked_variables
from personakit.errors import UsageError, spelled
from personakit.persona import Reference
from personakit.runner import Runner

if TYPE_CHECKING:
    from personakit.batch.ray.files import running

_COLUMN = "answer"
_PATIENCE, _LOOK_EVERY = 60.0, 0.25


class ClusterBatch:
    """Runs a persona for each row of files, on a cluster of Ray.

    The same batch again goes on where it ended: rows that have a result in the journal are not
    sent again. The output is written anew each time.

    Args:
        persona: A name, or the path of a file that is on every node.
        rows: A file or a folder of ``.csv``, ``.jsonl`` and ``.parquet`` files: a local path that
            every node has, or a URI such as ``s3://bucket/rows``.
        out: A folder whose name ends in ``.parquet``, ``.jsonl`` or ``.csv``.
        address: The address of the cluster, ``auto`` for one that runs on this machine; None for
            that in RAY_ADDRESS, or a new one on this machine. A connection that there is already
            is used.
        workers: How many processes send rows, at most; None for one for each CPU of the cluster.
        journal: The folder of the workers' journals; None for ``OUT.journal``.
        key: The column of the rows' keys; None for a hash of the content.
        input: The column of the user's message; None for none.
        map: The column of a variable, where it has another name.
        keep: The columns that are copied to the output.
        variables: Values of variables that are the same in all rows.
        skip_invalid: Whether to leave out rows that do not fit the persona.
        in_flight: See `BatchOptions`; within a run, ``ask`` counts as ``resend``.
        concurrency: Requests at once, of all workers together; None to find it out.
        rpm: The most requests a minute, of all workers together; None for what the provider says.
        tpm: The most tokens a minute, as `rpm`.
        runner: Finds the persona, and checks the arguments; None for one with the user's config.
        options: The other arguments of a `Worker`.

    Raises:
        UsageError: The persona or an argument is invalid.
    """

    def __init__(  # noqa: PLR0913 - each is a setting of its own
        self,
        persona: Reference,
        rows: str,
        *,
        out: str,
        address: str | None = None,
        workers: int | None = None,
        journal: str | None = None,
        key: str | None = None,
        input: str | None = None,  # noqa: A002
        map: Mapping[str, str] | None = None,  # noqa: A002
        keep: tuple[str, ...] = (),
        variables: Mapping[str, Any] | None = None,
        skip_invalid: bool = False,
        in_flight: str = "ask",
        concurrency: int | None = None,
        rpm: float | None = None,
        tpm: float | None = None,
        runner: Runner | None = None,
        **options: Any,
    ) -> None:
        _running()
        self.runner = runner or Runner()
        self._persona = self.runner.load(persona)
        file = Path(self._persona.path)
        self._reference = str(file.absolute()) if file.is_file() else self._persona.name
        fixed = checked_variables(self._persona, variables or {})
        self._columns = Columns(key, input, dict(map or {}), keep, fixed)
        self._out, self._format = place_of(out), format_of(out)
        self._rows, self._address, self._workers = place_of(rows), address, workers
        self._journal = journal or self._out.beside(".journal")
        self._mirror = mirror_of(self._journal)
        self._folder = self._mirror.folder if self._mirror else Path(self._journal)
        if self._mirror is not None:
            check_way(in_flight, self._journal)
        self._skip_invalid, self._in_flight = skip_invalid, in_flight
        self._shared = {"concurrency": concurrency, "rpm": rpm, "tpm": tpm}
        self._options = options
        self._run = new_run()
        self._checking: int | None = None
        self._tally: Tally | None = None
        self._stopping = False
        self.unwritten: list[dict[str, Any]] = []
        self._check_names(keep)
        self.settings: Settings = settings_of(
            Path("worker.jsonl"), self._columns, self._for_worker()
        )
        self.model = head_for(self.runner, self._persona, self.settings).model

    def _check_names(self, keep: tuple[str, ...]) -> None:
        for name in (KEY, *names_of(_COLUMN)):
            if name in keep:
                option = spelled(python=f"keep={name!r}", terminal=f"--keep {name}")
                raise UsageError(f"{option}: the output has a column of that name; rename yours")

    def _for_worker(self) -> dict[str, Any]:
        """Return the options of each worker."""
        way = "fail" if self._in_flight == "fail" else "resend"
        return {**self._options, **self._shared, "in_flight": way}

    @property
    def files(self) -> tuple[Path | str, Path | str]:
        """The output, twice: rows that failed stand in it, too."""
        return self._out.name, self._out.name

    @property
    def checking(self) -> int | None:
        """The rows that were checked so far; None unless they are being checked."""
        return self._checking

    @property
    def in_flight(self) -> int:
        """The rows under way, about."""
        return 0 if self._tally is None else self._tally.in_flight()

    def progress(self) -> Progress | None:
        """Return how far the batch is; None before it has begun to send."""
        return None if self._tally is None else self._tally.progress()

    def settle(self) -> None:
        """Check that it is decided what becomes of rows that were under way.

        Raises:
            UnderWay: The last run was killed with rows under way, and `in_flight` is ``ask``.
            UsageError: The output is not one of a batch, or is one of another one.
        """
        self._pull()
        if not self._folder.is_dir() or not any(self._folder.iterdir()):
            if self._out.exists():
                raise UsageError(
                    f"{self._out.name}: it exists and has no journal ({self._journal}), so it is "
                    "not the output of a batch on Ray; choose another one, or remove it"
                )
            return
        head = head_for(self.runner, self._persona, self.settings)
        check_heads(self._folder, head, force_mixed=self.settings.force_mixed)
        with self._locked():
            self._end_others()
            before = summary(self._folder)
        if before.in_flight and self._in_flight == "ask":
            raise UnderWay.of(self._out.name, before.in_flight, before.mean_cost)

    def _end_others(self) -> None:
        """End the workers of a run whose command was killed: Ray takes a while to do so.

        Raises:
            UsageError: They do not end.
        """
        end = time.monotonic() + _PATIENCE
        while names := [
            it.answers.name for it in segments_of(self._folder) if is_locked(it.journal)
        ]:
            for run in {run_of(name) for name in names}:
                stop_run(self._folder, run, "another run of the batch has begun")
            if time.monotonic() > end:
                raise UsageError(
                    f"{self._folder}: other workers write there, {names[0]} among them; wait for "
                    "them, or choose another journal"
                )
            time.sleep(_LOOK_EVERY)

    def replace(self, **settings: Any) -> ClusterBatch:
        """Set `in_flight`, and return the batch."""
        self._in_flight = settings["in_flight"]
        self.settings = settings_of(Path("worker.jsonl"), self._columns, self._for_worker())
        return self

    def stop(self) -> None:
        """Begin no further row, and let those under way end; call it from any thread."""
        self._stopping = True
        if self._folder.is_dir():
            why = "the batch was stopped before its last row"
            stop_run(self._folder, self._run, why, self._mirror)

    async def arun(self, only: object = None) -> AsyncGenerator[Result]:
        """Run the rows that have no result yet, and write the output; it yields nothing.

        Raises:
            BatchStopped: It stopped before the last row.
            UsageError: Rows are invalid, or the output belongs to another batch.
        """
        self._run, self._stopping = new_run(), False
        self.settle()
        ended = asyncio.get_running_loop().create_future()
        context = contextvars.copy_context()
        arguments = _settling, self._main, ended
        thread = threading.Thread(
            target=context.run, args=arguments, name="personakit-ray", daemon=True
        )
        thread.start()
        await ended
        return
        yield

    def run(self) -> Summary:
        """Run the rows that have no result yet, and write the output.

        Raises:
            BatchStopped: See `arun`.
            UsageError: See `arun`.
        """

        async def main() -> None:
            async for _ in self.arun():
                pass

        asyncio.run(main())
        return self.summary()

    def summary(self) -> Summary:
        """Return what the journals of all runs say."""
        return summary(self._folder)

    def under_way(self) -> int:
        """Return how many rows were under way in this run when a worker died."""
        self._pull()
        found = summary(self._folder, self._run)
        return found.again + found.in_flight

    @property
    def copied_journal(self) -> str | None:
        """Where the journal is, if workers can only copy theirs to it; None if they append."""
        return self._journal if self._mirror is not None else None

    def _pull(self) -> None:
        if self._mirror is not None:
            self._mirror.pull()

    def _main(self) -> None:
        """Check, run and write, in a thread: Ray blocks it."""
        with _running().connected(self._address) as cpus:
            most = self._shared["concurrency"] or cpus
            workers = max(1, int(min(self._workers or cpus, most)))
            collected = self._checked()
            if self._stopping:
                raise BatchStopped("the batch was stopped before it sent anything")
            self._folder.mkdir(parents=True, exist_ok=True)
            with self._locked():
                self._begin(collected)
                self._tally = Tally(
                    self._folder,
                    self._run,
                    collected,
                    retry_failed=self.settings.retry_failed,
                    mirror=self._mirror,
                )
                with self._tally.kept_up():
                    _running().run(self._source(), self._job(collected, workers))
        if (why := stopped(self._folder, self._run)) is not None:
            raise BatchStopped(why)

    def _source(self) -> running.Source:
        source: running.Source = _running().Source(
            self._rows, self._reference, self._columns, dedupe=self.settings.dedupe
        )
        return source

    def _job(self, collected: Collected, workers: int) -> running.Job:
        options = self._for_worker()
        for name, value in self._shared.items():
            if value is not None:
                share = value / workers
                options[name] = int(share) if name == "concurrency" else share
        arguments = {
            "persona": self._reference,
            "journal": self._journal if self._mirror else str(self._folder.absolute()),
            "kinds": collected.kinds,
            "is_csv": self._format == "csv",
            "variables": dict(self._columns.fixed),
            "column": _COLUMN,
            "run": self._run,
            "stop": "drop",
            **options,
        }
        job: running.Job = _running().Job(
            arguments, workers, self._out, self._format, collected.rows, collected.size
        )
        return job

    def _checked(self) -> Collected:
        """Check all rows.

        Raises:
            InvalidRows: Some do not fit the persona.
        """
        collected = Collected(self._columns.key)
        collected.kinds = dict.fromkeys(self._columns.keep, "")
        self._checking = 0
        try:
            for row in _running().examined_rows(self._source()):
                collected.add(row, self._count)
        finally:
            self._checking = None
        # Which of two rows with a key is left out, the workers would not agree upon.
        if collected.invalid and (collected.repeated or not self._skip_invalid):
            raise InvalidRows.of(collected.checked())
        return collected

    def _count(self, rows: int) -> None:
        self._checking = rows
        if self._stopping:
            raise BatchStopped("the batch was stopped before it sent anything")

    def _begin(self, collected: Collected) -> None:
        """Write what the answers depend on, and what becomes of rows that were under way."""
        head = head_for(self.runner, self._persona, self.settings, self._rows.name)
        out = self._folder / f"{self._run}-driver-{os.getpid()}.jsonl"
        before = summary(self._folder)
        journal, heads = open_journal(out, head, durable=self.settings.durable)
        try:
            journal.begin(heads)
            # A row is counted by its result, which it may share with others.
            counts = {"rows": len(collected.contents), "invalid": collected.invalid}
            journal.checked(counts)
            if self._in_flight == "fail":
                for at, (key, number) in enumerate(sorted(before.under_way.items())):
                    row = Row(at, 0, key, b"", {})
                    journal.gave_up(row, lost_line(row, number))
        finally:
            journal.close()
        if self._mirror is not None:
            self._mirror.push(journal.files[:3])
        else:
            write_repeats(self._folder, self._run, collected.repeating())

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Lock the journal for this process.

        Raises:
            UsageError: Another process runs the batch.
        """
        lock = Appender(self._folder / "lock")
        try:
            if not lock.lock():
                raise UsageError(f"{self._out.name}: another process runs this batch; wait for it")
            yield
        finally:
            lock.close()


def _running() -> Any:
    """Return the module that needs Ray.

    Raises:
        UsageError: Ray is not installed.
    """
    try:
        from personakit.batch.ray.files import running  # noqa: PLC0415
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in ("ray", "pandas", "pyarrow"):
            raise
        command = install_command("personakit[ray]")
        raise UsageError(
            f"it needs Ray Data, and {error.name} is not installed; run: {command}"
        ) from None
    return running


def _settling(main: Any, ended: asyncio.Future[None]) -> None:
    """Run a function, and set a future of another thread to how it ended."""
    error: BaseException | None = None
    try:
        main()
    except BaseException as caught:
        error = caught

    def settle() -> None:
        if not ended.done():
            ended.set_result(None) if error is None else ended.set_exception(error)

    loop = ended.get_loop()
    if not loop.is_closed():
        loop.call_soon_threadsafe(settle)
