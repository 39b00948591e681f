"""An answer on a terminal, as Markdown while it arrives.

Every block except the last one is complete; it is printed once. Only the last block is redrawn as
it grows, and only as much of it as fits on the terminal. The lines above it stay untouched, so that
nothing flickers, scrolls twice or is lost, whatever the length of the answer.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from personakit.base import printable
from personakit.cli.shared import output
from personakit.cli.shared.terminal import erase_passing, unguarded

if TYPE_CHECKING:
    from rich.console import Console

# Synchronized output: a terminal that supports it shows the text between the two at once; others
# ignore the sequences.
_BEGIN, _END = "\x1b[?2026h", "\x1b[?2026l"
_WAITING = "…"
_REST = 0.03

Line = tuple[str, int]
"""A line with escape sequences, and its width in cells."""


class Plain:
    """Prints an answer unchanged as it arrives; used as a context manager."""

    def __enter__(self) -> Plain:
        self._last = "\n"
        return self

    def tell(self, line: str) -> None:
        """Print a line that is not part of the answer."""
        output.end_line()
        output.line(line, dim=True, err=True)

    def wait(self, text: str, *, between: bool = False) -> None:
        """Show what the answer waits for; see `output.waiting`."""
        output.waiting(text, between=between)

    @contextmanager
    def apart(self) -> Iterator[None]:
        """Let something else use the terminal."""
        yield

    def feed(self, text: str) -> None:
        """Print the next piece of the answer."""
        output.echo(text, end="")
        self._last = text[-1:] or self._last

    def __exit__(self, *_: object) -> None:
        erase_passing()
        if self._last != "\n":
            output.echo()


class Screen:
    """Renders an answer as Markdown as it arrives; used as a context manager.

    A thread draws. Ctrl-C reaches only the main thread, so it never interrupts a drawing, and the
    thread redraws after a change of the terminal's size even while the answer pauses.
    """

    def __init__(self) -> None:
        self._console: Console = output.console(highlight=False)
        self._file = unguarded(sys.stdout)
        self._arrived: deque[tuple[str, bool]] = deque()  # a text, and whether it is a note
        self._tail = ""
        self._drawn: list[int] = []
        self._size = (0, 0)
        self._began = False
        self._waiting = ""
        self._drawing_now = threading.Lock()
        self._ended = threading.Event()
        self._news = threading.Event()
        self._thread = threading.Thread(target=self._drawing, daemon=True)

    def __enter__(self) -> Screen:
        self._thread.start()
        return self

    def feed(self, text: str) -> None:
        """Add the next piece of the answer."""
        if text:
            self._waiting = ""
        self._arrived.append((text, False))
        self._news.set()

    def wait(self, text: str, *, between: bool = False) -> None:
        """Show below the text so far what the answer waits for, until the next piece arrives."""
        self._waiting = text
        self._news.set()

    def tell(self, line: str) -> None:
        """Add a line that is not part of the answer, below the text so far, which ends a block."""
        self._arrived.append((line, True))
        self._news.set()

    @contextmanager
    def apart(self) -> Iterator[None]:
        """Let something else use the terminal, below the text so far, which ends a block."""
        with self._drawing_now:
            with suppress(OSError):  # the terminal was closed
                self._draw(last=True)
            yield

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._news.set()
        while self._thread.is_alive():
            try:
                self._thread.join()
            except KeyboardInterrupt:
                continue  # the thread is about to end

    def _drawing(self) -> None:
        try:
            self._draw_alone()
            while not self._ended.is_set():
                if self._news.wait(0.25) or self._console.size != self._size:
                    self._news.clear()
                    began = time.perf_counter()
                    self._draw_alone()
                    # A large block takes longer to draw and is drawn less often.
                    self._ended.wait(max(_REST, 5 * (time.perf_counter() - began)))
            self._draw_alone(last=True)
        except OSError:
            return  # the terminal was closed

    def _draw_alone(self, *, last: bool = False) -> None:
        with self._drawing_now:
            self._draw(last=last)

    def _draw(self, *, last: bool = False) -> None:
        self._size = self._console.size
        stands: list[Line] = []
        while self._arrived:
            text, is_note = self._arrived.popleft()
            if is_note:
                stands += self._whole_blocks(last=True)
                stands.append((f"\x1b[2m{printable(output.one_line(text))}\x1b[0m", 0))
            else:
                self._tail += text
        stands += self._whole_blocks(last=last)
        waits = [] if last or not self._waiting else [self._waits()]
        most = max(self._size[1] - 1 - len(waits), 1)
        drawn = self._lines(self._tail, apart=self._began)[-most:] + waits
        if not drawn and not self._began and not last:
            drawn = [(_WAITING, 1)]
        self._write(stands, drawn)

    def _waits(self) -> Line:
        from rich.cells import cell_len  # noqa: PLC0415

        line = output.cut_to(self._waiting, self._size[0] - 1)
        return f"\x1b[2m{line}\x1b[0m", cell_len(line)

    def _whole_blocks(self, *, last: bool) -> list[Line]:
        """Return the lines of the blocks that cannot change any more, and keep the other one."""
        blocks = _blocks(self._tail)
        self._tail = "" if last or not blocks else blocks.pop()
        result: list[Line] = []
        for block in blocks:
            lines = self._lines(block, apart=self._began)
            self._began = self._began or bool(lines)
            result += lines
        return result

    def _lines(self, text: str, *, apart: bool) -> list[Line]:
        """Return the rendered lines of a Markdown text, after an empty line if `apart` is true."""
        from rich.segment import Segment, Segments  # noqa: PLC0415

        console, rendered = self._console, []
        for line in self._rendered(text):
            # Rendering may create control characters, such as from entities; escape them too.
            safe = [Segment(printable(part.text), part.style) for part in line]
            while safe and not safe[-1].text.strip() and not _filled(safe[-1]):
                safe.pop()
            if safe and not _filled(safe[-1]):
                safe[-1] = Segment(safe[-1].text.rstrip(), safe[-1].style)
            with console.capture() as shown:
                console.print(Segments(safe), end="")
            rendered.append((shown.get(), sum(part.cell_length for part in safe), safe))
        while rendered and not _text(rendered[-1][2]):
            rendered.pop()
        while rendered and not _text(rendered[0][2]):
            rendered.pop(0)
        lines = [(ansi, cells) for ansi, cells, _ in rendered]
        return [("", 0), *lines] if lines and apart else lines

    def _rendered(self, text: str) -> list[list[Any]]:
        from rich.text import Text  # noqa: PLC0415

        lines: list[list[Any]] = []
        with suppress(Exception):
            lines = self._console.render_lines(markdown(text), pad=False)
        if text.strip() and not any(map(_text, lines)):
            # Markdown that cannot be rendered, such as too deep nesting, is shown as plain text.
            lines = self._console.render_lines(Text(printable(text)), pad=False)
        return lines

    def _write(self, stands: list[Line], drawn: list[Line]) -> None:
        """Replace the lines of the last drawing."""
        width, height = self._console.size
        rows = min(sum(_height(cells, width) for cells in self._drawn), height)
        lines = [line for line, _ in (*stands, *drawn)] + ([] if drawn else [""])
        # Erase line by line: tmux saves a screen that is erased from its top to the scrollback.
        lines = [f"\x1b[K{line}" for line in lines]
        if rows > len(lines):
            lines[-1] = f"\x1b[J{lines[-1]}"
        back = f"\x1b[{rows - 1}A" if rows > 1 else ""
        self._file.write(f"{_BEGIN}{back}\r" + "\n".join(lines) + _END)
        self._file.flush()
        self._drawn = [cells for _, cells in drawn]


def markdown(text: str) -> Any:
    """Return a text as Markdown that hides nothing: HTML and the addresses of links are shown."""
    from rich.markdown import Markdown  # noqa: PLC0415

    document = Markdown(printable(text.replace("\r\n", "\n")), hyperlinks=False)
    waiting = list(document.parsed)
    while waiting:
        token = waiting.pop()
        waiting += token.children or ()
        token.type = _SHOWN.get(token.type, token.type)
    return document


# rich omits HTML and joins lines, but the line ends of an answer are intended.
_SHOWN = {"html_inline": "text", "html_block": "code_block", "softbreak": "hardbreak"}


def _blocks(text: str) -> list[str]:
    """Return the blocks of a Markdown text; only the last one can still change."""
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
    """Return whether white space is visible, which requires a background color."""
    return part.style is not None and part.style.bgcolor is not None


def _text(line: list[Any]) -> str:
    return "".join(part.text for part in line).strip()


def _height(cells: int, width: int) -> int:
    """Return the rows of a line: most terminals rewrap it when they get narrower."""
    if os.environ.get("XTERM_VERSION") or os.environ.get("TERM") == "linux":
        return 1
    return max(1, -(-cells // max(width, 1)))
