"""Print JSON, answers, errors and tables.

A terminal shows control characters as marks; a pipe or a file gets every character unchanged.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from personakit.base import printable
from personakit.cli.shared.terminal import erase_passing, show_passing, unguarded, writing
from personakit.providers import AUTO

if TYPE_CHECKING:
    from rich.console import Console

    from personakit.messages import Request, Response


MAX_TABLE = 1000
_unended = [False]


def echo(text: str = "", *, end: str = "\n", err: bool = False, **style: Any) -> None:
    """Print a text.

    click.echo() would remove escape sequences from a text for a pipe, and its colours would be
    shown as marks on a terminal.

    Args:
        text: One or several lines.
        end: What follows the text.
        err: Print to standard error.
        style: The options of click.style(), for a terminal.
    """
    with writing:
        erase_passing()
        _write(text, end, sys.stderr if err else sys.stdout, style)
        if not err and (text or end):
            _unended[0] = not (text + end).endswith("\n")


def _write(text: str, end: str, stream: Any, style: dict[str, Any]) -> None:
    if style and stream.isatty():
        text, stream = click.style(printable(text), **style), unguarded(stream)
    stream.write(text + end)
    stream.flush()


def waiting(text: str, *, between: bool = False) -> None:
    """Show what the command waits for, until it prints something; on a terminal alone.

    Nothing is shown after text that does not end with a newline: the answer goes on there.

    Args:
        text: A few words; what does not fit on the line is cut.
        between: Start a new line after such text, since what comes next is on a line of its own.
    """
    if not (sys.stdout.isatty() and sys.stderr.isatty()) or os.environ.get("TERM") == "dumb":
        return
    with writing:
        if between:
            end_line()
        if not _unended[0]:
            width = os.get_terminal_size(sys.stderr.fileno()).columns or 80
            show_passing(cut_to(text, width - 1))


def cut_to(text: str, width: int) -> str:
    """Return a text on one line of a terminal, with control characters as marks, cut to a width.

    Args:
        text: The text.
        width: The width in cells. Letters after U+10FF count as two, as most of them are.
    """
    line = printable(one_line(text))
    ends = list(itertools.accumulate(1 if letter < "\u1100" else 2 for letter in line))
    if not ends or ends[-1] <= width:
        return line
    return line[: sum(end < width for end in ends)] + "…"


def is_unended() -> bool:
    """Return whether standard output was last written to without ending a line."""
    return _unended[0]


def end_line() -> None:
    """Start a new line on a terminal if standard output was last written to without ending one."""
    if _unended[0] and sys.stdout.isatty() and sys.stderr.isatty():
        echo(err=True)
        _unended[0] = False


def aside(*values: Any, **options: Any) -> None:
    """Print to standard error as `print` does, unless the caller chooses another file."""
    end_line()
    print(*values, **{"file": sys.stderr, **options})  # noqa: T201


def line(text: str, *, err: bool = False, **style: Any) -> None:
    """Print a text on one line: on a terminal, spaces replace its newlines and tabs."""
    is_terminal = (sys.stderr if err else sys.stdout).isatty()
    echo(one_line(text) if is_terminal else text, err=err, **style)


def one_line(text: str) -> str:
    """Return a text with spaces for its newlines and tabs."""
    return text.rstrip("\n").replace("\n", " ").replace("\t", " ")


def print_json(value: Any, *, compact: bool = False) -> None:
    """Print a value as JSON on standard output, on one line if `compact` is true."""
    echo(json.dumps(value, ensure_ascii=False, indent=None if compact else 2))


def say_error(message: str) -> None:
    """Print an error message on standard error."""
    echo(f"Error: {message}", err=True)


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


def table(
    title: tuple[str, ...], rows: Iterable[tuple[str, ...]], *, whole: int = 1, err: bool = False
) -> None:
    """Print rows as a table on a terminal, or as tab-separated lines into a pipe.

    Args:
        title: The titles of the columns, for a terminal.
        rows: The rows.
        whole: The number of the first columns that are never wrapped.
        err: Print to standard error.
    """
    if not (sys.stderr if err else sys.stdout).isatty():
        rows = iter(rows)
        while piece := list(itertools.islice(rows, 1000)):
            echo(_lines(piece), err=err)
        return
    rows = list(rows)
    if len(rows) > MAX_TABLE:
        # rich measures each cell several times: 100,000 rows would take half a minute.
        width = max(len(row[0]) for row in rows)
        echo(_lines([(f"{first:<{width}}  {'  '.join(more)}",) for first, *more in rows]), err=err)
        return
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    grid = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for number, name in enumerate(title):
        grid.add_column(name, overflow="fold", no_wrap=number < whole)
    for row in rows:
        cells = [Text(printable(one_line(cell))) for cell in row]
        cells[0].stylize("cyan")
        grid.add_row(*cells)
    console(err=err).print(grid)


def console(*, err: bool = False, **options: Any) -> Console:
    """Return a console of rich on standard output or standard error.

    It writes escape sequences, so call `printable` for each text before.
    """
    from rich.console import Console  # noqa: PLC0415

    erase_passing()
    return Console(file=unguarded(sys.stderr if err else sys.stdout), **options)


def _lines(rows: Sequence[tuple[str, ...]]) -> str:
    """Return rows as tab-separated lines; a newline or tab in a cell becomes a space."""
    text = "\n".join(map("\t".join, rows))
    # Checking a thousand rows at once takes a tenth of the time of checking each cell.
    if (text.count("\n"), text.count("\t")) == (len(rows) - 1, sum(map(len, rows)) - len(rows)):
        return text
    return "\n".join("\t".join(map(one_line, row)) for row in rows)


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
            from rich.progress import Progress  # noqa: PLC0415

            # Redirected, what is printed meanwhile would reach the terminal as it is.
            bar = Progress(
                console=console(err=True),
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
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
    tools = [tool.to_api() for tool in request.tools]
    return {
        "persona": request.persona,
        "model": request.model or None,
        "messages": [message.to_api() for message in request.messages],
        "parameters": plain(request.parameters),
        **({} if request.api == AUTO else {"api": request.api}),
        **({"tools": tools} if tools else {}),
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
        line(f"--- {message.role}{note}", dim=True)
        if message.text or not message.parts:
            echo(message.text.rstrip("\n"))
        for part in message.parts:
            line(f"[{describe(part)}]", dim=True)
    if request.tools:
        line("--- tools", dim=True)
    for tool in request.tools:
        about = tool.description.strip().partition("\n")[0]
        names = ", ".join(tool.parameters.get("properties", {}))
        line(f"{tool.name}({names}){about and f': {about}'}")
    shown = settings(request.parameters)
    api = "" if request.api == AUTO else f", api: {request.api}"
    line(
        f"--- {request.model or 'no model chosen'}{shown and f' ({shown})'}{api}{notes[-1]}",
        dim=True,
    )
