"""What does it cost to look at a persona in an editor: lint, request and tokens?"""

from __future__ import annotations

from typing import Any

from benchmarks.harness import ratios
from benchmarks.harness.bench import Bench, Table
from benchmarks.harness.contest import Effort, Side, contest
from benchmarks.harness.envs import ROOT

BY_HAND = "lint, load, render, count"
NOTE = """\
The chef, as an editor has it: its problems, its messages and their tokens. By hand, the file is \
linted, loaded, rendered and counted one after the other."""


def job() -> dict[str, Any]:
    """Return what the adapters get."""
    return {"file": str(ROOT / "personas" / "chef.yaml"), "expect": "2 messages"}


def ask(bench: Bench) -> list[Table]:
    """Look at a text, and do the same step by step."""
    sides = [
        Side(BY_HAND, "ours:step_by_step", "personakit", ("personakit",)),
        Side("**`personakit.look`**", "ours:look", "personakit", ("personakit",)),
    ]
    found = contest(bench, sides, job(), Effort(bench.pick(15, 3), bench.pick(100, 10)))
    return [ratios.by_cost("Look: a text of an editor", found, BY_HAND, note=NOTE)]
