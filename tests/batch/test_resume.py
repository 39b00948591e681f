"""Going on: after any end, with what was written, and with what has changed since."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from helpers.batches import (
    SOURCE,
    Counting,
    csv_of,
    ended,
    failures,
    lines,
    numbered,
    persona,
    runner_of,
    start,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from personakit import Runner, UsageError
from personakit.batch import Batch, BatchStopped, UnderWay, status


@pytest.fixture
def server() -> Any:
    with Counting() as running:
        yield running


@pytest.fixture
def runner(server: Counting) -> Any:
    with runner_of(server) as made:
        yield made


def run(runner: Runner, source: Any, out: Path, text: str = SOURCE, **options: Any) -> int:
    """Run a batch; return how many rows it has run."""
    return sum(1 for _ in Batch(persona(text), source, out=out, runner=runner, **options).run())


def files(out: Path) -> dict[str, Path]:
    """Return the files of a batch by what they are."""
    beside = {kind: out.with_name(f"{out.name}.{kind}") for kind in ("journal", "index")}
    return {"answers": out, "failures": out.with_name("out.failed.jsonl"), **beside}


def test_the_same_batch_again_sends_nothing(
    tmp_path: Path, server: Counting, runner: Runner
) -> None:
    source, out = csv_of(tmp_path / "rows.csv", 20), tmp_path / "out.jsonl"
    assert run(runner, source, out) == 20
    before = out.read_bytes()
    assert run(runner, source, out) == 0
    assert sum(server.asked.values()) == 20
    assert out.read_bytes() == before


@pytest.mark.parametrize("kind", ["answers", "failures", "journal"])
def test_a_torn_last_line_is_cut_and_its_row_asked_about(
    kind: str, tmp_path: Path, server: Counting, runner: Runner
) -> None:
    source, out = csv_of(tmp_path / "rows.csv", 10), tmp_path / "out.jsonl"
    run(runner, source, out, concurrency=1, limit=5)
    with files(out)[kind].open("ab") as file:
        file.write(b'{"key": "abc", "ind')
    run(runner, source, out)
    assert sorted(line["index"] for line in lines(out)) == list(range(10))
    assert set(server.paid.values()) == {1}


@given(cut=st.data())
@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_answers_cut_at_any_byte_lose_only_what_is_missing(
    cut: st.DataObject, tmp_path: Path, server: Counting, runner: Runner
) -> None:
    """The journal says that a row was sent; whether it was paid, only the user can know."""
    folder = tmp_path / "made"
    if not folder.exists():
        folder.mkdir()
        run(runner, csv_of(folder / "rows.csv", 12), folder / "out.jsonl", concurrency=2)
    here = tmp_path / "cut"
    shutil.rmtree(here, ignore_errors=True)
    shutil.copytree(folder, here)
    out = here / "out.jsonl"
    size = cut.draw(st.integers(0, out.stat().st_size))
    os.truncate(out, size)
    whole = out.read_bytes().count(b"\n")
    found = status(out)
    assert (found.done, found.in_flight) == (whole, 12 - whole)
    paid = sum(server.paid.values())
    if whole < 12:
        with pytest.raises(UnderWay) as caught:
            run(runner, here / "rows.csv", out)
        assert caught.value.rows == 12 - whole
    assert run(runner, here / "rows.csv", out, in_flight="resend") == 12 - whole
    assert sum(server.paid.values()) - paid == 12 - whole
    assert sorted(line["index"] for line in lines(out)) == list(range(12))


def test_rows_that_were_under_way_are_asked_about_resent_or_failed(
    tmp_path: Path, server: Counting, runner: Runner
) -> None:
    source, out = csv_of(tmp_path / "rows.csv", 6), tmp_path / "out.jsonl"
    server.delay = 30
    process = start(server, source, out, concurrency=4)
    until = time.monotonic() + 30
    while sum(server.asked.values()) < 4 and time.monotonic() < until:
        time.sleep(0.01)
    process.kill()
    ended(process)
    server.delay = 0
    assert status(out).in_flight == 4
    with pytest.raises(UnderWay, match="4 rows were under way") as caught:
        run(runner, source, out)
    assert "in_flight='resend'" in str(caught.value) or "in_flight=resend" in str(caught.value)
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in files(out).values():
        if path.exists():
            shutil.copy(path, copy)
    assert run(runner, source, out, in_flight="resend") == 6
    assert failures(out) == []
    assert run(runner, source, copy / "out.jsonl", in_flight="fail") == 2
    found = failures(copy / "out.jsonl")
    assert [line["code"] for line in found] == ["in_flight"] * 4
    assert {line["cost"] for line in found} == {None}


def test_two_processes_do_not_write_one_output(tmp_path: Path, server: Counting) -> None:
    source, out = csv_of(tmp_path / "rows.csv", 8), tmp_path / "out.jsonl"
    server.delay = 0.3
    first = start(server, source, out, concurrency=2)
    until = time.monotonic() + 30
    while not sum(server.asked.values()) and time.monotonic() < until:
        time.sleep(0.01)
    code, shown = ended(start(server, source, out))
    assert code == 1
    assert "UsageError" in shown
    assert str(out) in shown
    assert status(out).running
    assert ended(first)[0] == 0
    assert not status(out).running
    assert set(server.paid.values()) == {1}
    assert len(lines(out)) == 8


def test_a_changed_persona_or_model_is_an_error_before_anything_is_sent(
    tmp_path: Path, server: Counting, runner: Runner
) -> None:
    source, out = csv_of(tmp_path / "rows.csv", 6), tmp_path / "out.jsonl"
    run(runner, source, out, limit=3)
    other = SOURCE.replace("Tag it.", "Tag it well.")
    for change in ({"text": other}, {"parameters": {"temperature": 0.5}}):
        with pytest.raises(UsageError, match="force_mixed"):
            run(runner, source, out, **change)
    assert sum(server.asked.values()) == 3
    assert run(runner, source, out, other, force_mixed=True) == 3
    assert len(lines(out)) == 6


def test_rows_that_were_added_are_run_and_the_others_are_not(
    tmp_path: Path, server: Counting, runner: Runner
) -> None:
    out = tmp_path / "out.jsonl"
    run(runner, csv_of(tmp_path / "rows.csv", 5), out)
    csv_of(tmp_path / "rows.csv", 8)
    try:
        count = run(runner, tmp_path / "rows.csv", out)
    except UsageError as error:
        assert "force_mixed" in str(error)  # noqa: PT017 - either is an answer; nothing is paid twice
        count = run(runner, tmp_path / "rows.csv", out, force_mixed=True)
    assert count == 3
    assert set(server.paid.values()) == {1}


@pytest.mark.parametrize("damage", [None, b"", b"PKIX1\n garbage \xff\x00", b"{}"])
def test_an_index_is_only_a_shortcut(
    damage: bytes | None, tmp_path: Path, server: Counting, runner: Runner
) -> None:
    source, out = csv_of(tmp_path / "rows.csv", 30), tmp_path / "out.jsonl"
    run(runner, source, out, limit=20)
    index = files(out)["index"]
    assert index.exists()
    if damage is None:
        index.unlink()
    else:
        index.write_bytes(damage)
    assert status(out).done == 20
    assert run(runner, source, out) == 10
    assert set(server.paid.values()) == {1}


def test_an_unchanged_table_is_not_checked_again(
    tmp_path: Path, server: Counting, runner: Runner
) -> None:
    out = tmp_path / "out.jsonl"
    source = csv_of(tmp_path / "rows.csv", 6)
    first = Batch(persona(), source, out=out, runner=runner, limit=2)
    list(first.run())
    assert status(out).rows == 6
    checks = [files(out)["journal"].read_text().count('{"checked"')]
    run(runner, source, out)
    checks.append(files(out)["journal"].read_text().count('{"checked"'))
    assert checks == [1, 1]


LIMITED = """\
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
sys.argv = ["batch", sys.argv[1]]
from helpers.batches import main
main()
"""


def test_a_full_disk_stops_the_batch_and_loses_nothing_that_was_written(
    tmp_path: Path, server: Counting, runner: Runner
) -> None:
    assert resource.RLIMIT_FSIZE is not None
    source, out = csv_of(tmp_path / "rows.csv", 200), tmp_path / "out.jsonl"
    given = {
        "environ": server.environ(), "source": str(source), "out": str(out),
        "options": {"concurrency": 4, "grace": 1},
    }  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-c", LIMITED, json.dumps(given), "8000"],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    code, shown = ended(process)
    assert code == 1
    assert "BatchStopped" in shown
    written = lines(out)
    assert 0 < len(written) < 200
    left = status(out).in_flight
    assert left <= 4
    assert len(server.paid) <= len(written) + left
    assert run(runner, source, out, in_flight="resend") == 200 - len(written)
    assert sorted(line["index"] for line in lines(out)) == list(range(200))
    assert sum(server.paid.values()) - 200 <= left


def test_a_stop_from_another_thread_ends_the_rows_under_way(
    tmp_path: Path, server: Counting, runner: Runner
) -> None:
    server.delay = 0.02
    source, out = csv_of(tmp_path / "rows.csv", 100), tmp_path / "out.jsonl"
    batch = Batch(persona(), source, out=out, runner=runner, concurrency=4)
    results = batch.run()
    for _ in range(3):
        next(results)
    batch.stop()
    with pytest.raises(BatchStopped, match="stopped before its last row"):
        list(results)
    assert 3 <= len(lines(out)) < 100
    assert status(out).in_flight == 0
    run(runner, source, out)
    assert server.paid == Counter(row["text"] for row in numbered(100))
