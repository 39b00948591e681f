"""What a server has in its books after a load: metrics, rows of the run log, and the ledger."""

from __future__ import annotations

import contextlib
import json
import re
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from benchmarks.harness.bench import Bench
from benchmarks.serving.servers import Running, environ

_SERIES = re.compile(r"^(personakit_\w+)(\{.*\})? ([0-9.eE+-]+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_SPENT = """
import json
from personakit.ledger import Ledger
total = Ledger().spent("key:bench:day")
print(json.dumps({"calls": total.calls, "tokens": total.tokens, "nanos": total.nanos}))
"""


@dataclass(slots=True)
class Books:
    """What a server has counted.

    Attributes:
        runs: The runs in the metrics, by status.
        refused: The requests without a run in the metrics, by reason.
        in_flight: The runs in the metrics that have not ended.
        rows: The rows of the run log by type of error; empty for none.
        again: The ids of runs with several rows.
        ids: The ids of the rows, if they are wanted.
        spent: What the ledger has for the key: `calls`, `tokens` and `nanos` (nano-dollars).
    """

    runs: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    in_flight: float = 0.0
    rows: Counter[str] = field(default_factory=Counter)
    again: list[str] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)
    spent: dict[str, int] = field(default_factory=dict)


def read(bench: Bench, server: Running, *, ids: bool = False, settled: bool = True) -> Books:
    """Return the books of a server when its runs have ended.

    Args:
        bench: The environments.
        server: The server, which runs.
        ids: Read the ids of the rows, too.
        settled: Wait until the metrics say that no run is in flight; those of workers that were
            killed may say so for a while.
    """
    until = time.monotonic() + (60 if settled else 2)
    while (books := _measured(server)).in_flight and time.monotonic() < until:
        time.sleep(0.1)
    with contextlib.closing(sqlite3.connect(server.folder / "log.db")) as log:
        errors = "SELECT coalesce(error_type, ''), count(*) FROM runs GROUP BY 1"
        books.rows.update(dict(log.execute(errors)))
        again = "SELECT id FROM runs GROUP BY id HAVING count(*) > 1 LIMIT 10"
        books.again = [name for (name,) in log.execute(again)]
        if ids:
            books.ids = {name for (name,) in log.execute("SELECT id FROM runs")}
    books.spent = spent(bench, server)
    return books


def spent(bench: Bench, server: Running) -> dict[str, int]:
    """Return what the ledger of a server has for its key."""
    found: dict[str, int] = json.loads(
        subprocess.run(
            [bench.envs.python(server.kind.env), "-c", _SPENT],
            env=environ(bench, server.folder), capture_output=True, check=True,
        ).stdout
    )  # fmt: skip
    return found


def _measured(server: Running) -> Books:
    books = Books()
    for name, labels, value in series(server.get("/metrics")[1].decode()):
        if name == "personakit_requests_total":
            books.runs[labels["status"]] += int(value)
        elif name == "personakit_refused_total":
            books.refused[labels["reason"]] += int(value)
        elif name == "personakit_in_flight":
            books.in_flight += value
    return books


def series(text: str) -> Iterable[tuple[str, dict[str, Any], float]]:
    """Yield the name, labels and value of each series of a page of metrics."""
    for name, labels, value in _SERIES.findall(text):
        yield name, dict(_LABEL.findall(labels)), float(value)
