"""A load with faults: workers are killed, upstreams fail, clients leave, and a budget is used up.

`just properties` sends ten times as many requests, by ``PERSONAKIT_EXAMPLES=…``.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from pathlib import Path

import pytest
from helpers.server_process import children

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.harness.bench import Bench  # noqa: E402
from benchmarks.harness.envs import Environments  # noqa: E402
from benchmarks.serving import books  # noqa: E402
from benchmarks.serving.failing import failing  # noqa: E402
from benchmarks.serving.faults import TOKENS  # noqa: E402
from benchmarks.serving.mixed import Mixed, Outcome, orders  # noqa: E402
from benchmarks.serving.servers import Kind, ours, running  # noqa: E402

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it finds workers by /proc")

COUNT = 10_000 if "PERSONAKIT_EXAMPLES" in os.environ else 1_000
BUDGET = COUNT * TOKENS // 2
"""Fewer tokens than the requests would take."""
WORKERS, AT_ONCE, KILLS = 4, 32, 5


def test_the_books_are_right_after_faults_and_kills(tmp_path: Path) -> None:
    made = ours("--workers", str(WORKERS), tokens_day=str(BUDGET))
    kind = Kind("personakit serve", "personakit-serve", (), made, ours=True)
    chance, killed = random.Random(7), list[int]()
    with failing() as upstream:
        bench = Bench(Environments(own=True), upstream)
        with running(bench, kind, tmp_path / "server") as server:

            def kill(done: int) -> None:
                if done % (COUNT // (KILLS + 1)) == 0 and len(killed) < KILLS:
                    workers = children(server.process.pid)
                    killed.append(chance.choice(workers))
                    os.kill(killed[-1], signal.SIGKILL)

            outcome = Outcome()
            mixed = Mixed(server.port, server.headers, outcome, keep=True, max_tokens=40)
            asyncio.run(mixed.send(orders(COUNT, first=1), AT_ONCE, kill))
            found = books.read(bench, server, ids=True, settled=False)
        counted = upstream.count()
    whole = sum(counted["whole"].values())
    assert sum(outcome.sent.values()) == sum(outcome.ended.values()) == COUNT
    assert not outcome.faults
    assert len(killed) == KILLS
    # The upstream's own count, and the ledger's.
    assert counted["again"] == 0
    assert outcome.count("200") <= whole
    # Each call states the most that it may take, so the budget is not exceeded at all.
    assert whole * TOKENS <= found.spent["tokens"] <= BUDGET
    assert whole * TOKENS > BUDGET // 2
    assert found.runs["budget_exceeded"] > 0
    # The log has each run that was answered, once.
    assert not found.again
    assert max(outcome.begun.values()) == 1
    assert outcome.answered <= found.ids
    # A run whose answer has begun is missing only if its worker was killed.
    assert len(outcome.begun.keys() - found.ids) <= KILLS * AT_ONCE
    output = (server.folder / "output").read_text("utf-8")
    assert "Traceback" not in output
    assert output.count("was ended by SIGKILL") == KILLS
