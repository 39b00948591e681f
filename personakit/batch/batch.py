"""A persona over the rows of a table."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import itertools
from collections.abc import (
    AsyncGenerator,
    Callable,
    Collection,
    Generator,
    Iterable,
    Iterator,
    Mapping,
)
from contextlib import aclosing, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from personakit.batch.engine import Engine
from personakit.batch.errors import BatchStopped, InvalidRows, UnderWay
from personakit.batch.estimate import SAMPLED, Estimate, estimated, every, spread
from personakit.batch.pacing import Paced
from personakit.batch.progress import Meter, Progress, Used
from personakit.batch.records import (
    Files,
    Head,
    Journal,
    Results,
    State,
    check_unlocked,
    head_of,
    model_of,
    open_journal,
    read_heads,
    recovered,
    repeated_line,
)
from personakit.batch.results import Result
from personakit.batch.rows import Checked, Columns, Row, Table, open_rows
from personakit.batch.settings import Settings, checked_names, checked_variables
from personakit.batch.threads import in_thread
from personakit.errors import RunError, UsageError, spelled
from personakit.messages import Request
from personakit.persona import Reference
from personakit.rate import Controller
from personakit.runner import Runner
from personakit.tools import tools_of
from personakit.usage import Usage, price

if TYPE_CHECKING:
    from typing import Unpack

    from personakit.batch.settings import BatchOptions

_OPTIONS = "deadline model parameters timeout tools".split()


class Batch:
    """Runs a persona for each row of a table, and writes the answers to a file.

    The same batch again goes on where it ended, whatever ended it.

        for result in Batch("tagger", "rows.csv", out="out.jsonl", key="id").run():
            print(result.row.key, result.line)

    Args:
        persona: A name, the path of a file, or a persona.
        rows: The path of a ``.csv``, ``.jsonl`` or ``.parquet`` file, ``-`` for standard input, or
            mappings of columns to values. What can be read only once is written to ``OUT.rows``.
        out: The file of the answers, which ends in ``.jsonl``.
        key: The column of the rows' keys; None for a hash of the content.
        input: The column of the user's message; None for none.
        map: The column of a variable, where it has another name.
        keep: The columns that are copied to the output.
        variables: Values of variables that are the same in all rows.
        runner: The runner, whose backend sends the requests; None for one with the user's config.
        options: The other keyword arguments; see `BatchOptions`.

    Attributes:
        runner: The runner.
        persona: The persona.
        settings: The arguments.
        table: The rows.

    Raises:
        UsageError: The persona or an argument is invalid.
    """

    def __init__(  # noqa: PLR0913 - each is a setting of its own
        self,
        persona: Reference,
        rows: str | Path | Iterable[Mapping[str, Any]],
        *,
        out: str | Path,
        key: str | None = None,
        input: str | None = None,  # noqa: A002
        map: Mapping[str, str] | None = None,  # noqa: A002
        keep: Iterable[str] = (),
        variables: Mapping[str, Any] | None = None,
        runner: Runner | None = None,
        **options: Unpack[BatchOptions],
    ) -> None:
        self.runner = runner or Runner()
        self.persona = self.runner.load(persona)
        fixed = checked_variables(self.persona, variables or {})
        columns = Columns(key, input, dict(map or {}), checked_names(keep), fixed)
        self.settings = Settings.of(Path(out), columns, options)
        tools_of(self.settings.tools)
        source = open_rows(rows, Path(out), begun=Files.of(Path(out)).have_begun)
        self.table = Table(source, columns, self.persona, dedupe=self.settings.dedupe)
        self._engine: Engine | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._used = Used()
        self._checking: int | None = None
        self._stopping = False

    @property
    def in_flight(self) -> int:
        """The rows under way."""
        return 0 if self._engine is None else self._engine.running

    @property
    def checking(self) -> int | None:
        """The rows that were checked so far; None unless the table is being checked."""
        return self._checking

    @property
    def files(self) -> tuple[Path, Path]:
        """The file of the answers and that of the failures."""
        return Files.of(self.settings.out)[:2]

    @property
    def model(self) -> str:
        """``provider/model``, which answers unless a plugin chooses another one."""
        return model_of(self.runner, self.persona, self.settings.model)

    def progress(self) -> Progress | None:
        """Return how far the batch is, from any thread; None before it has begun to send."""
        return None if self._engine is None else self._engine.meter.progress()

    def check(self) -> Checked:
        """Read all rows and check that they fit the persona; nothing is sent.

        Raises:
            InvalidRows: Some do not, and `skip_invalid` is not set.
        """
        try:
            checked = self.table.check(self._checks)
        finally:
            self._checking = None
        if checked.invalid and not self.settings.skip_invalid:
            raise InvalidRows.of(checked)
        return checked

    def estimate(self) -> Estimate:
        """Return what the rows without a result would take; nothing is sent.

        Raises:
            UsageError: Rows are invalid, or the output belongs to another batch.
        """
        self._check_model()
        settings, head = self.settings, self._head()
        heads = read_heads(settings.out, head, force_mixed=settings.force_mixed)
        files = Files.of(settings.out)
        known = files.checked(head)
        checked = self.table.checked = self.check() if known is None else Checked(**known)
        state = recovered(files[:3], files.known, head.table, self._places(heads, head))
        ended = state.done.count + (0 if settings.retry_failed else state.failed.count)
        rows = sum(1 for _ in self._rows(state, None, settings.limit))
        chosen = every(self._rows(state, None), spread(SAMPLED, rows))
        return estimated(
            map(self._rendered, chosen),
            rows=rows,
            repeats=checked.repeats,
            done=ended,
            invalid=checked.invalid,
            model=self.model,
            out=settings.out,
            rpm=settings.rpm,
            tpm=settings.tpm,
        )

    def _checks(self, count: int) -> None:
        """Note how many rows were checked; stop if that was asked for."""
        self._checking = count
        if self._stopping:
            raise BatchStopped("the batch was stopped before it sent anything")

    def _rendered(self, row: Row) -> Request:
        parameters = self.settings.parameters
        return self.runner.render(
            self.persona, row.input, variables=row.variables, parameters=parameters
        )

    def places(self, count: int) -> frozenset[int]:
        """Return the places of rows that have no result yet, spread over the table.

        Args:
            count: How many at most.

        Raises:
            UsageError: Rows are invalid, or the output belongs to another batch.
        """
        with self._opened() as (journal, _):
            left = sum(1 for _ in self._rows(journal.state, None))
            chosen = every(self._rows(journal.state, None), spread(count, left))
            return frozenset(row.index for row in chosen)

    def settle(self) -> None:
        """Check that it is decided what becomes of rows that were under way.

        Raises:
            UnderWay: The last process was killed with rows under way, and `in_flight` is ``ask``.
            UsageError: Another process writes the output.
        """
        files, head = Files.of(self.settings.out), self._head()
        if files.journal.exists():
            check_unlocked(files)
            self._check_settled(recovered(files[:3], files.known, head.table, lambda _, i: i))

    def replace(self, **settings: Any) -> Batch:
        """Return a batch with some of the settings changed."""
        result = copy.copy(self)
        result.settings = dataclasses.replace(self.settings, **settings)
        return result

    @property
    def unwritten(self) -> list[dict[str, Any]]:
        """The results that could not be written, since the disk is full."""
        return [] if self._engine is None else self._engine.unwritten

    def stop(self) -> None:
        """Begin no further row, and let those under way end; call it from any thread."""
        self._stopping, loop = True, self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._stop)

    def _stop(self) -> None:
        if self._engine is not None:
            self._engine.stop(BatchStopped("the batch was stopped before its last row"))

    def run(self, only: Collection[int] | None = None) -> Iterator[Result]:
        """Run the rows that have no result yet, and yield the result of each once it is written.

        Requests go on while the loop's body works. If the loop is left early, the rows under way
        end first, and the same batch goes on later. It also works in a notebook.

        Args:
            only: The places of the rows to run; None for all.

        Raises:
            BatchStopped: It stopped before the last row; the cause says why.
            UsageError: Rows are invalid, or the output belongs to another batch.
        """
        return in_thread(lambda: self.arun(only), self.stop)

    async def arun(self, only: Collection[int] | None = None) -> AsyncGenerator[Result]:
        """Run the rows as `run` does, in the running event loop.

        Left early, it lets the rows under way end, too, when it is closed; cancelled, it ends them
        at once.

        Args:
            only: See `run`.

        Raises:
            BatchStopped: See `run`.
            UsageError: See `run`.
        """
        self._check_model()
        self._loop, self._stopping = asyncio.get_running_loop(), False
        with self._opened() as (journal, checked):
            engine = self._engine = self._prepared(journal, checked, only)
            rows = self._rows(journal.state, only, self.settings.limit)
            if self._stopping:
                self._stop()
            try:
                async with aclosing(engine.results(rows)) as results:
                    async for result in results:
                        yield result
                if checked.repeats and only is None:
                    for result in self._repeats(journal, checked):
                        engine.meter.ended(result)
                        yield result
            finally:
                rows.close()
                await engine.runner.aclose()
                await engine.paced.aclose()

    def _check_model(self) -> None:
        """Check what would stop the batch at its first row, before anything is written."""
        self.runner.router.find_model(self.model)
        self.runner.catalog.load_ahead([self.persona])
        if self.settings.max_usd is None or price(self.model, Usage(1, 1, 2)) is not None:
            return
        names = spelled(python="max_usd limit", terminal="--max-usd --limit").split()
        raise UsageError(
            f"{names[0]} needs the price of the model, and none is known for {self.model!r}; leave "
            f"it out, and bound the rows with {names[1]}"
        )

    def _rows(
        self, state: State, only: Collection[int] | None, limit: int | None = None
    ) -> Generator[Row]:
        again = self.settings.retry_failed

        def skipped(place: int) -> bool:
            if only is not None and place not in only:
                return True
            return place in state.done or (place in state.failed and not again)

        yield from itertools.islice(self.table.rows(skipped), limit)

    def _repeats(self, journal: Journal, checked: Checked) -> Iterator[Result]:
        """Write the results of the rows that repeat others, and yield them."""
        files, state, count = journal.files, journal.state, checked.rows + checked.invalid
        answers, failures = Results(files.answers, count), Results(files.failures, count)
        with closing(answers), closing(failures):
            for row, first in self.table.repeats():
                if row.index in state.done or (row.index in state.failed and first in state.failed):
                    continue
                if (line := answers.of(first)) is not None:
                    line = repeated_line(row, line)
                    journal.answered(row, line)
                    yield Result(row, line)
                elif (line := failures.of(first)) is not None:
                    line = repeated_line(row, line)
                    journal.gave_up(row, line)
                    yield Result(row, line, error=RunError(line["error"]))

    @contextmanager
    def _opened(self) -> Iterator[tuple[Journal, Checked]]:
        """Open the journal, with the check of the table that it belongs to."""
        settings, head = self.settings, self._head()
        files = Files.of(settings.out)
        # Before the first file is written: a mistyped column leaves nothing behind.
        checked = None if files.have_begun else self.check()
        journal, heads = open_journal(
            settings.out, head, durable=settings.durable, force_mixed=settings.force_mixed
        )
        try:
            known = files.checked(head)
            if known is not None:
                checked = Checked(**known)
            checked = self.table.checked = checked or self.check()
            journal.recover(self._places(heads, head))
            self._check_settled(journal.state)
            if self.settings.in_flight == "fail":
                journal.fail_in_flight()
            journal.begin(heads)
            if known is None:
                journal.checked({**dataclasses.asdict(checked), "faults": ()})
            yield journal, checked
        finally:
            journal.close()

    def _places(self, heads: list[Head], head: Head) -> Callable[[str, int], int | None]:
        """Return what finds the place of a row by its key and by the place that it had."""
        if all(earlier.table == head.table for earlier in heads):
            return lambda _, place: place
        return lambda key, _: self.table.place(key)

    def _head(self) -> Head:
        return head_of(self.runner, self.persona, self.model, self.settings, self.table.source)

    def _check_settled(self, state: State) -> None:
        """Raise UnderWay if rows were under way, and nobody decided what becomes of them."""
        count = len(state.in_flight)
        if not count or self.settings.in_flight != "ask":
            return
        raise UnderWay.of(self.settings.out, count, state.mean_cost)

    def _prepared(self, journal: Journal, checked: Checked, only: Collection[int] | None) -> Engine:
        settings, state = self.settings, journal.state
        target = checked.rows - state.done.count - state.failed.count
        target += state.failed.count if settings.retry_failed else 0
        for most in (settings.limit, None if only is None else len(only)):
            target = target if most is None else min(target, most)
        controller = Controller(
            concurrency=settings.concurrency, requests=settings.rpm, tokens=settings.tpm
        )
        controllers = {self.model.partition("/")[0]: controller}

        def controller_of(model: str) -> Controller:
            # A plugin may fall back to another provider, whose limits are its own.
            provider = model.partition("/")[0]
            return controllers.get(provider) or controllers.setdefault(provider, Controller())

        paced = Paced(controller_of, journal.sent, settings.attempts, returned=journal.returned)
        meter = Meter(checked, state, self._used, target, controller)
        return Engine(
            paced.runner(self.runner),
            paced,
            self.persona,
            # Each option that is given is checked for each row.
            {name: value for name in _OPTIONS if (value := getattr(settings, name))},
            journal,
            controller,
            meter,
            settings.max_usd,
            settings.grace,
            settings.max_failures,
        )
