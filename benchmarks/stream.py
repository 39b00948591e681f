"""What does an event of a stream cost, when comes the first text, and is the connection kept?"""

from __future__ import annotations

import json
from collections.abc import Mapping

from benchmarks.call import AIOHTTP, BY_HAND, OURS, job_of
from benchmarks.harness import ratios, sample
from benchmarks.harness.bench import Bench, Cell, Table
from benchmarks.harness.contest import Effort, Measured, Side, contest
from benchmarks.harness.server import answer_of

EVENTS = 500
_REDACT = json.loads(sample.persona()) | {"plugins": ["redact"]}
REDACT = {"persona": json.dumps(_REDACT)}
RESPONSES = {"api": "responses"}
SYNC = [
    Side(BY_HAND, "openai_client:stream", "openai", ("openai",)),
    Side("**personakit**", "ours:stream", "personakit", OURS),
    Side("**personakit**, Responses API", "ours:stream", "personakit", OURS, RESPONSES),
    Side("**personakit**, redact", "ours:stream", "personakit", OURS, REDACT),
]
ASYNC = [
    Side(BY_HAND, "openai_client:astream", "openai", ("openai",)),
    Side(
        "openai by hand, aiohttp", "openai_client:astream", "openai-aiohttp", ("openai",), AIOHTTP
    ),
    Side("**personakit**", "ours:astream", "personakit", OURS),
    Side("**personakit**, aiohttp", "ours:astream", "personakit-aiohttp", OURS, AIOHTTP),
    Side("**personakit**, Responses API", "ours:astream", "personakit", OURS, RESPONSES),
    Side("**personakit**, redact", "ours:astream", "personakit", OURS, REDACT),
]
NOTE = f"""\
{EVENTS} events of one word, sent {{how}}. The CPU is that of one event, the whole stream divided \
by {EVENTS}; the first text is the time from the call until it is there; connections are those \
that were made for {{times}} streams in a row (0: the one that was there is kept)."""


def ask(bench: Bench) -> list[Table]:
    """Compare streams that come at once, and as fast as a model speaks."""
    tables = []
    for mode, sides in (("sync", SYNC), ("async", ASYNC)):
        for how, options in (("at once", ()), ("1 ms apart", ("pace1",))):
            slow = bool(options)
            times = bench.pick(4, 2) if slow else bench.pick(30, 10)
            effort = Effort(bench.pick(5, 3), times)
            job = job_of(bench, 2, f"events{EVENTS}", *options)
            found = contest(bench, sides, {**job, "expect": answer_of(EVENTS)}, effort)
            note = NOTE.format(how=how, times=times)
            tables.append(_table(f"Stream: {mode}, events {how}", found, note))
    return tables


def _table(title: str, found: Mapping[str, Measured], note: str) -> Table:
    one = found[BY_HAND]
    rows: list[list[Cell]] = []
    for name, side in ratios.ranked(found).items():
        cpu, first = ratios.ratio(side.cpu, one.cpu), ratios.ratio(side.first, one.first)
        micro = side.cpu * ratios.MICRO / EVENTS
        rows.append([name, cpu, first, micro, side.first * 1000, str(side.connections)])
    columns = ["Stream", "CPU", "first text", "CPU µs", "first text ms", "connections"]
    return Table(title, columns, rows, note, 1, ratios.missing(found), ratios.versions(found))
