"""`personakit batch --engine ray` on a real cluster: files in and out, resuming, and deaths."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from helpers import moto_server
from helpers.counting_upstream import Upstream, upstream
from helpers.process import Folder, Result
from helpers.ray_cluster import Cluster, cluster, kill, workers

from personakit.batch import status

pytest.importorskip("ray", reason="run `just ray`")

ALL = os.environ.get("PERSONAKIT_RAY") == "all"
every = pytest.mark.skipif(not ALL, reason="run `just ray all`")
PATIENCE = 150
PERSONA = """\
system: Be loud.
model: openai/test-model
variables:
  text: {type: string}
prompt: "{{ text }}"
"""


class Home(NamedTuple):
    """A cluster, an upstream, and a folder in which commands run."""

    cluster: Cluster
    upstream: Upstream
    folder: Folder

    @property
    def env(self) -> dict[str, str]:
        """The environment of commands."""
        return {**self.folder.env, **self.upstream.environ()}

    def args(self, rows: object, out: object, *more: str) -> list[str]:
        given = ["--engine", "ray"]
        if "--address" not in more:
            given += ["--address", self.cluster.address]
        # Ray has warnings of its own, so they are no errors here.
        program = [sys.executable, "-m", "personakit", "batch", "loud"]
        return [*program, str(rows), "-o", str(out), *given, *more]

    def batch(self, rows: object, out: object, *more: str) -> Result:
        """Run the command to its end."""
        done = subprocess.run(
            self.args(rows, out, *more), capture_output=True, text=True, timeout=PATIENCE,
            cwd=self.folder.folder, env=self.env, check=False,
        )  # fmt: skip
        assert "Traceback" not in done.stderr, done.stderr
        assert "Warning" not in done.stderr, done.stderr
        return Result(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    folder = Folder(tmp_path_factory.mktemp("ray"))
    folder.write("personas/loud.yaml", PERSONA)
    path = folder.folder / "personas"
    folder.env |= {"PERSONAKIT_PATH": str(path), **moto_server.ENV}
    with (
        upstream(folder.folder, 0.1) as server,
        cluster({**folder.env, **server.environ()}) as nodes,
    ):
        nodes.add_node(1)
        yield Home(nodes, server, folder)


def table(out: Path) -> list[dict[str, Any]]:
    """Return the rows of an output, in the order of their keys."""
    import pyarrow.csv
    import pyarrow.parquet

    rows: list[dict[str, Any]] = []
    for file in sorted(out.iterdir()):
        if file.name.startswith("_"):
            continue
        if out.suffix == ".jsonl":
            rows += map(json.loads, file.read_text("utf-8").splitlines())
        else:
            read = pyarrow.csv.read_csv if out.suffix == ".csv" else pyarrow.parquet.read_table
            rows += read(file).to_pylist()
    return sorted(rows, key=lambda row: str(row["key"]))


def csv(path: Path, *texts: str) -> Path:
    lines = [f"{number:04},{text}\n" for number, text in enumerate(texts)]
    path.write_text("id,text\n" + "".join(lines))
    return path


def sent(home: Home, prefix: str) -> dict[str, int]:
    """Return how often each message with a prefix was received."""
    return {text: n for text, n in home.upstream.counts().items() if text.startswith(prefix)}


def until(condition: Callable[[], Any], what: str) -> Any:
    end = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < end, f"{what} did not come true"
        time.sleep(0.05)
    return value


def test_a_table_is_answered_and_the_same_command_again_sends_nothing(
    home: Home, tmp_path: Path
) -> None:
    texts = [f"smoke {number}" for number in range(40)]
    rows = csv(tmp_path / "rows.csv", *texts, "refuse smoke", "smoke 0")
    out = tmp_path / "out.parquet"
    first = home.batch(rows, out, "--key", "id", "--keep", "text")
    assert first.code == 1  # a row failed
    assert f"finished: 41 of 42 answers in {out}, 1 failure in {out}" in first.err
    found = table(out)
    assert [row["key"] for row in found] == [f"{number:04}" for number in range(42)]
    assert [row["answer"] for row in found[:40]] == [text.upper() for text in texts]
    assert found[40]["answer"] is None
    assert found[40]["answer_code"] == "bad_request"
    assert found[41]["answer_run"] == found[0]["answer_run"]
    assert found[1]["text"] == "smoke 1"
    again = home.batch(rows, out, "--key", "id", "--keep", "text")
    assert again.code == 1
    assert table(out) == found
    assert sent(home, "smoke") == dict.fromkeys(texts, 1)
    assert sent(home, "refuse smoke") == {"refuse smoke": 1}
    assert (out / "_SUCCESS").exists()
    until(lambda: not status(out).running, "Ray has ended the workers")
    state = status(out)
    assert (state.rows, state.done, state.failed, state.in_flight) == (41, 40, 1, 0)
    assert (state.persona, state.source) == ("loud", str(rows))


def test_all_faulty_rows_are_listed_and_nothing_is_sent(home: Home, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    lines = [{"id": 1, "text": "bad 1"}, {"id": 1, "text": "bad 2"}, {"id": 3, "text": 5}]
    rows.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    found = home.batch(rows, tmp_path / "out.jsonl", "--key", "id")
    assert found.code == 2
    assert f"{rows}:2, column 'id': another row has the same key" in found.err
    assert f"{rows}:3, column 'text': expected a string, found an integer 5" in found.err
    assert "2 of 3 rows cannot be sent; nothing was sent" in found.err
    assert sent(home, "bad") == {}


@every
def test_rows_that_do_not_fit_are_left_out_and_kept_columns_have_types(
    home: Home, tmp_path: Path
) -> None:
    rows, out = tmp_path / "rows", tmp_path / "out.csv"
    rows.mkdir()
    (rows / "a.csv").write_text("id,text,n\n0,kept 0,\n1,kept 1,7\n")
    lines = [{"id": "x", "text": "kept 2", "n": 1}, {"id": "y", "text": 5}]
    lines += [{"id": "z", "text": "-kept", "n": 2.5}, {"id": "s", "text": "kept \ud800"}]
    (rows / "b.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    found = home.batch(rows, out, "--key", "id", "--keep", "n,text", "--skip-invalid")
    assert found.code == 1  # halves of a pair of surrogates cannot be sent
    assert "1 invalid row left out" in found.err
    cells = {str(row["key"]): row for row in table(out)}
    assert set(cells) == {"0", "1", "x", "z", "s"}
    assert cells["s"]["text"] == "kept ?"
    assert cells["s"]["answer_error"]
    assert cells["z"]["answer"] == "'-KEPT"  # it would be a formula
    assert cells["x"]["text"] == "kept 2"
    assert str(cells["z"]["n"]) == "2.5"


@every
def test_a_table_without_rows_has_an_output_without_rows(home: Home, tmp_path: Path) -> None:
    rows, out = csv(tmp_path / "rows.csv"), tmp_path / "out.parquet"
    found = home.batch(rows, out)
    assert found.code == 0, found.err
    assert [file.name for file in out.iterdir()] == ["_SUCCESS"]


def test_an_address_where_nothing_listens_is_named(home: Home, tmp_path: Path) -> None:
    rows, out = csv(tmp_path / "rows.csv", "a"), tmp_path / "out.parquet"
    found = home.batch(rows, out, "--address", "127.0.0.1:1")
    assert found.code == 2
    assert "--address 127.0.0.1:1: Connection refused; start a cluster with" in found.err


def killed(home: Home, tmp_path: Path, prefix: str, count: int, end: Callable[[], None]) -> None:
    """Run a batch with so many workers, of which some end; each row is in the output once."""
    texts = [f"{prefix} {number % 990}" for number in range(1000)]
    rows, out = csv(tmp_path / "rows.csv", *texts), tmp_path / "out.jsonl"
    more = ("--key", "id", "--workers", str(count), "--concurrency", str(8 * count))
    args = home.args(rows, out, *more)
    with subprocess.Popen(
        args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        cwd=home.folder.folder, env=home.env,
    ) as process:  # fmt: skip
        try:
            until(lambda: sum(sent(home, prefix).values()) > 60, "rows are sent")
            end()
            _, err = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
    assert process.returncode == 0, err
    found = table(out)
    assert [row["key"] for row in found] == [f"{number:04}" for number in range(1000)]
    assert [row["answer"] for row in found] == [text.upper() for text in texts]
    counts = sent(home, prefix)
    assert set(counts) == set(texts)
    again = sum(counts.values()) - 990
    assert max(counts.values()) <= 2
    line = next(line for line in err.splitlines() if "were under way when a worker died" in line)
    assert again <= int(line.split()[0]) <= 8 * count
    assert again > 0


def test_a_killed_worker_costs_only_the_rows_that_it_had_under_way(
    home: Home, tmp_path: Path
) -> None:
    def end() -> None:
        os.kill(workers(os.getpid())[0].pid, signal.SIGKILL)

    killed(home, tmp_path, "worker", 3, end)


def begun(home: Home, args: list[str], prefix: str) -> subprocess.Popen[str]:
    """Start a command, and wait until it sends rows."""
    process = subprocess.Popen(
        args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        cwd=home.folder.folder, env=home.env,
    )  # fmt: skip
    try:
        until(lambda: sum(sent(home, prefix).values()) > 30, "rows are sent")
    except BaseException:
        process.kill()
        raise
    return process


@every
def test_a_killed_command_asks_what_becomes_of_the_rows_under_way(
    home: Home, tmp_path: Path
) -> None:
    texts = [f"command {number}" for number in range(600)]
    rows, out = csv(tmp_path / "rows.csv", *texts), tmp_path / "out.parquet"
    given = ("--key", "id", "--workers", "2", "--concurrency", "8")
    with begun(home, home.args(rows, out, *given), "command") as process:
        process.kill()
    asked = home.batch(rows, out, *given)
    assert asked.code == 2
    assert "were under way when the last run ended, and may have been paid" in asked.err
    count = int(asked.err.partition(f"{out}: ")[2].split()[0])
    assert 0 < count <= 8
    before = sent(home, "command")
    failed = home.batch(rows, out, *given, "--in-flight", "fail")
    assert failed.code == 1
    assert f"{600 - count} of 600 answers" in failed.err
    counts = sent(home, "command")
    assert counts == dict.fromkeys(texts, 1)
    assert len(before) < 600
    lost = [row for row in table(out) if row["answer"] is None]
    assert [row["answer_code"] for row in lost] == ["in_flight"] * count


@every
def test_ctrl_c_lets_the_rows_under_way_end(home: Home, tmp_path: Path) -> None:
    texts = [f"signal {number}" for number in range(600)]
    rows, out = csv(tmp_path / "rows.csv", *texts), tmp_path / "out.parquet"
    given = ("--key", "id", "--workers", "2", "--concurrency", "8")
    with begun(home, home.args(rows, out, *given), "signal") as process:
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, err
    assert "to go on: personakit batch" in err
    first = sent(home, "signal")
    assert 30 < len(first) < 600
    assert len(table(out)) == len(first)
    again = home.batch(rows, out, *given)
    assert again.code == 0, again.err
    assert sent(home, "signal") == dict.fromkeys(texts, 1)
    assert len(table(out)) == 600


@every
def test_an_error_of_all_rows_stops_the_workers_and_the_answers_are_kept(
    home: Home, tmp_path: Path
) -> None:
    texts = [f"auth {number}" for number in range(150)]
    rows, out = csv(tmp_path / "rows.csv", *texts, "deny auth"), tmp_path / "out.csv"
    found = home.batch(rows, out, "--key", "id")
    assert found.code == 1
    assert "the batch stopped: " in found.err
    assert "401" in found.err
    counts = sent(home, "auth")
    assert set(counts.values()) == {1}
    assert {row["answer"] for row in table(out)} == {text.upper() for text in counts}


@every
def test_a_killed_node_costs_only_the_rows_that_it_had_under_way(
    home: Home, tmp_path: Path
) -> None:
    node = home.cluster.add_node(2)

    def end() -> None:
        until(lambda: workers(node), "there are workers on the node")
        before = sum(sent(home, "node").values())
        until(lambda: sum(sent(home, "node").values()) > before + 60, "more rows are sent")
        kill(node)

    # More than the other nodes have room for.
    killed(home, tmp_path, "node", 6, end)


@every
def test_rows_answers_and_journals_stand_in_s3(home: Home, tmp_path: Path) -> None:
    import pyarrow.parquet

    pytest.importorskip("moto", reason="run `just ray all`")
    texts = [f"cloud {number}" for number in range(120)]
    with moto_server.s3() as server:
        files = server.filesystem()
        files.create_dir("data")
        for number in range(3):
            part = {"id": [*range(number, 120, 3)], "text": texts[number::3]}
            pyarrow.parquet.write_table(
                pyarrow.table(part), f"data/rows/{number}.parquet", filesystem=files
            )
        rows, out = server.uri("data/rows"), server.uri("data/out.parquet")
        first = home.batch(rows, out, "--key", "id")
        assert first.code == 0, first.err
        assert "nothing can be appended there" in first.err
        again = home.batch(rows, out, "--key", "id")
        assert again.code == 0, again.err
        assert "0 rows in" in again.err
        found = pyarrow.parquet.read_table("data/out.parquet", filesystem=files).to_pylist()
    found.sort(key=lambda row: int(row["key"]))
    assert [row["answer"] for row in found] == [text.upper() for text in texts]
    assert sent(home, "cloud") == dict.fromkeys(texts, 1)
