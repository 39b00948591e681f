"""How many requests a second go out from one process, and does its memory stay as it is?"""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.call import AIOHTTP, BY_HAND, OURS, job_of
from benchmarks.harness import ratios
from benchmarks.harness.bench import Bench, Cell, Table
from benchmarks.harness.contest import Effort, Measured, Side, contest

SIDES = [
    Side("raw aiohttp", "openai_client:raw", "openai-aiohttp", ("aiohttp",)),
    Side(
        "openai by hand, aiohttp, client.post",
        "openai_client:apost",
        "openai-aiohttp",
        ("openai",),
        AIOHTTP,
    ),
    Side(
        "openai by hand, aiohttp",
        "openai_client:acall",
        "openai-aiohttp",
        ("openai",),
        AIOHTTP,
        0.4,
    ),
    Side(BY_HAND, "openai_client:acall", "openai", ("openai",), share=0.4),
    Side("**personakit**", "ours:acall", "personakit", OURS),
    Side("**personakit**, aiohttp", "ours:acall", "personakit-aiohttp", OURS, AIOHTTP),
    Side("LangChain abatch", "langchain:abatch", "langchain", ("langchain-openai",), share=0.1),
    Side(
        "LangChain abatch, its template",
        "langchain:abatch_rendered",
        "langchain",
        ("langchain-openai",),
        share=0.1,
    ),
    Side("LiteLLM", "litellm:acall", "litellm", ("litellm",), share=0.1),
    Side("Pydantic AI", "pydantic_ai:acall", "pydantic-ai", ("pydantic-ai-slim",), share=0.1),
]
NOTE = """\
{times:,} requests of two messages through one process and event loop, {at_once} at once, each \
answered after {wait} ms, on connections that were made before; the median of up to {rounds} runs. \
personakit renders its persona for each; others send ready messages, LangChain both ways. \
The openai client's own calls are two fifths of that, those of LangChain, LiteLLM and Pydantic AI \
a tenth. Memory is what was held after the last run, less what was held after the first answer."""


def ask(bench: Bench) -> list[Table]:
    """Send many requests at once, to a model that answers at once and to one that takes a while."""
    tables = []
    for wait in (0, 20):
        for at_once in (64, 256):
            effort = Effort(bench.pick(3, 1), bench.pick(5000, 1000), at_once)
            found = contest(bench, SIDES, job_of(bench, 2, f"wait{wait}"), effort)
            note = NOTE.format(times=effort.times, rounds=effort.rounds, at_once=at_once, wait=wait)
            tables.append(_table(f"Many: {at_once} at once, {wait} ms", found, note))
    return tables


def _table(title: str, found: Mapping[str, Measured], note: str) -> Table:
    one = found[BY_HAND]
    rows: list[list[Cell]] = []
    for name, side in sorted(ratios.ranked(found).items(), key=lambda pair: pair[1].wall):
        faster, grown = ratios.ratio(one.wall, side.wall), side.memory["end"] - side.memory["once"]
        rows.append([name, faster, 1 / side.wall, ratios.ratio(side.cpu, one.cpu), grown / 2**20])
    columns = ["Many", "rate", "requests/s", "CPU", "memory MiB"]
    return Table(title, columns, rows, note, 1, ratios.missing(found), ratios.versions(found))
