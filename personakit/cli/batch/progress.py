"""How far a batch is, as lines on a terminal, a line now and then in a pipe, or JSON."""

from __future__ import annotations

import dataclasses
import os
import sys
import threading
from typing import TYPE_CHECKING, Any

from personakit.base import counted, dollars
from personakit.cli.shared import output

if TYPE_CHECKING:
    from types import TracebackType

    from rich.live import Live
    from rich.text import Text

    from personakit.batch import Batch, Progress

_EVERY = 10.0
_REFRESHES = 4
_LIMITS = {"requests": "rpm", "tokens": "tpm"}


class Shown:
    """Shows a batch while a ``with`` block runs it.

    Args:
        batch: The batch.
        as_json: Whether to print JSON lines on standard output.
        every: Seconds between two lines, unless a terminal shows lines that change.
    """

    def __init__(self, batch: Batch, *, as_json: bool, every: float = _EVERY) -> None:
        self._batch, self._as_json, self._every = batch, as_json, every
        self._live: Live | None = None
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Shown:
        if self._as_json or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
            self._thread = threading.Thread(target=self._print_all, daemon=True)
            self._thread.start()
            return self
        from rich.live import Live  # noqa: PLC0415

        self._live = Live(
            get_renderable=self._renderable,
            console=output.console(err=True),
            refresh_per_second=_REFRESHES,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        if self._live is not None:
            self._live.stop()
        if self._thread is not None:
            self._thread.join()

    def note(self, text: str) -> None:
        """Print a line on standard error, above the lines that change."""
        if self._live is None:
            output.line(text, err=True)
        else:
            self._live.console.print(text, markup=False, highlight=False)

    def _renderable(self) -> Text:
        from rich.text import Text  # noqa: PLC0415

        text = "\n".join(", ".join(parts) for parts in lines(self._batch))
        return Text(text, no_wrap=True, overflow="ellipsis")

    def _print_all(self) -> None:
        while not self._ended.wait(self._every):
            if self._as_json:
                output.print_json(event("progress", self._batch), compact=True)
            else:
                output.line(", ".join(map(", ".join, lines(self._batch))), err=True)


def lines(batch: Batch) -> list[list[str]]:
    """Return the parts of two lines: how far a batch is, and what it uses."""
    progress = batch.progress()
    if (checking := batch.checking) is not None:
        return [[f"checking the table: {counted(checking, 'row')} so far"]]
    return [["reading the table"]] if progress is None else [_done(progress), _used(progress)]


def _done(progress: Progress) -> list[str]:
    ended = progress.done + progress.failed
    percent = 100 * ended // progress.rows if progress.rows else 100
    parts = [f"{ended:,} of {counted(progress.rows, 'row')} ({percent} %)"]
    if progress.failed:
        parts.append(f"{progress.failed:,} failed")
    if progress.rate is not None:
        parts.append(f"{progress.rate:,.1f} rows/s")
    if progress.left:
        parts.append(f"{duration(progress.left)} left")
    if progress.learnt.waits:
        parts.append(f"the provider asks to wait {progress.learnt.waits:.0f} s")
    return parts


def _used(progress: Progress) -> list[str]:
    parts = [f"{progress.tokens:,} tokens"]
    if progress.cost is None:
        parts.append("cost unknown")
    elif progress.expected:
        parts.append(f"{dollars(progress.cost)} of about {dollars(progress.expected)}")
    learnt = progress.learnt
    parts.append(f"{learnt.in_flight} of {learnt.concurrency} at once")
    for name, short in _LIMITS.items():
        limit = getattr(learnt, name)
        parts += [] if limit is None else [f"{limit:,.0f} {short}"]
    return parts


def event(name: str, batch: Batch, **more: Any) -> dict[str, Any]:
    """Return an event of ``--json``.

    Args:
        name: Its name.
        batch: The batch.
        more: What it has besides the counts.
    """
    progress = batch.progress()
    if batch.checking is not None or progress is None:
        name = "checking" if name == "progress" else name
        return {"event": name, "checked": batch.checking or 0, **more}
    values = dataclasses.asdict(progress)
    learnt = values.pop("learnt")
    for long, short in _LIMITS.items():
        learnt[short] = learnt.pop(long)
    return {"event": name, **values, **learnt, **more}


def duration(seconds: float) -> str:
    """Return a time as ``2 h 05 min``, ``3 min 20 s`` or ``4 s``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
