"""Run a batch in an event loop that signals end: the first when its rows have ended."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Collection, Iterator
from contextlib import aclosing, contextmanager
from typing import TYPE_CHECKING, Any

from personakit.base import counted

if TYPE_CHECKING:
    from personakit.batch import Batch, Result
    from personakit.cli.batch.progress import Shown

_BASE = 128


class Interrupted(Exception):
    """A signal ended a batch.

    Attributes:
        code: The exit code.
        rows: The rows that were under way and got no result.
    """

    def __init__(self, code: int, rows: int) -> None:
        super().__init__(code)
        self.code, self.rows = code, rows


class _Signals:
    """What the signals of a process do to a batch."""

    def __init__(self, batch: Batch, shown: Shown) -> None:
        self.batch, self._shown = batch, shown
        self.code = self.rows = 0
        self.end: Callable[[], object] | None = None

    def got(self, number: int, frame: object) -> None:
        """Stop the batch at the first signal, end it at once at the second."""
        first, self.code = not self.code, _BASE + number
        if self.end is None or self.batch.checking is not None or self.batch.progress() is None:
            raise Interrupted(self.code, 0)  # nothing was sent
        if not first:
            self.rows = self.batch.in_flight
            self.end()
            return
        self.batch.stop()
        rows = counted(self.batch.in_flight, "row")
        seconds = self.batch.settings.grace
        self._shown.note(
            f"waiting up to {seconds:g} s for {rows} under way; Ctrl-C again ends at once"
        )

    @contextmanager
    def handled(self) -> Iterator[None]:
        """Handle signals."""
        names = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self.got) for number in names}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def run(
    batch: Batch,
    shown: Shown,
    each: Callable[[Result], object] = lambda _: None,
    only: Collection[int] | None = None,
) -> None:
    """Run a batch to its end.

    Args:
        batch: The batch.
        shown: Shows it.
        each: Called with each result.
        only: The places of the rows to run; None for all.

    Raises:
        BatchStopped: It stopped by itself.
        Interrupted: A signal ended it.
    """
    from personakit.batch import BatchStopped  # noqa: PLC0415

    signals = _Signals(batch, shown)

    async def main() -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        cancel: Any = None if task is None else task.cancel
        signals.end = lambda: loop.call_soon_threadsafe(cancel)
        async with aclosing(batch.arun(only)) as results:
            async for result in results:
                each(result)

    with signals.handled():
        try:
            asyncio.run(main())
        except (BatchStopped, asyncio.CancelledError):
            if not signals.code:
                raise
            raise Interrupted(signals.code, signals.rows) from None
