"""A worker of a cluster, without the cluster: its columns, its journal and those of the others."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from helpers.counting_upstream import Upstream, upstream

from personakit import PersonakitError, UsageError
from personakit.batch import BatchStopped
from personakit.batch.ray import Worker, summary
from personakit.batch.ray.claims import Claims, write_repeats

pyarrow = pytest.importorskip("pyarrow")

PERSONA = """\
system: Be loud.
model: openai/test-model
variables:
  text: {type: string}
  times: {type: integer, default: 1}
prompt: "{{ text }}"
"""


@pytest.fixture
def up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Upstream]:
    (tmp_path / "loud.yaml").write_text(PERSONA)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("PERSONAKIT_PLUGINS", "")
    with upstream(tmp_path) as server:
        for name, value in server.environ().items():
            monkeypatch.setenv(name, value)
        yield server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "journal"


def worker(folder: Path, **options: Any) -> Any:
    return closing(Worker(folder.parent / "loud.yaml", folder, **options))


def block(*texts: str | None, **columns: Any) -> Any:
    return pyarrow.table({"text": list(texts), **columns})


def answers(folder: Path) -> list[Path]:
    return [file for file in folder.glob("*.jsonl") if not file.name.endswith(".failed.jsonl")]


def killed(folder: Path, text: str, up: Upstream) -> None:
    """Leave the journal of a worker that was killed while a row was under way."""
    with worker(folder, run="dead") as dead:
        dead.run(block(text))
    for file in folder.glob("dead-*.jsonl"):
        file.write_text("")
    for file in folder.glob("dead-*.index"):
        file.unlink()


def test_results_are_columns_beside_those_of_the_block(up: Upstream, folder: Path) -> None:
    with worker(folder) as one:
        table = one.run(block("a", "b", id=[7, 8]))
    first = table.to_pylist()[0]
    assert table.column("id").to_pylist() == [7, 8]
    assert table.column("answer").to_pylist() == ["A", "B"]
    assert table.column("answer_error").to_pylist() == [None, None]
    assert first["answer_finish_reason"] == "stop"
    assert first["answer_tokens"] > 0
    assert first["answer_run"]


def test_a_row_that_fails_or_does_not_fit_does_not_fail_its_block(
    up: Upstream, folder: Path
) -> None:
    with worker(folder) as one:
        found = one.run(block("refuse", None, "fine", times=[1, 2, None])).to_pylist()
    assert [row["answer"] for row in found] == [None, None, "FINE"]
    assert [row["answer_code"] for row in found] == ["bad_request", "invalid_row", None]
    assert "column 'text'" in found[1]["answer_error"]
    assert [row["answer_attempts"] for row in found] == [1, 0, None]


def test_blocks_of_numpy_and_pandas_are_read_and_data_frames_come_back(
    up: Upstream, folder: Path
) -> None:
    pandas = pytest.importorskip("pandas")
    with worker(folder) as one:
        assert one.run({"text": ["a"]}).column("answer").to_pylist() == ["A"]
        frame = one.run(pandas.DataFrame({"text": ["b"], "id": [1]}))
    assert list(frame["answer"]) == ["B"]
    assert list(frame["id"]) == [1]


def test_a_block_that_comes_again_is_not_sent_again(up: Upstream, folder: Path) -> None:
    rows = block("a", "b", "refuse")
    with worker(folder) as one:
        before = one.run(rows).to_pylist()
        assert one.run(rows).to_pylist() == before
    with worker(folder) as other:
        assert other.run(block("c", "b", "a", "refuse")).to_pylist()[1:] == [
            before[1],
            before[0],
            before[2],
        ]
    assert up.counts() == {"a": 1, "b": 1, "c": 1, "refuse": 1}
    found = summary(folder)
    assert (found.done, found.failed, found.in_flight, found.segments) == (3, 1, 0, 2)


def test_equal_rows_are_sent_once_also_from_blocks_at_the_same_time(
    up: Upstream, folder: Path
) -> None:
    with worker(folder) as one:
        tables: list[Any] = []
        threads = [
            threading.Thread(target=lambda: tables.append(one.run(block("a", "b", "a"))))
            for _ in range(4)
        ]
        one.run(block("start"))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert [table.column("answer").to_pylist() for table in tables] == [["A", "B", "A"]] * 4
    assert up.counts() == {"start": 1, "a": 1, "b": 1}


def test_a_row_of_several_workers_is_sent_by_one_of_them(up: Upstream, folder: Path) -> None:
    texts = [f"r{number}" for number in range(20)]
    with worker(folder) as first:  # its keys are those of the content
        first.run(block(*texts))
    (file,) = answers(folder)
    keys = [json.loads(line)["key"] for line in file.read_text().splitlines()]
    shutil.rmtree(folder)
    folder.mkdir()
    write_repeats(folder, "r", b"".join(map(bytes.fromhex, keys)))
    found: dict[int, Any] = {}
    with worker(folder, run="r") as one, worker(folder, run="r") as two:
        threads = [
            threading.Thread(target=lambda: found.update({0: one.run(block(*texts))})),
            threading.Thread(target=lambda: found.update({1: two.run(block(*texts[::-1]))})),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert up.counts() == dict.fromkeys(texts, 2)  # once before, and once by both
    assert found[0].column("answer").to_pylist() == [text.upper() for text in texts]
    assert found[1].column("answer").to_pylist() == [text.upper() for text in texts[::-1]]


def test_a_row_that_a_dead_worker_was_to_send_is_sent_by_another(
    up: Upstream, folder: Path
) -> None:
    with worker(folder) as first:
        first.run(block("a"))
    (file,) = answers(folder)
    key = json.loads(file.read_text())["key"]
    shutil.rmtree(folder)
    folder.mkdir()
    write_repeats(folder, "r", bytes.fromhex(key))
    assert Claims(folder, "r", "dead.jsonl").take(bytes.fromhex(key))
    with worker(folder, run="r") as one:
        assert one.run(block("a")).column("answer").to_pylist() == ["A"]


def test_rows_with_equal_content_are_told_apart_by_a_key(up: Upstream, folder: Path) -> None:
    with worker(folder, dedupe=False, key="id") as one:
        one.run(block("a", "a", id=["x", "y"]))
        one.run(block("a", "a", id=["x", "y"]))
    assert up.counts() == {"a": 2}


def test_failures_of_earlier_runs_are_sent_again_if_asked_for(up: Upstream, folder: Path) -> None:
    with worker(folder, run="one") as one:
        one.run(block("refuse", "a"))
    with worker(folder, run="two", retry_failed=True) as two:
        two.run(block("refuse", "a"))
        two.run(block("refuse", "a"))  # it failed in this run: not a third time
    assert up.counts() == {"refuse": 2, "a": 1}


def test_failures_are_sent_again_also_where_no_row_may_be_paid_twice(
    up: Upstream, folder: Path
) -> None:
    with worker(folder, run="one") as one:
        one.run(block("refuse"))
    with worker(folder, run="two", retry_failed=True, in_flight="fail") as two:
        assert two.run(block("refuse")).column("answer_code").to_pylist() == ["bad_request"]
    assert up.counts() == {"refuse": 2}


def test_a_row_that_was_under_way_at_a_death_is_sent_again(up: Upstream, folder: Path) -> None:
    killed(folder, "a", up)
    assert summary(folder).in_flight == 1
    with worker(folder) as one:
        assert one.run(block("a")).column("answer").to_pylist() == ["A"]
    assert up.counts() == {"a": 2}
    found = summary(folder)
    assert (found.in_flight, found.again) == (0, 1)


def test_a_row_that_was_under_way_at_a_death_fails_if_it_must_not_be_paid_twice(
    up: Upstream, folder: Path
) -> None:
    killed(folder, "a", up)
    with worker(folder, in_flight="fail") as one:
        found = one.run(block("a", "b")).to_pylist()
    assert [row["answer_code"] for row in found] == ["in_flight", None]
    assert up.counts() == {"a": 1, "b": 1}


def test_results_of_another_persona_are_refused(up: Upstream, folder: Path) -> None:
    with worker(folder) as one:
        one.run(block("a"))
    (folder.parent / "loud.yaml").write_text(PERSONA.replace("loud", "quiet"))
    with pytest.raises(UsageError, match="texts or settings of persona 'loud' have changed"):
        Worker(folder.parent / "loud.yaml", folder)
    with worker(folder, force_mixed=True) as one:
        one.run(block("a", "b"))
    assert up.counts() == {"a": 1, "b": 1}


def test_an_error_of_all_rows_fails_the_block_and_nothing_is_sent_after_it(
    up: Upstream, folder: Path
) -> None:
    with worker(folder) as one:
        with pytest.raises(BatchStopped, match="401"):
            one.run(block("deny"))
        with pytest.raises(BatchStopped, match="401"):
            one.run(block("a"))
    assert up.counts()["a"] == 0


def test_workers_of_a_run_stop_together_and_leave_out_what_they_did_not_send(
    up: Upstream, folder: Path
) -> None:
    with (
        worker(folder, run="r", stop="drop") as one,
        worker(folder, run="r", stop="drop") as two,
    ):
        assert two.run(block("a")).num_rows == 1
        assert one.run(block("deny")).num_rows == 0
        assert two.run(block("a", "b")).column("answer").to_pylist() == ["A"]
    assert up.counts()["b"] == 0


def test_columns_with_the_name_of_a_result_are_refused(up: Upstream, folder: Path) -> None:
    with worker(folder) as one, pytest.raises(UsageError, match="column 'answer_cost' already"):
        one.run(block("a", answer_cost=[1]))
    with worker(folder, column="tag") as one:
        table = one.run(block("a", answer_cost=[1]))
    assert table.column("tag").to_pylist() == ["A"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"limit": 3}, "a worker knows its own rows alone"),
        ({"in_flight": "ask"}, "resend or fail"),
        ({"dedupe": False}, "needs a key"),
        ({"rpm": -1}, "rpm must be a number above 0"),
        ({"variables": {"txt": 1}}, "did you mean 'text'"),
    ],
)
def test_arguments_are_checked_before_the_first_block(
    up: Upstream, folder: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(PersonakitError, match=message):
        Worker(folder.parent / "loud.yaml", folder, **options)


def test_a_block_that_lacks_a_column_is_refused(up: Upstream, folder: Path) -> None:
    with worker(folder) as one, pytest.raises(UsageError, match="has no column of that name"):
        one.run(pyarrow.table({"body": ["a"]}))


def test_a_damaged_journal_is_named(up: Upstream, folder: Path) -> None:
    with worker(folder) as one:
        one.run(block("a"))
    (file,) = [file for file in folder.glob("*.jsonl") if not file.name.endswith(".failed.jsonl")]
    file.write_text(json.dumps({"x": 1}) + "\n")
    with worker(folder) as one, pytest.raises(UsageError, match=file.name):
        one.run(block("a"))


def test_a_torn_last_line_of_another_worker_is_no_result(up: Upstream, folder: Path) -> None:
    with worker(folder, run="one") as one:
        one.run(block("a"))
    (file,) = [f for f in folder.glob("one-*.jsonl") if not f.name.endswith(".failed.jsonl")]
    file.write_bytes(file.read_bytes()[:-9])
    with worker(folder, run="two") as two:
        assert two.run(block("a")).column("answer").to_pylist() == ["A"]
    assert up.counts() == {"a": 2}
