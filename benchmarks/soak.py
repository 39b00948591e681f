"""Does the server hold what it promises under a long load of all kinds, and does it grow?"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.harness.bench import Bench, Cell, Table
from benchmarks.serving import account, books
from benchmarks.serving.books import Books
from benchmarks.serving.failing import failing
from benchmarks.serving.faults import TOKENS
from benchmarks.serving.mixed import Mixed, Outcome, orders
from benchmarks.serving.servers import KINDS, Running, running

COUNT = 500_000
WARM = 10_000
AT_ONCE = 32
GROWTH = 10
"""The most MiB by which the server may grow after the warm-up."""
MEBI = 2**20
NOTE = """\
{count:,} requests, {at_once} at once, to one worker with a key, a budget and the log; two fifths \
are streamed. The upstream also answers 429 and 500, resets connections, breaks off, sends slowly \
or not at all; some clients leave. Memory is resident, in MiB, and its growth is counted from \
{warm:,} requests on."""


def ask(bench: Bench) -> list[Table]:
    """Send requests of all kinds, and compare what all sides have counted."""
    if not account.available():
        return [Table("Soak", ["Soak"], [], missing={"all": "it measures by means of Linux"})]
    count = bench.count or bench.pick(COUNT, 2_000)
    with failing() as upstream, TemporaryDirectory() as folder:
        own = replace(bench, server=upstream)
        with running(own, KINDS[1], Path(folder, "server")) as server:
            outcome = Outcome()
            grown = asyncio.run(_sent(server, count, outcome))
            found = books.read(own, server)
            counted = upstream.count()
    rows = faults(outcome, found, counted)
    note = NOTE.format(count=count, at_once=AT_ONCE, warm=_warm(count))
    kinds = _kinds(outcome)
    return [_growth(grown, _warm(count), note), Table("Soak: what was counted", *rows), kinds]


def _warm(count: int) -> int:
    return min(WARM, count // 5)


Grown = list[tuple[int, float, int, int, int]]
"""Requests so far, seconds, bytes of memory, threads and files."""


async def _sent(server: Running, count: int, outcome: Outcome) -> Grown:
    """Send the requests, and look at the server now and then."""
    grown: Grown = []
    pid, start = server.worker(), time.monotonic()

    def look(done: int) -> None:
        if done % max(1, count // 20) == 0 or done == _warm(count):
            seconds = time.monotonic() - start
            used = account.resident(pid), account.threads(pid), account.files(pid)
            grown.append((done, seconds, *used))
            print(f"{done:,} requests, {seconds:,.0f} s, {used[0] / MEBI:.1f} MiB", flush=True)

    mixed = Mixed(server.port, server.headers, outcome)
    await mixed.send(orders(count, first=1), AT_ONCE, look)
    return grown


def _growth(grown: Grown, warm: int, note: str) -> Table:
    base = next(memory for done, _, memory, _, _ in grown if done >= warm)
    rows: list[list[Cell]] = [
        [f"{done:,}", seconds, memory / MEBI, (memory - base) / MEBI, str(threads), str(files)]
        for done, seconds, memory, threads, files in grown
    ]
    last = (grown[-1][2] - base) / MEBI
    good = "yes" if last <= GROWTH else "**no**"
    rows.append([f"grown by ≤ {GROWTH}", None, None, last, good, ""])
    return Table("Soak: memory", ["Requests", "s", "MiB", "grown", "threads", "files"], rows, note)


def faults(
    outcome: Outcome, found: Books, counted: dict[str, Any]
) -> tuple[list[str], list[list[Cell]]]:
    """Return the table of what all sides have counted, with what must be."""
    runs, rows = sum(found.runs.values()), sum(found.rows.values())
    whole, received = sum(counted["whole"].values()), sum(counted["received"].values())
    lines: list[tuple[str, int, str, bool]] = [
        ("requests sent", sum(outcome.sent.values()), "", True),
        ("answered whole and right", outcome.count("200"), "", True),
        ("runs in the metrics", runs, "", True),
        ("rows of the log", rows, "as many as runs", rows == runs),
        ("runs with several rows", len(found.again), "0", not found.again),
        ("runs that have not ended", int(found.in_flight), "0", not found.in_flight),
        ("attempts that reached the upstream", received, "", True),
        ("answers that it sent whole", whole, "", True),
        ("requests that it answered twice", counted["again"], "0", not counted["again"]),
        (
            "tokens in the ledger",
            found.spent["tokens"],
            f"at least {whole * TOKENS:,}",
            found.spent["tokens"] >= whole * TOKENS,
        ),
        ("wrong or missing answers", len(outcome.faults), "0", not outcome.faults),
    ]
    table: list[list[Cell]] = [
        [name, f"{value:,}", wanted, "yes" if good else "**no**"]
        for name, value, wanted, good in lines
    ]
    table += [[fault, "", "", "**no**"] for fault in outcome.faults[:20]]
    return ["Counted", "number", "must be", "good"], table


def _kinds(outcome: Outcome) -> Table:
    ends = sorted({name.rpartition(": ")[2] for name in outcome.ended})
    by_mode: dict[str, Counter[str]] = {}
    for name, number in outcome.ended.items():
        kind, _, end = name.rpartition(": ")
        by_mode.setdefault(kind, Counter())[end] += number
    rows: list[list[Cell]] = [
        [kind, *(f"{its[end]:,}" if its[end] else "" for end in ends)]
        for kind, its in sorted(by_mode.items())
    ]
    return Table("Soak: how requests ended", ["Kind", *ends], rows)
