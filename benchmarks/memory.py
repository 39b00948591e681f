"""How much memory is held, and does it grow with the number of calls?"""

from __future__ import annotations

from benchmarks.call import AIOHTTP, BY_HAND, OURS, job_of
from benchmarks.harness import ratios
from benchmarks.harness.bench import Bench, Cell, Table
from benchmarks.harness.contest import Effort, Side, contest

SIDES = [
    Side(BY_HAND, "openai_client:acall", "openai", ("openai",), share=0.1),
    Side("**personakit**", "ours:acall", "personakit", OURS),
    Side("**personakit**, aiohttp", "ours:acall", "personakit-aiohttp", OURS, AIOHTTP),
    Side("LangChain", "langchain:acall", "langchain", ("langchain-openai",), share=0.1),
    Side("LiteLLM", "litellm:acall", "litellm", ("litellm",), share=0.02),
    Side("Pydantic AI", "pydantic_ai:acall", "pydantic-ai", ("pydantic-ai-slim",), share=0.05),
]
NOTE = """\
Resident memory in MiB, less the {bare:.0f} of an interpreter with the harness: after imports and \
set-up, after the first answer, after {warm:,} calls, and after {calls:,} more, 64 at once. The \
last column is what a further call costs, in bytes: the last two, divided by the calls between \
them. Others make fewer: openai and LangChain a tenth, Pydantic AI a twentieth, LiteLLM a 50th."""


def ask(bench: Bench) -> list[Table]:
    """Call again and again."""
    times = bench.pick(100_000, 5_000)
    found = contest(bench, SIDES, job_of(bench, 2), Effort(1, times, 64))
    rows: list[list[Cell]] = []
    for name, side in ratios.ranked(found).items():
        share = next(s.share for s in SIDES if s.name == name)
        held = {key: (value - side.memory["bare"]) / 2**20 for key, value in side.memory.items()}
        calls = int(times * share)
        each = (side.memory["end"] - side.memory["warm"]) / calls
        cells: list[Cell] = [held[key] for key in ("made", "once", "warm", "end")]
        rows.append([name, *cells, f"{each:.0f}"])
    bare = min(side.memory["bare"] for side in found.values() if not side.missing) / 2**20
    note = NOTE.format(bare=bare, warm=times // 10, calls=times)
    columns = ["Memory", "set up", "first answer", "warm", "end", "bytes a call"]
    rows.sort(key=lambda row: float(row[4] or 0))
    title = "Memory: before and after many calls"
    return [Table(title, columns, rows, note, 0, ratios.missing(found), ratios.versions(found))]
