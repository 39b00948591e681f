"""What has changed since another checkout: both in one run, in turns."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks import look
from benchmarks.call import job_of
from benchmarks.harness import ratios, sample
from benchmarks.harness.bench import Bench, Cell, Table
from benchmarks.harness.contest import Effort, Side, contest
from benchmarks.harness.server import answer_of
from benchmarks.start import compare

BEFORE, NOW = "before", "now"
NOTE = "1 is the checkout that was named second."
EVENTS = 500


def ask(bench: Bench) -> list[Table]:
    """Compare two checkouts: commands, calls, streams, many calls at once, and looks."""
    return [*_starts(bench), *_calls(bench), _look(bench)]


def _starts(bench: Bench) -> Iterator[Table]:
    values = [f"{name}={value}" for name, value in sample.VALUES.items() if name != "topics"]
    render = ("bench", sample.PROMPT, *(word for v in values for word in ("-v", v)))
    ask = ("bench", sample.PROMPT, "-v", "location=Lyon", "--no-stream")
    commands = {"--version": (), "list": (), "render": render, "run": ask}
    for name, words in commands.items():
        both = {
            BEFORE: ("before", "-m", "personakit", name, *words),
            NOW: ("personakit", "-m", "personakit", name, *words),
        }
        medians, missing = compare(bench, both, bench.pick(60, 10))
        rows: list[list[Cell]] = [
            [side, cpu / medians[BEFORE][0], wall / medians[BEFORE][1], cpu * 1000, wall * 1000]
            for side, (cpu, wall) in medians.items()
        ]
        columns = ["start", "CPU", "time", "CPU ms", "time ms"]
        yield Table(f"`personakit {name}`", columns, rows, NOTE, missing=missing)


def _calls(bench: Bench) -> Iterator[Table]:
    events = {**job_of(bench, 2, f"events{EVENTS}"), "expect": answer_of(EVENTS)}
    two, twenty = job_of(bench, 2), job_of(bench, 20)
    one_by_one = Effort(bench.pick(21, 3), bench.pick(200, 40))
    many = Effort(bench.pick(11, 3), bench.pick(2000, 256), 64)
    contests = {
        "call, 2 messages": ("call", two, one_by_one),
        "call, 20 messages": ("call", twenty, one_by_one),
        "stream, sync": ("stream", events, Effort(bench.pick(11, 3), bench.pick(30, 10))),
        "stream, async": ("astream", events, Effort(bench.pick(11, 3), bench.pick(30, 10))),
        "many, 64 at once": ("acall", two, many),
    }
    for title, (function, job, effort) in contests.items():
        sides = [
            Side(BEFORE, f"ours:{function}", "before", ("personakit",)),
            Side(NOW, f"ours:{function}", "personakit", ("personakit",)),
        ]
        found = contest(bench, sides, job, effort)
        yield ratios.by_cost(title, found, BEFORE, note=NOTE)


def _look(bench: Bench) -> Table:
    """Compare a look with the steps that it replaces, in the other checkout."""
    sides = [
        Side(BEFORE, "ours:step_by_step", "before", ("personakit",)),
        Side(NOW, "ours:look", "personakit", ("personakit",)),
    ]
    found = contest(bench, sides, look.job(), Effort(bench.pick(15, 5), bench.pick(100, 30)))
    return ratios.by_cost("look", found, BEFORE, note=NOTE)
