"""Pictures: bars on a logarithmic scale as SVG, to both sides of the reference, a line at 1."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from xml.sax.saxutils import escape

from benchmarks.harness.bench import Table

WIDTH, LEFT, RIGHT, LINE = 760, 250, 70, 22
STYLE = """<style>
text { font: 13px system-ui, sans-serif; fill: #24292f }
.title { font-weight: 600 } .small { font-size: 11px; fill: #6e7781 }
.bar { fill: #8c959f } .ours { fill: #0969da }
.grid { stroke: #d0d7de } .one { stroke: #cf222e; stroke-dasharray: 4 3 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .small { fill: #8b949e } .grid { stroke: #30363d }
}
</style>"""


def picture(tables: Sequence[Table]) -> str:
    """Return an SVG with a panel for each table; empty when there is nothing to show."""
    panels = [(table, bars) for table in tables if (bars := list(_bars(table)))]
    if not panels:
        return ""
    parts: list[str] = []
    top = 0
    for table, bars in panels:
        parts += _panel(table, bars, top)
        top += LINE * (len(bars) + 3)
    size = f'viewBox="0 0 {WIDTH} {top}" width="{WIDTH}" height="{top}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">'
    return "\n".join([head, STYLE, *parts, "</svg>\n"])


def _bars(table: Table) -> Iterator[tuple[str, float]]:
    for row in table.rows:
        value = row[table.plot]
        if isinstance(value, int | float) and value > 0:
            yield str(row[0]), value


def _panel(table: Table, bars: Iterable[tuple[str, float]], top: int) -> Iterator[str]:
    bars = list(bars)
    low = math.floor(math.log10(min(1, *(value for _, value in bars))))
    high = math.ceil(math.log10(max(1.01, *(value for _, value in bars))))
    scale = (WIDTH - LEFT - RIGHT) / (high - low)

    def x(value: float) -> float:
        return round(LEFT + (math.log10(value) - low) * scale, 1)

    foot = top + LINE * (len(bars) + 1) + 6
    yield f'<text class="title" x="8" y="{top + 16}">{escape(table.title)}</text>'
    said = escape(f"{table.columns[table.plot]}, multiples of the dashed line")
    yield f'<text class="small" x="{WIDTH - 8}" y="{top + 16}" text-anchor="end">{said}</text>'
    for power in range(low, high + 1):
        at, kind = x(10**power), "one" if power == 0 else "grid"
        yield f'<line class="{kind}" x1="{at}" x2="{at}" y1="{top + LINE}" y2="{foot}"/>'
        yield (
            f'<text class="small" x="{at}" y="{foot + 13}" text-anchor="middle">'
            f"{10**power:g}</text>"
        )
    for number, (name, value) in enumerate(bars):
        y, kind = top + LINE * (number + 1) + 3, "ours" if "**" in name else "bar"
        plain = escape(name.replace("*", "").replace("`", ""))
        start, end = sorted((x(1), x(value)))
        wide = max(1.0, round(end - start, 1))
        yield f'<text x="{LEFT - 8}" y="{y + 13}" text-anchor="end">{plain}</text>'
        size = f'width="{wide}" height="{LINE - 5}"'
        yield f'<rect class="{kind}" x="{start}" y="{y}" {size} rx="2"/>'
        yield f'<text x="{end + 6:.1f}" y="{y + 13}">{value:.3g}</text>'
