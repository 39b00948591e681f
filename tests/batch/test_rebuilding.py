"""The index of a batch is built again from its other files, in the memory of the index."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

from personakit.batch import status
from personakit.batch.records import Files, Head, open_journal
from personakit.batch.rows import Row

ROWS = 20_000
LOST = (7, 19_999)


def write(out: Path, heads: list[Head]) -> None:
    """Write the files of a batch that was killed while the rows `LOST` were under way."""
    for head in heads:
        journal, earlier = open_journal(out, head, force_mixed=True)
        journal.recover(lambda _, place: place)
        journal.begin(earlier)
        if earlier:
            journal.abandon()
            return
        for place in range(ROWS):
            row = Row(place, place + 2, f"key of the row {place}", b"", {})
            journal.sent(row, 1)
            if place not in LOST:
                line = {"key": row.key, "index": place, "text": "é", "usage": None, "cost": 0.5}
                journal.answered(row, line)
        journal.abandon()


@pytest.mark.parametrize("changed", [False, True])
def test_rows_under_way_are_found_again_without_the_index(tmp_path: Path, *, changed: bool) -> None:
    head = Head("tagger", "sha256:1", "openai/test-model", source={"name": "a", "digest": "1"})
    other = Head("tagger", "sha256:1", "openai/test-model", source={"name": "a", "digest": "2"})
    out = tmp_path / "out.jsonl"
    write(out, [head, *([other] if changed else [])])
    Files.of(out).known.unlink()
    found = status(out)
    assert (found.done, found.in_flight) == (ROWS - len(LOST), len(LOST))


def test_an_index_is_built_again_in_less_memory_than_a_hundred_bytes_a_row(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    write(out, [Head("tagger", "sha256:1", "openai/test-model", source={"name": "a"})])
    Files.of(out).known.unlink()
    status(out)  # what is imported first is no memory of rows
    tracemalloc.start()
    try:
        assert status(out).in_flight == len(LOST)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 100 * ROWS
