"""`personakit batch`, its progress, its questions, and the commands beside it."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pyarrow.parquet
import pytest
from helpers.batches import PATIENCE, Counting, csv_of, lines

from personakit.testing import Reply

PERSONA = """\
system: Tag it.
variables: {text: {}, lang: {enum: [en, de], default: en}}
prompt: "{{ text }}"
"""
ROWS = "id;text;lang\n1;one;en\n2;two;de\n3;three;en\n"
RUN = ("batch", "tagger.yaml", "rows.csv", "-o", "out.jsonl")


@pytest.fixture
def server() -> Iterator[Counting]:
    with Counting() as made:
        yield made


@pytest.fixture
def cli(shell: Any, server: Counting) -> Any:
    """The command line in a folder with a persona and a table."""
    (shell.folder / "tagger.yaml").write_text(PERSONA)
    (shell.folder / "rows.csv").write_text(ROWS)
    shell.env |= {**server.environ(), "PERSONAKIT_MODEL": "openai/gpt-5-mini", "TZ": "UTC"}
    return shell


def started(cli: Any, *args: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        cli.args(*args), cwd=cli.folder, env=cli.env, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def wait_for(server: Counting, count: int) -> None:
    until = time.monotonic() + 30
    while sum(server.asked.values()) < count and time.monotonic() < until:
        time.sleep(0.01)
    assert sum(server.asked.values()) >= count


def test_a_batch_and_the_same_command_again(cli: Any, server: Counting) -> None:
    done = cli(*RUN, "--key", "id", "--keep", "id,lang")
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert done.stderr.splitlines()[-1] == "finished: 3 answers in out.jsonl"
    found = sorted(lines(cli.folder / "out.jsonl"), key=lambda line: line["index"])
    assert [line["key"] for line in found] == ["1", "2", "3"]
    assert found[1]["row"] == {"id": "2", "lang": "de"}
    again = cli(*RUN, "--key", "id", "--keep", "id,lang")
    assert again.returncode == 0
    assert "0 rows in" in again.stderr
    assert sum(server.asked.values()) == 3
    shown = cli("batch", "status", "out.jsonl").stdout
    assert "state     finished" in shown
    assert "rows      3 of 3 answered, 0 failed" in shown
    status = json.loads(cli("batch", "status", "out.jsonl", "--json").stdout)
    assert (status["done"], status["running"], status["persona"]) == (3, False, "tagger")


def test_events_are_json_lines(cli: Any) -> None:
    done = cli(*RUN, "--json")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert events[-1]["event"] == "finished"
    assert events[-1]["done"] == 3
    assert events[-1]["answers"] == "out.jsonl"
    assert events[-1]["next"] is None


def test_an_estimate_sends_nothing(cli: Any, server: Counting) -> None:
    done = cli(*RUN, "--estimate")
    assert done.returncode == 0
    assert done.stdout.startswith("rows      3\nmodel     openai/gpt-5-mini\n")
    assert "answers unknown" in done.stdout
    found = json.loads(cli(*RUN, "--estimate", "--json").stdout)
    assert (found["rows"], found["answer_tokens"]) == (3, None)
    assert not server.asked


def test_a_sample_is_shown_and_the_rest_follows_a_yes(cli: Any, server: Counting) -> None:
    csv_of(cli.folder / "rows.csv", 40)
    done = cli(*RUN, "--sample", "3")  # nobody can be asked
    assert sum(server.asked.values()) == 3
    assert done.stdout.count("about row") == 3
    assert "--sample" not in done.stderr.splitlines()[-1]
    places = [line["index"] for line in lines(cli.folder / "out.jsonl")]
    assert max(places) - min(places) > 20
    done = cli(*RUN, "--sample", "2", "--yes")
    assert done.returncode == 0
    assert server.paid == Counter({f"row {number}": 1 for number in range(40)})


def test_standard_input_is_kept_beside_the_output(cli: Any, server: Counting) -> None:
    rows = "".join(json.dumps({"text": f"row {number}"}) + "\n" for number in range(5))
    done = cli("batch", "tagger.yaml", "-", "-o", "p.jsonl", "--limit", "2", stdin=rows)
    assert done.returncode == 0
    assert (cli.folder / "p.jsonl.rows").read_text() == rows
    assert "- is the rows in p.jsonl.rows" in done.stderr
    other = cli("batch", "tagger.yaml", "-", "-o", "p.jsonl", stdin=rows.replace("row", "line"))
    assert other.returncode == 2
    assert "the rows are not those of p.jsonl.rows" in other.stderr
    done = cli("batch", "tagger.yaml", "p.jsonl.rows", "-o", "p.jsonl", "--limit", "1")
    assert done.returncode == 0, done.stderr
    done = cli("batch", "tagger.yaml", "-", "-o", "p.jsonl", stdin=rows)
    assert done.returncode == 0, done.stderr
    assert len(lines(cli.folder / "p.jsonl")) == 5
    assert set(server.paid.values()) == {1}


def test_the_answers_are_exported(cli: Any, server: Counting) -> None:
    (cli.folder / "rows.csv").write_text("id;text\n1;=1+1\n2;two\n")
    assert cli(*RUN, "--key", "id").returncode == 0
    assert cli("batch", "export", "out.jsonl", "-o", "a.csv", "--ordered").returncode == 0
    with (cli.folder / "a.csv").open(encoding="utf-8-sig", newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["key"] for row in table] == ["1", "2"]
    assert [row["text"] for row in table] == ["about =1+1", "about two"]
    assert cli("batch", "export", "out.jsonl", "-o", "a.parquet").returncode == 0
    found = pyarrow.parquet.read_table(cli.folder / "a.parquet").to_pylist()
    assert {row["text"] for row in found} == {"about =1+1", "about two"}
    done = cli("batch", "export", "out.jsonl", "-o", "a.csv")
    assert done.returncode == 2
    assert "--force" in done.stderr
    done = cli("batch", "export", "nothing.jsonl", "-o", "b.csv")
    assert done.returncode == 2
    assert "nothing.jsonl" in done.stderr


def test_an_unfinished_batch_is_exported_only_on_request(cli: Any) -> None:
    assert cli(*RUN, "--limit", "2").returncode == 0
    done = cli("batch", "export", "out.jsonl", "-o", "a.csv")
    assert done.returncode == 2
    assert "--partial" in done.stderr
    done = cli("batch", "export", "out.jsonl", "-o", "a.csv", "--partial")
    assert done.returncode == 0
    assert "1 have no result yet" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_the_rows_under_way_end(
    number: signal.Signals, cli: Any, server: Counting
) -> None:
    csv_of(cli.folder / "rows.csv", 200)
    server.delay = 0.2
    process = started(cli, *RUN, "--concurrency", "4")
    wait_for(server, 6)
    running = json.loads(cli("batch", "status", "out.jsonl", "--json").stdout)
    assert running["running"] is True
    process.send_signal(number)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 128 + number
    assert "4 rows under way" in err
    assert "to go on: personakit batch tagger.yaml rows.csv -o out.jsonl" in err
    status = json.loads(cli("batch", "status", "out.jsonl", "--json").stdout)
    assert (status["in_flight"], status["running"]) == (0, False)
    assert status["done"] == sum(server.paid.values()) >= 6


def test_a_second_signal_ends_at_once_and_the_next_run_asks(cli: Any, server: Counting) -> None:
    server.delay = 20
    process = started(cli, *RUN)
    wait_for(server, 3)
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=15)
    assert process.returncode == 130
    assert "3 rows were under way and may have been paid" in err
    server.delay = 0
    done = cli(*RUN)
    assert done.returncode == 2
    assert "3 rows were under way" in done.stderr
    assert "--in-flight resend" in done.stderr
    assert cli(*RUN, "--in-flight", "resend").returncode == 0
    assert len(lines(cli.folder / "out.jsonl")) == 3


def test_a_key_that_is_wrong_stops_the_batch(cli: Any, server: Counting) -> None:
    whole = server.reply
    server.reply = lambda *_: Reply(b'{"error": {"message": "no such key"}}', 401)  # type: ignore[method-assign]
    done = cli(*RUN)
    assert done.returncode == 1
    assert "no such key" in done.stderr
    assert "to go on: personakit batch" in done.stderr
    server.reply = whole  # type: ignore[method-assign]
    assert cli(*RUN).returncode == 0


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("batch", "tagger.yaml", "rows.csv"), "-o rows.answers.jsonl"),
        (("batch", "tagger.yaml", "none.csv", "-o", "out.jsonl"), "none.csv"),
        (("batch", "taggr", "rows.csv", "-o", "out.jsonl"), "taggr"),
        ((*RUN, "--key", "idd"), "did you mean 'id'"),
        ((*RUN, "--map", "text"), "expected VARIABLE=COLUMN"),
        ((*RUN, "--concurrency", "many"), "expected auto or a number from 1 on"),
        ((*RUN, "--max-usd", "free"), "expected a number above 0"),
        ((*RUN, "--in-flight", "maybe"), "'maybe' is not one of"),
        ((*RUN, "--sampl", "2"), "--sample"),
        (("batch", "tagger.yaml", "rows.csv", "-o", "out.csv"), "use 'out.jsonl'"),
        (("batch", "tagger.yaml", "rows.csv", "-o", "no/out.jsonl"), "mkdir -p no"),
        (("batch", "stauts", "out.jsonl"), "did you mean 'status'"),
        (("batch", "status", "rows.csv"), "it has no journal"),
    ],
)
def test_wrong_usage_is_told_with_what_is_right(
    args: tuple[str, ...], message: str, cli: Any, server: Counting
) -> None:
    done = cli(*args)
    assert done.returncode == 2
    assert message in done.stderr
    assert not server.asked
    assert not (cli.folder / "out.jsonl").exists()


def test_rows_that_do_not_fit_are_told_and_left_out_on_request(cli: Any, server: Counting) -> None:
    (cli.folder / "rows.csv").write_text(ROWS + "4;four;fr\n5;five\n")
    done = cli(*RUN)
    assert done.returncode == 2
    assert "rows.csv:5, column 'lang': 'fr' is not one of en, de" in done.stderr
    assert "rows.csv:6: expected 3 cells" in done.stderr
    assert "2 of 5 rows cannot be sent" in done.stderr
    assert not server.asked
    done = cli(*RUN, "--skip-invalid")
    assert done.returncode == 0
    assert "2 invalid rows left out" in done.stderr


def test_failed_rows_are_sent_again_on_request(cli: Any, server: Counting) -> None:
    server.faults = 1.0
    server.delay = 0
    done = cli(*RUN, "--attempts", "1", "--concurrency", "1")
    assert done.returncode == 1
    assert "--retry-failed" in done.stderr
    server.faults = 0.0
    done = cli(*RUN, "--retry-failed")
    assert done.returncode == 0
    assert done.stderr.splitlines()[-1].startswith("finished: 3 answers")
