"""Print JSON, answers, errors and tables, without control characters on a terminal."""

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
    from personakit.messages import Request, Response


MAX_TABLE = 1000


_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def print_json(value: Any, *, compact: bool = False) -> None:
    """Print a value as JSON on standard output, on one line if `compact` is true."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=None if compact else 2))


def print_answer(text: str, end: str = "\n") -> None:
    """Print an answer: unchanged into a pipe, with control characters escaped on a terminal."""
    sys.stdout.write((printable(text) if sys.stdout.isatty() else text) + end)
    sys.stdout.flush()


def say_error(message: str) -> None:
    """Print an error message on standard error."""
    click.echo(f"Error: {printable(message)}", err=True)


def notices(response: Response) -> list[str]:
    """Return what the user should know about an answer that is not whole."""
    known = {
        "length": "the answer is cut off at the token limit",
        "content_filter": "the provider held back the rest of the answer (content_filter)",
    }
    lines = [known[reason]] if (reason := response.finish_reason or "") in known else []
    if response.tool_calls:
        names = ", ".join(call.name for call in response.tool_calls)
        lines.append(f"the model calls tools that the run does not have: {names[:200]}")
    elif not response.text.strip():
        lines.append("the answer is empty")
    return lines


def printable(text: str) -> str:
    """Escape the control characters that would control a terminal."""
    return _CONTROLS.sub(lambda match: f"\\x{ord(match[0]):02x}", text)


def table(title: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    """Print rows as a table on a terminal, or as tab-separated lines into a pipe."""
    if not sys.stdout.isatty():
        rows = iter(rows)
        while piece := list(itertools.islice(rows, 1000)):
            click.echo(_lines(piece))
        return
    rows = list(rows)
    if len(rows) > MAX_TABLE:
        # rich measures each cell several times: 100,000 rows would take half a minute.
        width = max(len(row[0]) for row in rows)
        click.echo(_lines([(f"{first:<{width}}  {'  '.join(more)}",) for first, *more in rows]))
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    grid = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in title:
        grid.add_column(name, overflow="fold", no_wrap=name == title[0])
    for row in rows:
        cells = [Text(printable(cell)) for cell in row]
        cells[0].stylize("cyan")
        grid.add_row(*cells)
    Console().print(grid)


def _lines(rows: Sequence[tuple[str, ...]]) -> str:
    """Return rows as tab-separated lines with control characters escaped."""
    text = "\n".join(map("\t".join, rows))
    ends = text.count("\n") == len(rows) - 1
    # Checking a thousand rows at once takes a tenth of the time of checking each cell.
    if ends and text.replace("\n", "").replace("\t", "").isprintable():
        return text
    clean = (tuple(printable(cell).replace("\n", " ") for cell in row) for row in rows)
    return "\n".join(map("\t".join, clean))


def progress(doing: str) -> Callable[[int, int], None]:
    """Return a callback that shows a progress bar once the work has taken a second.

    The bar is shown only on a terminal, on standard error, and is erased at the end. The callback
    accepts the number of steps done and the total.
    """
    if not sys.stderr.isatty():
        return lambda done, total: None
    begun: list[float] = []
    bars: list[tuple[Any, Any]] = []

    def show(done: int, total: int) -> None:
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

    return show


def plain(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return a frozen mapping as a dict that can be printed."""
    from personakit.frozen import thaw  # noqa: PLC0415

    return dict(thaw(value))


def settings(parameters: Mapping[str, Any]) -> str:
    """Return parameters in the form of ``-p``: ``name=value, name=value``."""
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
        notes: Texts to print after each role, and after the model at the end.
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
