"""What a batch does with rows that are done: ``python finished.py ACTION FOLDER``.

It runs in an environment of personakit, and prints a line of JSON: what the action took in seconds
of CPU and of time, from after the imports on. The folder has ``persona.yaml`` and ``rows.csv``.

- ``make``: write the output of a batch in which every row has an answer, by its own writers
- ``check``: check all rows, as a batch does before it sends the first one
- ``resume``: run the batch again, which has nothing left to send
- ``read``: read the output once with the standard library's json
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

from personakit import Runner
from personakit.batch import Batch
from personakit.batch.records import answer_line
from personakit.config import Config
from personakit.messages import Response
from personakit.usage import Usage

_RUN = "019af0c2-5a10-7c3e-9d52-8a4bb1a0c001"


def _batch(folder: Path) -> Batch:
    environ = {"OPENAI_BASE_URL": "http://127.0.0.1:1/v1", "OPENAI_API_KEY": "key"}
    runner = Runner(Config(model="openai/test-model", path=(), environ=environ))
    return Batch(
        folder / "persona.yaml",
        folder / "rows.csv",
        out=folder / "out.jsonl",
        key="id",
        input="review",
        runner=runner,
    )


def make(folder: Path) -> None:
    batch = _batch(folder)
    usage = Usage(90, 9, 99)
    answer = Response("positive", finish_reason="stop", model="test-model", usage=usage)
    with batch._opened() as (journal, _):
        for row in batch._rows(journal.state, None):
            journal.sent(row, 1)
            journal.answered(row, answer_line(row, answer, _RUN))


def check(folder: Path) -> None:
    assert _batch(folder).check().rows


def resume(folder: Path) -> None:
    batch = _batch(folder)
    assert not list(batch.run())
    progress = batch.progress()
    assert progress is not None
    assert progress.done == progress.rows


def read(folder: Path) -> None:
    with (folder / "out.jsonl").open("rb") as file:
        for line in file:
            json.loads(line)


_ACTIONS: dict[str, Callable[[Path], None]] = {
    "make": make,
    "check": check,
    "resume": resume,
    "read": read,
}

if __name__ == "__main__":
    cpu, wall = time.process_time(), time.perf_counter()
    _ACTIONS[sys.argv[1]](Path(sys.argv[2]))
    print(json.dumps([time.process_time() - cpu, time.perf_counter() - wall]))
