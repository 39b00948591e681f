"""Output: JSON, answers, errors and tables, harmless on a terminal."""

from __future__ import annotations

import itertools
import json
import re
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from personakit.messages import Request


MAX_TABLE = 1000


_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def print_json(value: Any, *, compact: bool = False) -> None:
    """Print a value as JSON on standard output; a compact one is one line."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=None if compact else 2))


def print_answer(text: str, end: str = "\n") -> None:
    """Print what a model said: as it is into a pipe, made harmless on a terminal."""
    sys.stdout.write((printable(text) if sys.stdout.isatty() else text) + end)
    sys.stdout.flush()


def say_error(message: str) -> None:
    """Print on standard error what went wrong."""
    click.echo(f"Error: {printable(message)}", err=True)


def printable(text: str) -> str:
    """Return a text without the control characters that would steer a terminal."""
    return _CONTROLS.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def table(title: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    """Print rows: as a table on a terminal, with tabs between the columns into a pipe."""
    if not sys.stdout.isatty():
        rows = iter(rows)
        while piece := list(itertools.islice(rows, 1000)):
            click.echo(_lines(piece))
        return
    rows = list(rows)
    if len(rows) > MAX_TABLE:
        # rich looks at each cell several times: 100,000 rows would take half a minute.
        width = max(len(row[0]) for row in rows)
        click.echo(_lines([(f"{first:<{width}}  {'  '.join(more)}",) for first, *more in rows]))
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    made = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in title:
        made.add_column(name, overflow="fold", no_wrap=name == title[0])
    for row in rows:
        cells = [Text(printable(cell)) for cell in row]
        cells[0].stylize("cyan")
        made.add_row(*cells)
    Console().print(made)


def _lines(rows: Sequence[tuple[str, ...]]) -> str:
    """Return rows as lines with tabs between the cells, made harmless."""
    text = "\n".join(map("\t".join, rows))
    ends = text.count("\n") == len(rows) - 1
    # Looking at a thousand rows at once takes a tenth of the time of looking at each cell.
    if ends and text.replace("\n", "").replace("\t", "").isprintable():
        return text
    clean = (tuple(printable(cell).replace("\n", " ") for cell in row) for row in rows)
    return "\n".join(map("\t".join, clean))


def progress(doing: str) -> Callable[[int, int], None]:
    """Return what is told how much of a work is done; it shows that once a second has gone by.

    Only on a terminal, on standard error; the line is gone when all is done.
    """
    if not sys.stderr.isatty():
        return lambda done, total: None
    begun: list[float] = []
    bars: list[tuple[Any, Any]] = []

    def told(done: int, total: int) -> None:
        if not begun:
            begun.append(time.monotonic())
        if bars and done % 100 == 0:
            bars[0][0].update(bars[0][1], completed=done, total=total)
        elif not bars and done < total and time.monotonic() - begun[0] > 1:
            from rich.console import Console  # noqa: PLC0415
            from rich.progress import Progress  # noqa: PLC0415

            bar = Progress(console=Console(stderr=True), transient=True)
            bars.append((bar, bar.add_task(doing, total=total, completed=done)))
            bar.start()
        if bars and done == total:
            bars.pop()[0].stop()
            begun.clear()

    return told


def plain(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return a frozen mapping as one that can be printed."""
    from personakit.frozen import thaw  # noqa: PLC0415

    return dict(thaw(value))


def settings(parameters: Mapping[str, Any]) -> str:
    """Return parameters as ``-p`` takes them: ``name=value, name=value``."""
    shown = plain(parameters).items()
    return ", ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in shown)


def request_json(request: Request) -> dict[str, Any]:
    """Return a request in the form of ``render --json``."""
    return {
        "persona": request.persona,
        "model": request.model or None,
        "messages": [message.to_api() for message in request.messages],
        "parameters": plain(request.parameters),
    }


def show_request(request: Request, notes: Sequence[str] = ()) -> None:
    """Print a request for people: each message below its role.

    Args:
        request: The request.
        notes: What to put after each role, and after the model at the end.
    """
    from personakit.attachments import describe  # noqa: PLC0415

    notes = notes or [""] * (len(request.messages) + 1)
    for message, note in zip(request.messages, notes, strict=False):
        click.secho(f"--- {message.role}{note}", dim=True)
        if message.text or not message.parts:
            print_answer(message.text.rstrip("\n"))
        for part in message.parts:
            click.secho(f"[{describe(part)}]", dim=True)
    shown = settings(request.parameters)
    click.secho(
        f"--- {request.model or 'no model chosen'}{shown and f' ({shown})'}{notes[-1]}",
        dim=True,
    )
