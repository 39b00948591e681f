"""Batches whose process is killed at any moment: no row is lost, and few are paid twice."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

from helpers.batches import Counting, csv_of, ended, failures, lines, numbered, start

from personakit.batch import status

MORE = int(os.environ.get("PERSONAKIT_EXAMPLES", "100")) > 1000
KILLS = 200 if MORE else 10
ROWS = 15 * KILLS
AT_ONCE = 16


def test_no_row_is_lost_and_few_are_paid_twice(tmp_path: Path) -> None:
    moments = random.Random(7)
    source, out = csv_of(tmp_path / "rows.csv", ROWS), tmp_path / "out.jsonl"
    journal = tmp_path / "out.jsonl.journal"
    options = {"in_flight": "resend", "concurrency": AT_ONCE, "attempts": 20}
    under_way = killed = 0
    with Counting(faults=0.2, delay=0.02) as server:
        while killed < KILLS:
            before = journal.stat().st_size if journal.exists() else 0
            process = start(server, source, out, **options)
            until = time.monotonic() + 30
            while process.poll() is None and time.monotonic() < until:
                if journal.exists() and journal.stat().st_size > before + 100:
                    break
                time.sleep(0.005)
            time.sleep(moments.uniform(0, 0.15))
            process.send_signal(signal.SIGKILL)
            code, shown = ended(process)
            if code == 0:
                break  # the last row ended before the kill
            assert code == -signal.SIGKILL, shown
            killed += 1
            # What is counted here is what the next start tells, and what it sends again.
            left = status(out).in_flight
            assert left <= AT_ONCE
            under_way += left
        code, shown = ended(start(server, source, out, **options))
        assert code == 0, shown
        twice = sum(count - 1 for count in server.paid.values())
        assert killed > KILLS / 2
        assert 0 <= twice <= under_way
        assert sorted(server.paid) == sorted(row["text"] for row in numbered(ROWS))
    found = lines(out)
    assert failures(out) == []
    assert Counter(line["index"] for line in found) == Counter(range(ROWS))
    assert all(line["text"] == f"about row {line['index']}" for line in found)
    now = status(out)
    assert (now.done, now.failed, now.in_flight, now.is_finished) == (ROWS, 0, 0, True)
