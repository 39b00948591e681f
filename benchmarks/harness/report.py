"""Results as Markdown, and into a page between markers."""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.harness.bench import Cell, Table
from benchmarks.harness.plot import picture

QUICK = "A quick run, which does too little to rely on."


def markdown(tables: Sequence[Table]) -> str:
    """Return tables with their notes, who is missing, and the versions."""
    parts = []
    for table in tables:
        parts.append(f"**{table.title}**\n")
        if table.note:
            parts.append(table.note + "\n")
        parts.append(_rows(table))
        if table.missing:
            parts.append(_missing(table.missing))
    every: dict[str, str] = {}
    for table in tables:
        every |= table.versions
    if every:
        said = ", ".join(f"{name} {version}" for name, version in sorted(every.items()))
        parts.append(f"With {said}.\n")
    return "\n".join(parts)


def _missing(found: Mapping[str, str]) -> str:
    by_reason: dict[str, list[str]] = {}
    for name, why in found.items():
        by_reason.setdefault(" ".join(why.split()), []).append(name)
    said = "; ".join(f"{', '.join(names)} ({why})" for why, names in by_reason.items())
    return f"Missing: {said}.\n"


def _rows(table: Table) -> str:
    lines = [list(table.columns), ["---", *["---:"] * (len(table.columns) - 1)]]
    lines += [[shown(cell) for cell in row] for row in table.rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def shown(cell: Cell) -> str:
    """Return a number with the digits that mean something."""
    if cell is None:
        return ""
    if isinstance(cell, str):
        return cell
    digits = 2 if abs(cell) < 10 else 1 if abs(cell) < 100 else 0
    return f"{cell:,.{digits}f}"


def machine(*, maximum: float, quick: bool) -> str:
    """Return what the numbers were made on."""
    name = platform.machine()
    text = (
        f"Measured {datetime.now(UTC):%Y-%m-%d} with CPython {sys.version.split()[0]} on "
        f"{platform.system()} {name}, {os.cpu_count()} cores. The server on loopback answers "
        f"{maximum:,.0f} requests/s with a core to itself."
    )
    return f"{text} {QUICK}" if quick else text


def write(page: Path, question: str, text: str, tables: Sequence[Table]) -> None:
    """Put a question's results into a page, between its markers, and its picture beside it.

    Raises:
        ValueError: The page has no such markers.
    """
    drawn = picture([table for table in tables if table.plot])
    if drawn:
        image = page.with_suffix("") / f"{question}.svg"
        image.parent.mkdir(exist_ok=True)
        image.write_text(drawn, "utf-8")
        text = f"![{question}]({page.stem}/{question}.svg)\n\n{text}"
    start, end = f"<!-- {question}: written by the harness -->\n", f"<!-- end of {question} -->"
    before = page.read_text("utf-8")
    if start not in before or end not in before:
        raise ValueError(f"{page} has no lines {start.strip()!r} and {end!r} to write between")
    after = re.sub(
        re.escape(start) + ".*?" + re.escape(end), lambda _: start + text + end, before, flags=re.S
    )
    page.write_text(after, "utf-8")
