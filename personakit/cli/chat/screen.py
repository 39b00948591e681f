"""An answer on a terminal, as Markdown while it arrives.

What is finished, which is every block but the last, is printed once and stands. Only the last
block is drawn anew as it grows, and never more of it than the terminal shows: nothing above is
touched, so that nothing flickers, scrolls twice or is lost, whatever the length of the answer.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from personakit.cli.shared import output

if TYPE_CHECKING:
    from rich.console import Console

# A terminal that knows them shows what comes between the two at once; others pass them over.
_BEGIN, _END = "\x1b[?2026h", "\x1b[?2026l"
_WAITING = "…"
_REST = 0.03

Line = tuple[str, int]
"""A line as the terminal gets it, and the cells that it takes."""


class Plain:
    """An answer as it comes; used as a context manager."""

    def __enter__(self) -> Plain:
        self._last = "\n"
        return self

    def tell(self, line: str) -> None:
        """Print a line that is no part of the answer."""
        click.secho(output.printable(line), dim=True, err=True)

    def feed(self, text: str) -> None:
        """Print what has arrived."""
        output.print_answer(text, end="")
        self._last = text[-1:] or self._last

    def __exit__(self, *_: object) -> None:
        if self._last != "\n":
            sys.stdout.write("\n")
            sys.stdout.flush()


class Screen:
    """An answer as Markdown; used as a context manager.

    A thread draws: Ctrl-C, which reaches the main thread alone, never leaves half a drawing, and a
    terminal that changes its size is drawn anew while the answer pauses.
    """

    def __init__(self) -> None:
        from rich.console import Console  # noqa: PLC0415

        self._console: Console = Console(highlight=False)
        self._arrived: deque[str] = deque()
        self._notes: deque[str] = deque()
        self._tail = ""
        self._drawn: list[int] = []
        self._size = (0, 0)
        self._began = False
        self._ended = threading.Event()
        self._news = threading.Event()
        self._thread = threading.Thread(target=self._drawing, daemon=True)

    def __enter__(self) -> Screen:
        self._thread.start()
        return self

    def feed(self, text: str) -> None:
        """Take what has arrived."""
        self._arrived.append(text)
        self._news.set()

    def tell(self, line: str) -> None:
        """Take a line that is no part of the answer; it is shown above what still grows."""
        self._notes.append(line)
        self._news.set()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._news.set()
        while self._thread.is_alive():
            try:
                self._thread.join()
            except KeyboardInterrupt:
                continue  # it is about to end

    def _drawing(self) -> None:
        try:
            self._draw()
            while not self._ended.is_set():
                if self._news.wait(0.25) or self._console.size != self._size:
                    self._news.clear()
                    began = time.perf_counter()
                    self._draw()
                    # A large block takes a while: then it is drawn less often.
                    self._ended.wait(max(_REST, 5 * (time.perf_counter() - began)))
            self._draw(last=True)
        except OSError:
            return  # the terminal has gone

    def _draw(self, *, last: bool = False) -> None:
        while self._arrived:
            self._tail += self._arrived.popleft()
        self._size = self._console.size
        blocks = _blocks(self._tail)
        self._tail = "" if last or not blocks else blocks.pop()
        stands: list[Line] = []
        while self._notes:
            stands.append((f"\x1b[2m{output.printable(self._notes.popleft())}\x1b[0m", 0))
        for block in blocks:
            lines = self._lines(block, apart=self._began)
            self._began = self._began or bool(lines)
            stands += lines
        drawn = self._lines(self._tail, apart=self._began)[-max(self._size[1] - 1, 1) :]
        if not drawn and not self._began and not last:
            drawn = [(_WAITING, 1)]
        self._write(stands, drawn)

    def _lines(self, text: str, *, apart: bool) -> list[Line]:
        """Return the lines that a Markdown text makes; `apart` puts an empty one before them."""
        from rich.segment import Segment, Segments  # noqa: PLC0415

        console, made = self._console, []
        for line in self._rendered(text):
            # What it cannot show it must not obey, whatever the Markdown made of it.
            safe = [Segment(output.printable(part.text), part.style) for part in line]
            while safe and not safe[-1].text.strip() and not _filled(safe[-1]):
                safe.pop()
            if safe and not _filled(safe[-1]):
                safe[-1] = Segment(safe[-1].text.rstrip(), safe[-1].style)
            with console.capture() as shown:
                console.print(Segments(safe), end="")
            made.append((shown.get(), sum(part.cell_length for part in safe), safe))
        while made and not _text(made[-1][2]):
            made.pop()
        while made and not _text(made[0][2]):
            made.pop(0)
        lines = [(ansi, cells) for ansi, cells, _ in made]
        return [("", 0), *lines] if lines and apart else lines

    def _rendered(self, text: str) -> list[list[Any]]:
        from rich.text import Text  # noqa: PLC0415

        lines: list[list[Any]] = []
        with suppress(Exception):
            lines = self._console.render_lines(markdown(text), pad=False)
        if text.strip() and not any(map(_text, lines)):
            # Whatever a model says is shown, be it as it is: what is nested too deep has no form.
            lines = self._console.render_lines(Text(output.printable(text)), pad=False)
        return lines

    def _write(self, stands: list[Line], drawn: list[Line]) -> None:
        """Put lines in the place of those that were drawn last."""
        width, height = self._console.size
        rows = min(sum(_height(cells, width) for cells in self._drawn), height)
        lines = [line for line, _ in (*stands, *drawn)] + ([] if drawn else [""])
        # Line by line: tmux keeps what it erases at once from the top of the screen.
        lines = [f"\x1b[K{line}" for line in lines]
        if rows > len(lines):
            lines[-1] = f"\x1b[J{lines[-1]}"
        back = f"\x1b[{rows - 1}A" if rows > 1 else ""
        sys.stdout.write(f"{_BEGIN}{back}\r" + "\n".join(lines) + _END)
        sys.stdout.flush()
        self._drawn = [cells for _, cells in drawn]


def markdown(text: str) -> Any:
    """Return a text as Markdown in which nothing of it is hidden: no HTML, no address of a link."""
    from rich.markdown import Markdown  # noqa: PLC0415

    made = Markdown(output.printable(text.replace("\r\n", "\n")), hyperlinks=False)
    waiting = list(made.parsed)
    while waiting:
        token = waiting.pop()
        waiting += token.children or ()
        token.type = _SHOWN.get(token.type, token.type)
    return made


# What rich would leave out, or join: a model's line ends are meant.
_SHOWN = {"html_inline": "text", "html_block": "code_block", "softbreak": "hardbreak"}


def _blocks(text: str) -> list[str]:
    """Return the blocks of a Markdown text; all but the last cannot change any more."""
    text = text.replace("\r\n", "\n")
    try:
        parsed = markdown(text).parsed
    except Exception:
        return [text]
    starts = [token.map[0] for token in parsed if token.level == 0 and token.map]
    lines = text.split("\n")
    ends = [*starts[1:], len(lines)]
    return ["\n".join(lines[start:end]) for start, end in zip([0, *starts[1:]], ends, strict=False)]


def _filled(part: Any) -> bool:
    """Tell whether white space can be seen: that around a heading cannot."""
    return part.style is not None and part.style.bgcolor is not None


def _text(line: list[Any]) -> str:
    return "".join(part.text for part in line).strip()


def _height(cells: int, width: int) -> int:
    """Return the rows that a line takes now: most terminals wrap it anew when they get narrower."""
    if os.environ.get("XTERM_VERSION") or os.environ.get("TERM") == "linux":
        return 1
    return max(1, -(-cells // max(width, 1)))
